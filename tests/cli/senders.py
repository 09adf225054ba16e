"""Every sender that we know, as routes of one policy: the presets, and the generic rules of the recorded vectors.

A body is made for each from its own rules, so that a preset which is added tomorrow is signed and judged here too.
"""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from proxy.policy.model import Route
from proxy.policy.signatures import HmacSignature, TokenSignature
from proxy.policy.presets import PRESETS
from proxy.policy.reader import read_policy
from proxy.policy.values import Selector, SelectorKind
from tests.cli.inprocess import SECRET, policy

_VECTORS = sorted((Path(__file__).parents[1] / "rules" / "vectors").glob("*.json"))


def _whole(name: str, route: dict[str, Any]) -> dict[str, Any]:
    form = route.get("rules", {}).get("signature", {}).get("key", "utf8")
    value = f"whsec_{SECRET}" if form == "whsec" else SECRET
    return {
        "public_url": f"https://bot.example.com/{name}",
        **route,
        "name": name,
        "path": f"/{name}",
        "secrets": [{"id": "old", "value": SECRET[::-1]}, {"id": "now", "value": value}],
    }


ROUTES: dict[str, dict[str, Any]] = {
    **{f"preset-{name}": _whole(f"preset-{name}", {"provider": name}) for name in PRESETS if name != "generic"},
    **{
        f"vector-{file.stem}": _whole(f"vector-{file.stem}", route)
        for file in _VECTORS
        if "provider" not in (route := json.loads(file.read_text())["route"])
    },
}
"""By their names, which are their paths too."""


def written(folder: Path, *names: str, **top: Any) -> Path:
    """One policy with these of them, or with all."""
    return policy(folder, *(ROUTES[name] for name in names or ROUTES), **top)


def routes_of(file: Path) -> dict[str, Route]:
    """The routes that ``sign`` can sign for, spelled out."""
    routes = read_policy(file, {}).policy.routes
    return {route.name: route for route in routes if isinstance(route.rules.signature, TokenSignature | HmacSignature)}


def body_for(route: Route, at: float) -> bytes:
    """A body that has what the route's rules look for in it."""
    rules = route.rules
    tree: dict[str, Any] = {"text": "grüße"}
    form: dict[str, str] = {}

    def put(selector: Selector | None, value: int | str) -> None:
        if selector is not None and selector.kind is SelectorKind.FORM:
            form[selector.argument] = str(value)
        if selector is not None and selector.kind is SelectorKind.JSON:
            *above, last = selector.argument.split("/")[1:]
            place = tree
            for token in above:
                place = place.setdefault(token, {})
            place[last] = value

    if rules.replay is not None:
        put(rules.replay.key, 7)
    if isinstance(rules.signature, HmacSignature):
        put(rules.signature.id, "id-7")
        for part in rules.signature.template.parts:
            if part.place in {"json", "form"}:
                put(Selector(SelectorKind(part.place), part.argument), "part")
    if rules.timestamp is not None:
        put(rules.timestamp.source, int(at * 1000) if rules.timestamp.unit == "ms" else int(at))
    return urlencode(form).encode() if form else json.dumps(tree, ensure_ascii=False).encode()
