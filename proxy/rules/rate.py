"""The rate rule: GCRA, one float a client. An IPv6 client counts by its /64.

The generic cell rate algorithm (ITU-T I.371) keeps only the theoretical arrival time of the next request.
"""

import math
from typing import Final

from proxy.messages import Head
from proxy.policy.model import RateRule
from proxy.rules.base import answer_of
from proxy.verdict import PASS, Fail, Reason, RuleName, Verdict

_KEPT = 100_000
"""Clients remembered at most; beyond, newcomers share one bucket, so that nobody can push others' counters out."""


class Rate:
    """Counts in this process; monotonic time comes with the head."""

    name: Final = RuleName.RATE

    def __init__(self, settings: RateRule) -> None:
        self._answer = answer_of(settings)
        self._interval = settings.limit.seconds / settings.limit.requests
        self._slack = self._interval * (settings.burst - 1)
        self._by_route = settings.per == "route"
        self._due: dict[str, float] = {}
        self._swept = 0.0

    def check(self, head: Head) -> Verdict:
        """A refused request does not count: a sender that keeps knocking is let in as soon as its time has come."""
        now = head.started
        key = "" if self._by_route else head.client.group
        due = self._due.get(key)
        if due is None or due < now:
            if due is None and len(self._due) >= _KEPT and not self._room(now):
                key = ""
            due = max(self._due.get(key, now), now)
        wait = due - now - self._slack
        if wait > 1e-9:
            return Fail(Reason.RATE_LIMITED, self._answer, retry_after=math.ceil(wait))
        self._due[key] = due + self._interval
        return PASS

    def _room(self, now: float) -> bool:
        if now - self._swept >= 1.0:  # at most once a second: a flood of newcomers must not buy a walk each
            self._swept = now
            self._due = {key: due for key, due in self._due.items() if due > now}
        return len(self._due) < _KEPT
