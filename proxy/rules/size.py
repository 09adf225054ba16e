"""The size rule: at the door what the head declares, at the desk what really came."""

from typing import Final

from proxy.messages import Head, Request
from proxy.policy.model import SizeRule
from proxy.rules.base import answer_of
from proxy.verdict import PASS, Fail, Reason, RuleName, Verdict


class DeclaredSize:
    """Refuses before a byte of the body is read."""

    name: Final = RuleName.SIZE

    def __init__(self, settings: SizeRule) -> None:
        self._max = settings.max
        self._fail = Fail(Reason.BODY_TOO_LARGE, answer_of(settings))

    def check(self, head: Head) -> Verdict:
        """A chunked body declares nothing and passes here."""
        return self._fail if head.length is not None and head.length > self._max else PASS


class Size:
    """Judges the body as it was sent; reading stops at the limit already where the rule is enforced."""

    name: Final = RuleName.SIZE

    def __init__(self, settings: SizeRule) -> None:
        self.max: Final = settings.max
        self.fail: Final = Fail(Reason.BODY_TOO_LARGE, answer_of(settings))

    def check(self, request: Request) -> Verdict:
        """What the door found by the declared length is not found twice."""
        declared = request.head.length
        return self.fail if len(request.body) > self.max and declared is None else PASS
