"""When a signature was wrong the exchange waits a moment, until it is known why, or known that it will not be found out.

SECURITY: the answer has been written by then, and the search is bounded for the whole process: a flood of forgeries buys a few
per cent of one core and no more, a busy loop is left alone, and no request ever waits for a search.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from proxy.exchange import Exchange
from proxy.keyring.base import Keyring
from proxy.messages import Head, Request
from proxy.pipeline.gate import Judgement
from proxy.pipeline.schemes import head_rule, signature_rule
from proxy.policy.model import Policy, Route
from proxy.policy.schemes import Signature
from proxy.policy.secrets import Secret
from proxy.policy.values import Selector, SelectorKind
from proxy.rules.base import BodyRule, HeadRule
from proxy.rules.causes import BODY_BYTES, Around, Causes, Judge, Subject
from proxy.verdict import Cause, Finding, Reason, Verdict

_log = logging.getLogger("hookgate.inquiry")

SHARE: Final = 0.02
"""Seconds of CPU a second, for listed senders and for all others each."""
BURST: Final = 0.1
"""Seconds of CPU that may be spent at once after a quiet time."""
LEAST: Final = 0.001
"""What a search costs at least, so that their number is bounded too: a hundred at once, twenty a second."""
_MOST: Final = 0.03
"""Seconds of CPU after which a search gives up."""
_SLICE: Final = 0.001
"""Seconds that a search keeps the loop at most, one step more aside."""
_LATE: Final = 0.02
"""A loop that comes so many seconds late has better things to do."""
_PAUSE: Final = 0.005
_PAUSES: Final = 200
"""So often a busy loop is waited for, a quarter of a second each time."""
_BUSY_PAUSE: Final = 0.25
_READER: Final = 0.25
"""Seconds that a reader of the numbers waits for searches."""
_WAITING: Final = 8
_FORMER: Final = 4
"""Secrets that were taken out and are remembered, for each route."""

_SIGNATURE: Final = frozenset({Reason.SIGNATURE_MISSING, Reason.SIGNATURE_MALFORMED, Reason.SIGNATURE_MISMATCH})

Secrets = Mapping[str, Sequence[Secret]]
"""By route."""


class _OfHead(NamedTuple):
    """A rule of the head, asked about a whole request too."""

    rule: HeadRule

    def check(self, subject: Subject, /) -> Verdict:
        return self.rule.check(subject.head if isinstance(subject, Request) else subject)


class _OfRequest(NamedTuple):
    """A rule of head and body."""

    rule: BodyRule

    def check(self, subject: Subject, /) -> Verdict:
        return self.rule.check(Request(subject, b"") if isinstance(subject, Head) else subject)


def causes_of(policy: Policy, secrets: Secrets, former: Secrets, keyring: Keyring | None = None) -> dict[str, Causes]:
    """What searches for each route with a signature rule. ``former`` are secrets that reloads took away. Of the ``keyring`` those
    keys are used that are at hand: nothing is fetched for a search.
    """
    found = {}
    for route in policy.routes:
        settings = route.rules.signature
        if settings is None:
            continue
        others = [secret for name, listed in secrets.items() if name != route.name for secret in listed]
        around = Around(secrets.get(route.name, ()), former.get(route.name, ()), others, _stamp(route))
        found[route.name] = Causes(settings, around, _maker(route, keyring))
    return found


def _maker(route: Route, keyring: Keyring | None) -> Callable[[Signature, Sequence[Secret]], Judge]:
    def make(settings: Signature, secrets: Sequence[Secret]) -> Judge:
        of_head = head_rule(settings, secrets)
        return _OfHead(of_head) if of_head is not None else _OfRequest(signature_rule(route, settings, secrets, keyring))

    return make


def _stamp(route: Route) -> Selector | None:
    rule = route.rules.timestamp
    return None if rule is None else rule.source or Selector(SelectorKind.HEADER, rule.header or "")


class _Allowance:
    """A bucket of CPU time."""

    def __init__(self) -> None:
        self._left = BURST
        self._at = time.monotonic()

    def open(self) -> bool:
        """Whether there is something left."""
        now = time.monotonic()
        self._left = min(BURST, self._left + (now - self._at) * SHARE)
        self._at = now
        return self._left > 0

    def pay(self, seconds: float) -> None:
        """Spend; it may go below nothing, and then takes longer to fill."""
        self._left -= seconds


class _Search:
    """One exchange that waits for its cause."""

    __slots__ = ("allowance", "exchange", "found", "spent", "steps")

    def __init__(self, exchange: Exchange, steps: Iterator[Cause | None], allowance: _Allowance) -> None:
        self.exchange = exchange
        self.steps = steps
        self.allowance = allowance
        self.found: Cause | None = None
        self.spent = 0.0

    def go_on(self, seconds: float) -> bool:
        """Search on for so long; True when it is over. All steps are made even when one has found something."""
        before = time.thread_time()
        over = False
        while not over and time.thread_time() - before < seconds:
            try:
                found = next(self.steps)
            except StopIteration:
                over = True
            except Exception as error:  # SECURITY: one that breaks must not stand in the way of all others for good
                over = True
                _log.error("a search broke", extra={"facts": {"error": type(error).__name__}})
            else:
                self.found = self.found or found
        self.spent += time.thread_time() - before
        return over or self.spent > _MOST


class Inquiry:
    """Takes exchanges with findings and passes each on to ``observe``, its cause in it where one was found."""

    def __init__(self, observe: Callable[[Exchange], None]) -> None:
        self._observe = observe
        self.causes: Mapping[str, Causes] = {}
        """By route; replaced whole by a reload."""
        self._allowances = {True: _Allowance(), False: _Allowance()}
        self._waiting: deque[_Search] = deque()
        self._due = 0.0
        self._pauses = 0
        self._timer: asyncio.TimerHandle | None = None

    def take(self, judgement: Judgement, exchange: Exchange) -> None:
        """Pass on at once, or after a search."""
        steps = _steps(self.causes, judgement, exchange)
        allowance = self._allowances[exchange.listed]
        if steps is None or len(self._waiting) >= _WAITING or not allowance.open():
            self._observe(_stale(exchange))
            return
        allowance.pay(LEAST)
        self._waiting.append(_Search(exchange, steps, allowance))
        if self._timer is None:
            self._wait(_PAUSE)

    async def caught_up(self) -> None:
        """Search on without a pause until nothing waits, for a moment at most: whoever reads the numbers wants all of them."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _READER
        while self._waiting and loop.time() < until:
            if self._waiting[0].go_on(_SLICE):
                self._end(self._waiting.popleft())
            await asyncio.sleep(0)

    def finish(self) -> None:
        """Pass on what waits still."""
        if self._timer is not None:
            self._timer.cancel()
        while self._waiting:
            self._end(self._waiting.popleft())

    def _wait(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._due = loop.time() + seconds
        self._timer = loop.call_later(seconds, self._wake)

    def _wake(self) -> None:
        self._timer = None
        late = asyncio.get_running_loop().time() - self._due > _LATE
        if late and self._pauses < _PAUSES:
            self._pauses += 1
            self._wait(_BUSY_PAUSE)
            return
        if late:  # busy for a minute: nobody waits any longer
            self.finish()
        elif self._waiting and self._waiting[0].go_on(_SLICE):
            self._end(self._waiting.popleft())
        self._pauses = 0
        if self._waiting:
            self._wait(_PAUSE)

    def _end(self, search: _Search) -> None:
        search.allowance.pay(max(0.0, search.spent - LEAST))
        try:
            self._observe(search.exchange._replace(cause=search.found or Cause.UNKNOWN))
        except Exception:  # SECURITY: an observer that breaks is logged, never felt
            _log.exception("an observer broke")


def at_once(causes: Mapping[str, Causes], observe: Callable[[Exchange], None]) -> Callable[[Judgement, Exchange], None]:
    """The same without a bound and without waiting: for one request that somebody asks about."""

    def take(judgement: Judgement, exchange: Exchange) -> None:
        steps = _steps(causes, judgement, exchange)
        found = [cause for cause in steps if cause is not None] if steps is not None else []
        observe(exchange._replace(cause=found[0]) if found else _stale(exchange))

    return take


def _steps(causes: Mapping[str, Causes], judgement: Judgement, exchange: Exchange) -> Iterator[Cause | None] | None:
    """The search for an exchange; ``None`` where there is nothing to search."""
    suspect, route = judgement.suspect, causes.get(exchange.route)
    if isinstance(suspect, Cause):  # the rule itself has told it
        return iter([suspect])
    if suspect is None or route is None or (isinstance(suspect, Request) and len(suspect.body) > BODY_BYTES):
        return None
    reason = next((found.reason for found in exchange.findings if found.reason in _SIGNATURE), None)
    return route.search(suspect, reason) if reason is not None else None


def _stale(exchange: Exchange) -> Exchange:
    """With a right signature and a time that is over, the cause is known without a search."""
    if exchange.secret and any(map(_expired, exchange.findings)):
        return exchange._replace(cause=Cause.STALE_TIMESTAMP)
    return exchange


def _expired(finding: Finding) -> bool:
    return finding.reason is Reason.TIMESTAMP_EXPIRED


def gone(former: Secrets, before: Secrets, now: Secrets) -> dict[str, tuple[Secret, ...]]:
    """The last few secrets of each route that are in its policy no longer: somebody may send with one still."""
    kept = {}
    for route in now:
        values = {secret.reveal() for secret in now[route]}
        past = [secret for secret in (*former.get(route, ()), *before.get(route, ())) if secret.reveal() not in values]
        if past:
            kept[route] = tuple(past[-_FORMER:])
    return kept
