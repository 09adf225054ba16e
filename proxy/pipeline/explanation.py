"""What each rule of a gate found and how long it took, passes included: for whoever asks why.

The gate itself judges, with each of its rules under a watch: what is told is what happens, not a second opinion.
"""

from collections.abc import Callable
from time import perf_counter_ns
from typing import Final, Generic, NamedTuple, TypeVar

from proxy.messages import Head, Request
from proxy.pipeline.gate import Gate, Plan
from proxy.pipeline.handshakes import ReceivingGate
from proxy.rules.replay import Replay, Reserved
from proxy.verdict import PASS, Fail, Mode, Reason, RuleName, Verdict

Subject = TypeVar("Subject", Head, Request)
Note = Callable[[RuleName, object, int], None]

_BROKE: Final = Fail(Reason.RULE_BROKE)


class Judged(NamedTuple):
    """One rule's part in the judgement of one request."""

    rule: RuleName
    reason: Reason | None
    """``none`` for a pass; ``None`` where the judgement ended before it."""
    mode: Mode
    """What a finding of it counted for."""
    microseconds: float


class Watch:
    """Put on one gate before it judges its first request; tells of one request."""

    def __init__(self, gate: Gate) -> None:
        self._base = gate.stance.mode
        self._modes = {base: _modes(plan) for base, plan in gate.plans.items()}
        self._found: dict[RuleName, Reason] = {}
        self._nanoseconds: dict[RuleName, int] = {}
        gate.plans = {base: self._watched(base, plan) for base, plan in gate.plans.items()}
        if gate.replay is not None:
            gate.replay = _WatchedReplay(gate.replay, self._note)
        for reception in gate.receptions() if isinstance(gate, ReceivingGate) else ():
            reception.plans = {base: self._received(base, plan) for base, plan in reception.plans.items()}

    @property
    def base(self) -> Mode:
        """What the route stood on for this request; with a share it is the body that decides."""
        return self._base

    def judged(self) -> tuple[Judged, ...]:
        """The rules in the order in which they judged, then those that were not reached. Rules that are off are left out."""
        modes = self._modes[self._base]
        order = [*self._found, *(rule for rule in modes if rule not in self._found)]
        return tuple(
            Judged(rule, self._found.get(rule), modes.get(rule, Mode.OFF), self._nanoseconds.get(rule, 0) / 1000)
            for rule in order
        )

    def _watched(self, base: Mode, plan: Plan) -> Plan:
        return plan._replace(
            door=tuple((_WatchedRule(rule.name, rule.check, self._note), mode) for rule, mode in plan.door),
            desk=(
                (_Drawn(lambda: self._stand_on(base)), Mode.OFF),
                *((_WatchedRule(rule.name, rule.check, self._note), mode) for rule, mode in plan.desk),
            ),
            shape=tuple((_WatchedRule(rule.name, rule.check, self._note), mode) for rule, mode in plan.shape),
        )

    def _received(self, base: Mode, plan: Plan) -> Plan:
        """An unsigned check of the address: another gate's rules take the place of the route's."""
        here = _Drawn(lambda: self._modes.update({base: _modes(plan)}))
        watched = self._watched(base, plan)
        return watched._replace(door=((here, Mode.OFF), *watched.door), desk=((here, Mode.OFF), *watched.desk))

    def _stand_on(self, base: Mode) -> None:
        self._base = base

    def _note(self, rule: RuleName, verdict: object, nanoseconds: int) -> None:
        """Size judges twice, by the declared length and by the real one: times add up, and a failure stays."""
        reason = verdict.reason if isinstance(verdict, Fail) else Reason.NONE
        if self._found.get(rule, Reason.NONE) is Reason.NONE:
            self._found[rule] = reason
        self._nanoseconds[rule] = self._nanoseconds.get(rule, 0) + nanoseconds


def _modes(plan: Plan) -> dict[RuleName, Mode]:
    modes = {rule.name: mode for rule, mode in plan.door}
    modes |= {rule.name: mode for rule, mode in plan.desk}
    if plan.claim is not Mode.OFF:
        modes[RuleName.REPLAY] = plan.claim
    return modes | {rule.name: mode for rule, mode in plan.shape}


class _WatchedRule(Generic[Subject]):
    """A rule that judges as before and is watched at it."""

    def __init__(self, name: RuleName, check: Callable[[Subject], Verdict], note: Note) -> None:
        self.name: Final = name
        self._check: Callable[[Subject], Verdict] = check
        self._note = note

    def check(self, subject: Subject) -> Verdict:
        verdict: Verdict = _BROKE
        started = perf_counter_ns()
        try:
            verdict = self._check(subject)
        finally:
            self._note(self.name, verdict, perf_counter_ns() - started)
        return verdict


class _WatchedReplay(Replay):
    """The same for the claim, which waits for its store."""

    def __init__(self, replay: Replay, note: Note) -> None:
        self._replay = replay
        self._note = note

    async def claim(self, request: Request) -> Reserved | Fail:
        claimed: Reserved | Fail = _BROKE
        started = perf_counter_ns()
        try:
            claimed = await self._replay.claim(request)
        finally:
            self._note(self.name, claimed, perf_counter_ns() - started)
        return claimed

    async def settle(self, reserved: Reserved, *, delivered: bool) -> None:
        await self._replay.settle(reserved, delivered=delivered)


class _Drawn:
    """Stands first at the desk of a plan and finds nothing: that it is asked shows which plan the share has chosen."""

    name: Final = RuleName.SIZE

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell

    def check(self, request: Head | Request) -> Verdict:
        self._tell()
        return PASS
