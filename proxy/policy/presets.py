"""What each sender needs, as data: one YAML file a sender in ``presets/``. A new sender is one such file.

A preset's ``route`` lies under what the user writes: mappings merge key by key, lists and plain values are replaced.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field

from proxy.policy.document import Plain, parse
from proxy.policy.settings import Settings

_FOLDER = Path(__file__).with_name("presets")

PRESETS: tuple[str, ...] = tuple(sorted(entry.name[:-5] for entry in _FOLDER.iterdir() if entry.name.endswith(".yaml")))
"""The senders."""

ALSO: dict[str, str] = {
    also: name
    for name in PRESETS
    for line in re.findall(r"(?m)^also: \[(.*)\]", (_FOLDER / f"{name}.yaml").read_text("utf-8"))
    for also in line.split(", ")
}
"""Other names of some: the same preset."""

PROVIDERS: tuple[str, ...] = tuple(sorted((*PRESETS, *ALSO)))
"""The names that ``provider`` may have."""

_TAKEN_AWAY: dict[str, dict[str, tuple[str, ...]]] = {
    "timestamp": {"header": ("source",), "source": ("header",)},
    "replay": {"key": ("otherwise", "per")},
}
"""Of a rule: where the user gives a key, these of the preset do not count."""


class SecretFacts(Settings):
    """What the sender accepts as a secret."""

    alphabet: str | None = None
    """The characters it may have, as they stand between the brackets of a regular expression."""
    shortest: int = 1
    """Fewest bytes, where ``allow_weak`` lifts our own minimum."""
    longest: int | None = None
    public: tuple[str, ...] = ()
    """Secrets that the sender has printed in its own pages, and may sign with before it has issued one."""
    advice: str = ""


class Preset(Settings):
    """One sender."""

    about: str
    also: tuple[str, ...] = ()
    """Its other names; on one line, because they are read before the rest."""
    page: str | None = None
    """The sender's own description of how it signs."""
    networks: tuple[str, ...] = ()
    """The networks that it publishes; they may change."""
    networks_date: str | None = None
    secret: SecretFacts = SecretFacts()
    route: dict[str, Any] = Field(default_factory=dict)


@cache
def preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        KeyError: there is none.
    """
    if name in ALSO:
        return preset(ALSO[name])
    if name not in PRESETS:
        raise KeyError(name)
    document = parse((_FOLDER / f"{name}.yaml").read_bytes())
    if document.flaws:
        raise RuntimeError(f"preset {name}: {document.flaws[0].message}")
    return Preset.model_validate(document.value)


def spelled_out(name: str, route: Mapping[str, Plain]) -> dict[str, Plain]:
    """A user's route with everything from its preset that it does not give itself."""
    found = preset(name)
    defaults: dict[str, Any] = dict(found.route)
    if found.networks:
        defaults.setdefault("senders", found.networks)
    given_signature = _signature(route)
    if given_signature.get("scheme", _signature(defaults).get("scheme")) != _signature(defaults).get("scheme"):
        rules = defaults.get("rules")
        defaults["rules"] = (
            {rule: value for rule, value in rules.items() if rule != "signature"} if isinstance(rules, dict) else {}
        )
    return _under(defaults, route, "")


def _signature(route: Mapping[str, object]) -> Mapping[str, object]:
    rules = route.get("rules")
    signature = rules.get("signature") if isinstance(rules, dict) else None
    return signature if isinstance(signature, dict) else {}


def _under(defaults: Mapping[str, Any], given: Mapping[str, Plain], where: str) -> dict[str, Plain]:
    dropped = {name for key, gone in _TAKEN_AWAY.get(where, {}).items() if key in given for name in gone}
    merged: dict[str, Plain] = {key: value for key, value in defaults.items() if key not in dropped}
    for key, value in given.items():
        default = merged.get(key)
        merged[key] = _under(default, value, key) if isinstance(default, dict) and isinstance(value, dict) else value
    return merged
