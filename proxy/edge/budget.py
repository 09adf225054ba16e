"""The budget of wrong credentials: who guesses secrets or paths for long is told 429, and nobody genuine ever is for it.

SECURITY: an address proves little: behind a terminator that the policy does not name, or a network's one public address, forger
and sender look alike, and a budget that shut an address out would let the one lock out the other. So it takes the place of a
refusal only, or of one that is certain from the head (no signature there): what may be genuine is judged each time. Listed
senders and unnamed peers of private networks have none.
"""

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

from proxy.messages import Head
from proxy.networks import NetworkSet, parse_network
from proxy.pipeline.gate import Gate, Judgement, refusal_of
from proxy.policy.model import Policy, Route, WrongCredentials
from proxy.policy.paths import networks_of
from proxy.rules.meter import Meter
from proxy.rules.sharing import Shared
from proxy.verdict import Fail, Finding, Mode, Reason, Refusal, RuleName

WRONG: Final = frozenset({
    Reason.SIGNATURE_MISSING, Reason.SIGNATURE_MALFORMED, Reason.SIGNATURE_MISMATCH,
    Reason.UNKNOWN_ROUTE, Reason.METHOD_NOT_ALLOWED,
})  # fmt: skip

_PRIVATE: Final = NetworkSet(
    map(
        parse_network,
        ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7",
         "fe80::/10"),
    ),
    unix=True,
)  # fmt: skip
_KEPT: Final = 10_000


class Known(NamedTuple):
    """What the budget knows of a route."""

    listed: NetworkSet
    signed: bytes
    """The lower-case name of the header without which no request is genuine; empty where there is no such header."""
    exact: bool
    """Its sender is owed the very answer that the policy gives, or probes with wrong signatures and wants each refused alike."""


class Budget:
    """Of one policy. ``enforcing``: whether anything is refused where no route is known; the switch turns it."""

    def __init__(self, meter: Meter | None, routes: Mapping[str, Known], spent: dict[str, float]) -> None:
        """``spent`` holds until when (monotonic) a client's budget is empty; it outlives a policy."""
        self._meter = meter
        self._routes = routes
        self.spent = spent
        self.enforcing = True

    def hopeless(self, head: Head, gate: Gate, judgement: Judgement) -> Refusal | None:
        """Before the body is read, of a client that has spent its budget: no signature, no reading."""
        until = self.spent.get(head.client.group, 0.0)
        known = self._routes.get(gate.name)
        if until <= head.started or known is None or not known.signed or known.signed in head.named:
            return None
        return self._refused(head, gate, judgement, until - head.started)

    def spend(self, head: Head, gate: Gate | None, judgement: Judgement | None, refusal: Refusal) -> Refusal:
        """Take one for a refusal of a wrong credential; gives another refusal when there is none left to take."""
        if self._meter is None or refusal.reason not in WRONG:
            return refusal
        if head.client in _PRIVATE and head.client == head.peer:
            return refusal
        wait = self._meter.take(head.client.group, head.started)
        if wait <= 0.0:
            return refusal
        return self._refused(head, gate, judgement, wait) or refusal

    def _refused(self, head: Head, gate: Gate | None, judgement: Judgement | None, wait: float) -> Refusal | None:
        if gate is None or judgement is None:
            if not self.enforcing or any(head.client in known.listed for known in self._routes.values()):
                return None
        elif gate.stance.mode is not Mode.ENFORCE or gate.stance.share < 100 or self._spares(gate.name, head):
            return None
        else:
            judgement.findings.append(Finding(RuleName.RATE, Reason.RATE_LIMITED, Mode.ENFORCE))
        if len(self.spent) >= _KEPT:
            for client in [client for client, until in self.spent.items() if until <= head.started] or list(self.spent):
                del self.spent[client]
        self.spent[head.client.group] = head.started + wait
        return refusal_of(Fail(Reason.RATE_LIMITED, retry_after=math.ceil(wait)))

    def _spares(self, route: str, head: Head) -> bool:
        known = self._routes[route]
        return known.exact or head.client in known.listed


UNLIMITED: Final = Budget(None, {}, {})
"""Where nobody counts."""


def known_of(route: Route) -> Known:
    """The senders that a route lists, and where its signature stands: only a plain, indispensable header makes hopeless."""
    allowed = networks_of(route.rules.ip.allow) if route.rules.ip is not None else NetworkSet()
    listed = NetworkSet(
        (parse_network(one) for one in (*route.senders.written, *allowed.written) if one != "unix"),
        unix=route.senders.unix or allowed.unix,
    )
    signature = route.rules.signature
    header = getattr(signature, "header", None)
    plain = isinstance(header, str) and "|" not in header and getattr(signature, "when_missing", "refuse") == "refuse"
    waived = bool(route.handshakes) or signature is None or signature.mode is not Mode.ENFORCE
    answer = signature.answer if signature is not None else None
    exact = bool(answer and (answer.status or answer.acknowledge)) or RuleName.SIGNATURE in route.pinned
    return Known(listed, str(header).lower().encode() if plain and not waived else b"", exact)


class Budgets:
    """Makes the budget of one policy after the other; the counts go on where a policy changes nothing about them."""

    def __init__(self, shared: Shared | None) -> None:
        self._shared = shared
        self._counted: tuple[WrongCredentials, Meter] | None = None
        self._spent: dict[str, float] = {}

    def of(self, policy: Policy) -> Budget:
        """The budget as this policy wants it."""
        wanted = policy.limits.wrong_credentials
        if self._counted is None or self._counted[0] != wanted:
            rate = wanted.limit
            self._counted = wanted, Meter(rate.requests, rate.seconds, wanted.burst, self._shared, "wrong credentials")
        return Budget(self._counted[1], {route.name: known_of(route) for route in policy.routes}, self._spent)
