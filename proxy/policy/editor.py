"""The JSON Schema of the policy *file*, for editors: draft-07, which is what they read.

It differs from the model's own schema: a preset may give what is required, and nothing may stand without a value.
"""

from collections.abc import Iterator
from typing import Any

from proxy.policy.model import Policy
from proxy.policy.presets import PROVIDERS, preset

Schema = dict[str, Any]


def policy_schema() -> Schema:
    """The schema that ``hookgate schema`` prints."""
    source = Policy.model_json_schema(by_alias=True)
    definitions = {name: _draft7(part) for name, part in source.pop("$defs").items()}
    provider = definitions["Route"]["properties"]["provider"]
    provider["enum"] = list(PROVIDERS)
    provider["enumDescriptions"] = [preset(name).about for name in PROVIDERS]
    for rule, key in _supplied():
        for definition in _definitions_of(definitions["Rules"]["properties"][rule], definitions):
            definition["required"] = [name for name in definition.get("required", ()) if name != key]
    for definition in definitions.values():
        if not definition.get("required", True):
            del definition["required"]
    head = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Hookgate policy",
        "description": "What must hold before a request reaches the bot. Durations 30s, sizes 1MiB, rates 50/s.",
    }
    body = {key: value for key, value in _draft7(source).items() if key != "description"}
    return {**head, **body, "definitions": definitions}


def _supplied() -> Iterator[tuple[str, str]]:
    """The keys of rules that some preset gives, so that a policy need not; of a signature, any."""
    for name in PROVIDERS:
        rules = preset(name).route.get("rules")
        for rule, settings in rules.items() if isinstance(rules, dict) else ():
            yield from ((rule, key) for key in settings)


def _definitions_of(place: Schema, definitions: dict[str, Schema]) -> Iterator[Schema]:
    if "$ref" in place:
        yield definitions[place["$ref"].rpartition("/")[2]]
    for branch in (*place.get("anyOf", ()), *place.get("allOf", ())):
        yield from _definitions_of(branch, definitions)


def _draft7(value: Any) -> Any:
    """The same in draft-07; without ``null``, because a key without a value is a fault."""
    if isinstance(value, list):
        return [_draft7(part) for part in value]
    if not isinstance(value, dict):
        return value.replace("#/$defs/", "#/definitions/") if isinstance(value, str) else value
    found = {("anyOf" if key == "oneOf" else key): _draft7(part) for key, part in value.items() if not _noise(key, part)}
    branches = [branch for branch in found.get("anyOf", ()) if branch != {"type": "null"}]
    if "anyOf" in found:
        found["anyOf"] = branches
        if len(branches) == 1:
            del found["anyOf"]
            found = {**branches[0], **found}
    if "$ref" in found and len(found) > 1:  # draft-07 ignores what stands beside $ref
        found = {**{key: part for key, part in found.items() if key != "$ref"}, "allOf": [{"$ref": found["$ref"]}]}
    return found


def _noise(key: str, part: object) -> bool:
    """What helps nobody in an editor: derived titles, whole default mappings, and ``discriminator``, which is not JSON Schema."""
    return key in {"title", "discriminator"} or (key == "default" and (part is None or isinstance(part, dict)))
