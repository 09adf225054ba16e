"""The content rule: media type and content coding as declared. Nothing is decoded."""

from typing import Final

from proxy.messages import Request
from proxy.policy.model import ContentRule
from proxy.rules.base import answer_of
from proxy.verdict import PASS, Fail, Reason, RuleName, Verdict


class Content:
    """Empty lists allow anything."""

    name: Final = RuleName.CONTENT

    def __init__(self, settings: ContentRule) -> None:
        answer = answer_of(settings)
        self._types = frozenset(written.strip().lower().encode() for written in settings.types)
        self._encodings = frozenset(written.strip().lower().encode() for written in settings.encodings)
        self._type_refused = Fail(Reason.CONTENT_TYPE_REFUSED, answer)
        self._encoding_refused = Fail(Reason.CONTENT_ENCODING_REFUSED, answer)

    def check(self, request: Request) -> Verdict:
        """A missing type is refused where types are listed; a missing or empty coding is ``identity`` (RFC 9110 section 8.4)."""
        head = request.head
        given = head.named.get(b"content-type", b"")
        if self._types:
            if given not in self._types and given.partition(b";")[0].strip().lower() not in self._types:
                return self._type_refused
            if b"content-type" in head.repeated:
                return self._type_refused
        if self._encodings and (b"content-encoding" in head.named or b"identity" not in self._encodings):
            if b"content-encoding" in head.repeated:
                return self._encoding_refused
            if (head.named.get(b"content-encoding", b"").strip().lower() or b"identity") not in self._encodings:
                return self._encoding_refused
        return PASS
