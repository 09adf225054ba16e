"""The rate rule: so many requests of a client, or of all. An IPv6 client counts by its /64."""

import math
from collections.abc import Callable
from typing import Final

from proxy.errors import StoreError
from proxy.messages import Head
from proxy.policy.model import RateRule
from proxy.rules.base import answer_of
from proxy.rules.meter import Meter
from proxy.rules.sharing import Shared
from proxy.store.base import SharedRates
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
        return self._verdict(self._meter.take(self._client(head), head.started))

    def _client(self, head: Head) -> str:
        return "" if self._by_route else head.client.group

    def _verdict(self, wait: float) -> Verdict:
        if wait > 0.0:
            return Fail(Reason.RATE_LIMITED, self._answer, retry_after=math.ceil(wait))
        return PASS


class StoreRate(Rate):
    """Counts in the store, with all gates that share it. ``check`` is this machine's own count."""

    def __init__(
        self,
        settings: RateRule,
        store: SharedRates,
        failed: Callable[[str], None],
        shared: Shared | None = None,
        scope: str = "",
    ) -> None:
        """``failed`` is told when the store did not answer."""
        super().__init__(settings, shared, scope)
        self._store = store
        self._failed = failed
        self._scope = f"{scope} "

    async def ask(self, head: Head) -> Verdict:
        """Like ``check``, by the store's count; by our own where it does not answer: nobody is refused for want of a store."""
        client = self._client(head)
        try:
            wait = await self._store.take((self._scope + client).encode(), self._meter.interval, self._meter.slack)
        except StoreError:
            self._failed("rate")
            return self.check(head)
        if wait <= 0.0:
            self._meter.take(client, head.started)  # so that a store that goes away gives nobody a new burst
        return self._verdict(wait)
