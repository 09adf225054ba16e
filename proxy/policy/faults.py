"""What pydantic finds, in an operator's words and at the operator's line.

A ``Complaint`` names a place in the tree; ``Places`` knows where in the file that is. Wording lives here and nowhere else.
"""

from collections.abc import Iterable, Iterator, Mapping, Sized
from functools import cache
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from proxy.errors import Fault
from proxy.policy.document import Document, Mark, Path
from proxy.policy.model import Policy
from proxy.policy.schemes import SCHEMES

_PATTERNS = {
    "id": "must be letters, digits, '.', '_' or '-', 63 at most, such as 2026-11",
    "name": "must be small letters, digits, '-' or '_', 63 at most",
    "path": "must begin with / and hold printable ASCII only, without blanks",
    "header": "must be a header's name: letters, digits and - only",
    "url": "must be memory: or sqlite:PATH",
    "public_url": "must be the whole URL, as in https://bot.example.com/path",
}
_KINDS = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "model_type": "must be a mapping of keys",
    "model_attributes_type": "must be a mapping of keys",
    "dict_type": "must be a mapping of keys",
    "too_short": "needs at least one entry",
    "union_tag_not_found": "needs its scheme, such as token or hmac",
    "int_from_float": "must be a whole number",
    "missing": "is missing",
}


class Complaint(NamedTuple):
    """Something wrong with a policy, at a place of its tree. A complaint that is not grave is a warning."""

    path: Path
    message: str
    grave: bool = True
    at_key: bool = False


class Places:
    """Turns places of the tree into places of the file."""

    def __init__(self, file: str, document: Document) -> None:
        self._file = file
        self._document = document

    def fault(self, complaint: Complaint) -> Fault:
        """The complaint with file, line and column: of the value, or of what is nearest around it."""
        mark = self._key(complaint.path) if complaint.at_key else None
        return self._at(mark or self._value(complaint.path), complaint.path, complaint.message)

    def flaws(self) -> Iterator[Fault]:
        """What was wrong with the text itself."""
        for flaw in self._document.flaws:
            yield self._at(flaw.mark, flaw.path, flaw.message)

    def _at(self, mark: Mark, path: Path, message: str) -> Fault:
        return Fault(self._file, mark.line, mark.column, spelled(path), message)

    def _key(self, path: Path) -> Mark | None:
        return self._document.keys.get(path)

    def _value(self, path: Path) -> Mark:
        for length in range(len(path), 0, -1):
            found = self._document.values.get(path[:length])
            if found is not None:
                return found
        return self._document.values.get((), Mark(1, 1))


def spelled(path: Path) -> str:
    """``routes[0].rules.signature``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'replay'?``, or nothing where nothing is near."""
    import difflib  # here: most policies have no fault

    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {found[0]!r}?" if found else ""


def complaints(error: ValidationError, tree: object) -> Iterator[Complaint]:
    """Everything that pydantic found in ``tree``."""
    for detail in error.errors(include_url=False, include_input=False):
        path, value = _locate(detail["loc"], tree)
        kind = detail["type"]
        if kind == "too_short" and isinstance(value, Sized) and detail["ctx"]["actual_length"] != len(value):
            continue  # the entries are there, but wrong, and each was told by itself
        if kind == "union_tag_invalid":
            path = (*path, "scheme")
        if kind == "extra_forbidden":
            word = str(path[-1])
            yield Complaint(path, f"unknown key {word!r}{nearest(word, _known(detail['loc'][:-1]))}", at_key=True)
        else:
            yield Complaint(path, _message(detail, path, value))


def _locate(location: tuple[int | str, ...], tree: object) -> tuple[Path, object]:
    """The place in the tree; pydantic also counts the scheme of a signature as a step, which the file does not have."""
    path: list[str | int] = []
    value = tree
    for index, step in enumerate(location):
        if step in SCHEMES and index and location[index - 1] == "signature":
            continue
        if step == "[key]":
            break
        path.append(step)
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, tuple) and isinstance(step, int):
            value = value[step] if step < len(value) else None
        else:
            value = None
    return tuple(path), value


def _message(detail: ErrorDetails, path: Path, value: object) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(str(path[-1]) if path else "", "is not written as it must be")
    if kind in {"literal_error", "enum"}:
        quotes = _quotes(value, path) if "'" in context["expected"] else ""
        return f"must be {context['expected']}{quotes}"
    if kind == "union_tag_invalid":
        return f"is no scheme{nearest(str(context.get('tag')), SCHEMES) or '; the schemes are ' + ', '.join(SCHEMES)}"
    bound = _bound(kind, context)
    if bound:
        return bound
    if kind in _KINDS:
        return _KINDS[kind] + (_quotes(value, path) if kind == "string_type" else "")
    return detail["msg"].replace("Input should be", "must be")


def _bound(kind: str, context: Mapping[str, Any]) -> str:
    words = {
        "greater_than_equal": "must be {ge} or more",
        "less_than_equal": "must be {le} or less",
        "string_too_short": "must not be shorter than {min_length}",
        "string_too_long": "must not be longer than {max_length}",
    }
    return words[kind].format(**context) if kind in words else ""


def _quotes(value: object, path: Path) -> str:
    """YAML took the text for something else. SECURITY: a number may be an inline secret or a path; those are never repeated."""
    if path and path[-1] in {"value", "path", "public_url"}:
        return "; write it in quotes" if isinstance(value, bool | int | float) else ""
    if isinstance(value, bool):
        return f'; write "{str(value).lower()}" in quotes'
    return f'; write "{value}" in quotes' if isinstance(value, int | float) else ""


@cache
def _description() -> Mapping[str, Any]:
    return Policy.model_json_schema()


def _known(location: tuple[int | str, ...]) -> tuple[str, ...]:
    """The keys that may stand at this place, from the model's own description."""
    schema = _description()
    definitions = schema.get("$defs", {})
    place: Mapping[str, Any] = schema
    for step in location:
        place = _object(place, definitions, str(step))
        if step in SCHEMES:
            continue
        place = place.get("items", {}) if isinstance(step, int) else place.get("properties", {}).get(step, {})
    return tuple(_object(place, definitions, "").get("properties", ()))


def _object(place: Mapping[str, Any], definitions: Mapping[str, Any], step: str) -> Mapping[str, Any]:
    """Follow a reference, and choose the branch that is an object or a list."""
    if "$ref" in place:
        return _object(definitions[place["$ref"].rpartition("/")[2]], definitions, step)
    mapping = place.get("discriminator", {}).get("mapping", {})
    if step in mapping:
        return _object({"$ref": mapping[step]}, definitions, "")
    for branch in place.get("anyOf", ()):
        found = _object(branch, definitions, step)
        if "properties" in found or "items" in found or "discriminator" in found:
            return found
    return place
