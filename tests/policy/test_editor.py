"""The JSON Schema for editors agrees with the reader."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from proxy.policy.document import parse
from proxy.policy.editor import policy_schema
from proxy.policy.presets import PROVIDERS

from .samples import BAD, GOOD

CONFIG = sorted((Path(__file__).parents[2] / "config").glob("*.yaml"))
SHAPES = {
    "unknown-keys",
    "missing-keys",
    "wrong-types",
    "numbers-for-text",
    "wrong-forms",
    "no-routes",
    "unknown-provider",
    "unknown-scheme",
    "inline-secret-of-wrong-type",
    "empty-values",
    "not-a-mapping",
    "everything-at-once",
}
"""Bad policies whose fault is one of shape, which an editor can know."""


def problems(file: Path) -> list[str]:
    """What the schema says of a file."""
    validator = jsonschema.Draft7Validator(policy_schema())
    return [error.json_path for error in validator.iter_errors(_lists(parse(file.read_bytes()).value))]


def _lists(value: object) -> object:
    """JSON has lists where the reader has tuples."""
    if isinstance(value, dict):
        return {key: _lists(inner) for key, inner in value.items()}
    return [_lists(inner) for inner in value] if isinstance(value, tuple) else value


def _properties(value: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, dict):
        for name, inner in value.get("properties", {}).items():
            yield f"{where}/{name}", inner
        for key, inner in value.items():
            yield from _properties(inner, f"{where}/{key}")


def test_valid_draft_7() -> None:
    """It is a valid draft-07 schema, with nothing of a later draft."""
    schema = policy_schema()
    jsonschema.Draft7Validator.check_schema(schema)
    assert "$defs" not in str(schema)
    assert schema["definitions"]["Route"]["properties"]["provider"]["enum"] == list(PROVIDERS)


@pytest.mark.parametrize("file", [*GOOD, *CONFIG], ids=lambda file: file.stem)
def test_good(file: Path) -> None:
    """What the reader accepts, the schema accepts."""
    assert problems(file) == []


@pytest.mark.parametrize("file", [file for file in BAD if file.stem in SHAPES], ids=lambda file: file.stem)
def test_bad(file: Path) -> None:
    """Faults of shape are marked in an editor already."""
    assert problems(file)


def test_every_key_is_described() -> None:
    """Each key has a description, its own or that of what it refers to."""
    schema = policy_schema()
    for where, place in _properties(schema):
        named = [place, *place.get("allOf", ()), *place.get("anyOf", ())]
        targets = [schema["definitions"][part["$ref"].rpartition("/")[2]] for part in named if "$ref" in part]
        assert any(part.get("description") for part in (place, *targets)), where


def test_unknown_keys_are_marked_everywhere() -> None:
    """No mapping of the policy takes unknown keys."""
    schema = policy_schema()
    for name, definition in {"": schema, **schema["definitions"]}.items():
        assert definition.get("additionalProperties") is False or "properties" not in definition, name
