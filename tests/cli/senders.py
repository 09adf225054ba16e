"""Every sender that we know, as routes of one policy: the presets, and the generic rules of the recorded vectors.

A body is made for each from its own rules, so that a preset which is added tomorrow is signed and judged here too.
"""

import json
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from proxy.policy.document import parse
from proxy.policy.model import Route
from proxy.policy.presets import PRESETS, preset, spelled_out
from proxy.policy.reader import read_policy
from proxy.policy.schemes import AnySignature, Signature
from proxy.policy.signatures import Placed, PublicKeySignature, TemplateSignature
from proxy.policy.values import Selector, SelectorKind
from tests.cli.inprocess import SECRET, policy
from tests.rules.made_keys import MadeKey, made_key

_VECTORS = sorted((Path(__file__).parents[1] / "rules" / "vectors").glob("*.json"))

SIGNED = {"token", "hmac", "hash", "ed25519", "rsa", "ecdsa", "twilio", "adyen-payments", "any"}
"""The schemes whose requests these tests make; all others have tests of their own."""


def scheme_of(name: str) -> str | None:
    """The scheme of a preset."""
    return _scheme(preset(name).route)


def _scheme(route: dict[str, Any]) -> str | None:
    scheme = route.get("rules", {}).get("signature", {}).get("scheme")
    return scheme if isinstance(scheme, str) else None


def _typed(name: str, route: dict[str, Any]) -> Route:
    own = {"name": name, "path": f"/{name}", "public_url": f"https://bot.example.com/{name}"}
    plain: Any = parse(json.dumps({**route, **own}).encode()).value
    return Route.model_validate(spelled_out(route.get("provider", "generic"), plain))


@cache
def key_of(kind: str) -> MadeKey:
    """One private key for all routes of a kind."""
    return made_key(kind)


def _whole(name: str, route: dict[str, Any]) -> dict[str, Any]:
    signature = _typed(name, route).rules.signature
    facts = preset(route.get("provider", "generic")).secret
    text = SECRET[: facts.longest]
    secrets: list[dict[str, Any]] = [{"id": "old", "value": text[::-1]}]
    if isinstance(signature, PublicKeySignature):
        secrets = [{"id": "now", "value": key_of(signature.kind).public(signature.key)}]
    elif signature is not None and signature.value_names():
        secrets = [{"id": "now", "values": {value: {"value": f"{value}-{text}"} for value in signature.value_names()}}]
    else:
        form = getattr(signature, "key", "utf8")
        secrets.append({"id": "now", "value": f"whsec_{text}" if form == "whsec" else text})
    whole = {"public_url": f"https://bot.example.com/{name}", **route, "name": name, "path": f"/{name}"}
    return {**whole, "secrets": secrets}


ROUTES: dict[str, dict[str, Any]] = {
    **{
        f"preset-{name}": _whole(f"preset-{name}", {"provider": name})
        for name in PRESETS
        if scheme_of(name) in SIGNED and name != "meta-verify"
    },
    **{
        f"vector-{file.stem}": _whole(f"vector-{file.stem}", route)
        for file in _VECTORS
        if "provider" not in (route := json.loads(file.read_text())["route"]) and _scheme(route) in SIGNED
    },
}
"""By their names, which are their paths too. Meta's check of an address is a request that ``sign`` does not make."""


def written(folder: Path, *names: str, **top: Any) -> Path:
    """One policy with these of them, or with all; and the private keys beside it."""
    for kind in ("ed25519", "rsa", "ecdsa"):
        (folder / f"{kind}.pem").write_bytes(key_of(kind).private)
    return policy(folder, *(ROUTES[name] for name in names or ROUTES), **top)


def key_words(folder: Path, route: Route) -> list[str | Path]:
    """The words that give ``sign`` the private key that a route needs, and headers that are signed and not made by it."""
    signature = route.rules.signature
    words: list[str | Path] = ["--key", folder / f"{signature.kind}.pem"] if isinstance(signature, PublicKeySignature) else []
    for part in signature.template.parts if isinstance(signature, TemplateSignature) else ():
        words += ["--header", f"{part.argument}: 7"] if part.place == "header" else []
    return words


def routes_of(file: Path) -> dict[str, Route]:
    """The routes, spelled out."""
    return {route.name: route for route in read_policy(file, {}).policy.routes}


def stand_of(signature: Signature | None) -> Selector:
    """Where the credential stands in a request that was made here."""
    if isinstance(signature, AnySignature):
        return stand_of(signature.of[0].signature)
    if isinstance(signature, Placed):
        return signature.stand
    return Selector(SelectorKind.JSON, "/notificationItems/0/NotificationRequestItem/additionalData/hmacSignature")


def body_for(route: Route, at: float) -> bytes:
    """A body that has what the route's rules look for in it."""
    wanted = dict(_wanted(route, at))
    form = {place.argument: value for place, value in wanted.items() if place.kind is SelectorKind.FORM}
    if form:
        return urlencode(form).encode()
    tree: Any = {"": {"text": "grüße"}}
    for place, value in wanted.items():
        if place.kind is SelectorKind.JSON:
            _put(tree, [_LIST if step in {"*", "0"} else step for step in place.argument.split("/")], value)
    return json.dumps(tree[""], ensure_ascii=False).encode()


_LIST = 0
"""The step into the one element of a list."""


def _wanted(route: Route, at: float) -> Iterator[tuple[Selector, int | str]]:
    rules = route.rules
    if rules.replay is not None:
        yield rules.replay.key, 7
    if isinstance(rules.signature, TemplateSignature):
        for part in rules.signature.template.parts:
            if part.place in {"json", "form"}:
                yield Selector(SelectorKind(part.place), part.argument), "part"
    elif (stand := stand_of(rules.signature)).kind is SelectorKind.JSON:
        yield Selector(stand.kind, stand.argument + "-beside"), "beside"
    if rules.timestamp is not None and rules.timestamp.source is not None:
        yield rules.timestamp.source, int(at * 1000) if rules.timestamp.unit == "ms" else int(at)


def _put(place: Any, steps: Sequence[str | int], value: int | str) -> None:
    """Let the value stand there; what is on the way becomes an object or a list as the steps want it."""
    for step, following in pairwise(steps):
        inner: Any = place[step] if step in place or step == _LIST else {}
        place[step] = inner if isinstance(inner, list) or following != _LIST else [{}]
        place = place[step]
    place[steps[-1]] = value
