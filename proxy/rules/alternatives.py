"""One of several ways to sign: the first that a request is made for decides alone, so that a failed one has no second chance."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from proxy.messages import Request
from proxy.policy.values import Condition
from proxy.rules.base import BodyRule
from proxy.rules.keys import Read, reader
from proxy.verdict import Fail, Reason, RuleName, Verdict


class Way(NamedTuple):
    """A way to sign, and the test of a request for it."""

    fits: Callable[[Request], bool]
    rule: BodyRule


class Alternatives:
    """``absent`` is the verdict on a request that no way fits."""

    name: Final = RuleName.SIGNATURE

    def __init__(self, ways: Sequence[Way], absent: Verdict) -> None:
        self._ways = tuple(ways)
        self._absent = absent

    def check(self, request: Request) -> Verdict:
        """A way whose signature is missing is not for this request."""
        for fits, rule in self._ways:
            if not fits(request):
                continue
            verdict = rule.check(request)
            if not (isinstance(verdict, Fail) and verdict.reason is Reason.SIGNATURE_MISSING):
                return verdict
        return self._absent


def fitting(conditions: Sequence[Condition]) -> Callable[[Request], bool]:
    """Whether all conditions hold for a request."""
    reads: list[tuple[Read, bytes]] = [(reader(one.selector), one.value.encode()) for one in conditions]
    return lambda request: all(read(request) == value for read, value in reads)
