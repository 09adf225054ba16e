"""The rate rule: so many requests of a client, or of all. An IPv6 client counts by its /64."""

import math
from typing import Final

from proxy.messages import Head
from proxy.policy.model import RateRule
from proxy.rules.base import answer_of
from proxy.rules.meter import Meter, Shared
from proxy.verdict import PASS, Fail, Reason, RuleName, Verdict


class Rate:
    """Counts in this process, or with others where ``shared`` is given; monotonic time comes with the head."""

    name: Final = RuleName.RATE

    def __init__(self, settings: RateRule, shared: Shared | None = None, scope: str = "") -> None:
        """``scope`` tells this rule's clients from those of others that share the same due times."""
        self._answer = answer_of(settings)
        self._by_route = settings.per == "route"
        self._meter = Meter(settings.limit.requests, settings.limit.seconds, settings.burst, shared, scope)

    def check(self, head: Head) -> Verdict:
        """A refused request does not count: a sender that keeps knocking is let in as soon as its time has come."""
        wait = self._meter.take("" if self._by_route else head.client.group, head.started)
        if wait > 0.0:
            return Fail(Reason.RATE_LIMITED, self._answer, retry_after=math.ceil(wait))
        return PASS
