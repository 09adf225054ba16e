"""The schema rule: the parsed view has the promised shape. Last at the desk, so only genuine bodies are walked."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from proxy.messages import NOT_JSON, Request
from proxy.policy.model import SchemaRule
from proxy.rules.base import answer_of
from proxy.rules.keys import Read
from proxy.verdict import PASS, Fail, Reason, RuleName, Verdict

IsValid = Callable[[object], bool]


class Schema:
    """One validator for all, or one for each value that ``by`` reads; a value without a validator passes."""

    name: Final = RuleName.SCHEMA

    def __init__(self, settings: SchemaRule, whole: IsValid | None, by: Read | None, each: Mapping[bytes, IsValid]) -> None:
        answer = answer_of(settings)
        self._whole = whole
        self._by = by
        self._each = dict(each)
        self._not_json = Fail(Reason.PAYLOAD_NOT_JSON, answer)
        self._invalid = Fail(Reason.PAYLOAD_INVALID, answer)

    def check(self, request: Request) -> Verdict:
        """An unknown event type passes: a provider adds types without asking."""
        document = request.document()
        if document is NOT_JSON:
            return self._not_json
        if self._whole is not None and not self._whole(document):
            return self._invalid
        if self._by is not None:
            valid = self._each.get(self._by(request) or b"")
            if valid is not None and not valid(document):
                return self._invalid
        return PASS


def validator(document: dict[str, Any] | bool) -> IsValid:
    """A compiled JSON Schema: references stay inside the document, patterns run in linear time."""
    # Imported on first use: 5 MB of resident memory that only schemas need.
    import jsonschema_rs

    return jsonschema_rs.validator_for(document, pattern_options=jsonschema_rs.RegexOptions(), offline=True).is_valid
