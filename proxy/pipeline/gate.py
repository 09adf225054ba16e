"""The gate of one route: runs its rules at door and desk, decides what each finding counts for, makes the permits.

First enforced ``Fail`` ends the walk; reported ones walk on, so that one day of reporting shows every finding.
A rule that raises is a ``Fail`` of its own (``rule_broke``), and the rule's mode decides as usual.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import ClassVar, Final, NamedTuple

from proxy.messages import Head, Request
from proxy.pipeline.modes import chosen
from proxy.policy.values import Stance
from proxy.rules.base import BodyRule, HeadRule
from proxy.rules.rate import StoreRate
from proxy.rules.replay import UNCHECKED, Replay, Reserved
from proxy.verdict import PASS, STATUS, Cause, Fail, Finding, Mode, Pass, Reason, Refusal, RuleName, Verdict

_log = logging.getLogger("hookgate.gate")

# Asked of every request, and an Enum's class looks its members up a hundred times slower than a module its globals.
_ENFORCE: Final = Mode.ENFORCE
_OFF: Final = Mode.OFF

_BROKE: Final = Fail(Reason.RULE_BROKE)
_PROOFS: Final = frozenset({RuleName.SIGNATURE, RuleName.TIMESTAMP})
_WAIT: Final = {429: 1, 503: 5}


class Plan(NamedTuple):
    """The rules that run under one mode, each with what its findings count for."""

    door: tuple[tuple[HeadRule, Mode], ...]
    desk: tuple[tuple[BodyRule, Mode], ...]
    claim: Mode
    shape: tuple[tuple[BodyRule, Mode], ...]
    """The rules after the claim."""
    body_limit: int
    """Reading stops here."""
    oversize: Fail | None
    """What is found when it does; ``None`` for the wall that holds in every mode."""
    demands_proof: bool = False
    """What goes on has been signed: the signature is enforced."""


class Judgement:
    """What has been found about one request so far."""

    __slots__ = ("findings", "held", "in_doubt", "plan", "secret", "share", "suspect")

    def __init__(self, plan: Plan, share: int) -> None:
        self.plan = plan
        self.share = share
        """Percent of requests for which enforcing holds; below 100 the body decides, so the door's refusal is held."""
        self.held: Refusal | None = None
        self.findings: list[Finding] = []
        self.secret = ""
        self.suspect: Head | Request | Cause | None = None
        """What the signature rule found wrong, for whoever asks why."""
        self.in_doubt = False


class Permit(NamedTuple):
    """The right to forward this request. ``Gate.desk`` alone makes it."""

    route: str
    request: Request
    reserved: Reserved
    reported: tuple[Finding, ...]


class Gate:
    """All rules of one route. ``stance`` alone may change while it lives: the switch turns it."""

    __slots__ = (
        "_optional", "_proved", "asks", "event", "methods", "name", "pinned", "plans", "prepare", "query", "replay", "senders",
        "stance",
    )  # fmt: skip

    waives: ClassVar[bool] = False
    """Some of its requests are judged by another gate (``gate_of``), or end otherwise than it says (``received``)."""

    def __init__(
        self,
        name: str,
        plans: dict[Mode, Plan],
        *,
        stance: Stance,
        replay: Replay | None,
        proved: bool,
        optional: bool,
        methods: frozenset[str],
        query: bool,
        senders: Callable[[Head], bool],
        event: Callable[[Request], str],
        pinned: frozenset[RuleName] = frozenset(),
    ) -> None:
        self.name = name
        self.plans = plans
        self.stance = stance
        self.replay = replay
        self.methods = methods
        self.query = query
        self.senders = senders
        self.event = event
        self.pinned = pinned
        self.prepare: Callable[[Request], Awaitable[None] | None] | None = None
        """Only where keys stand elsewhere: what to wait for before a request is judged."""
        self._proved = proved
        self._optional = optional
        self.asks = any(isinstance(rule, StoreRate) for plan in plans.values() for rule, _ in plan.door)
        """Its door has to ask the store: ``asking_door`` judges then."""

    def gate_of(self, head: Head) -> "Gate":
        """The gate that judges a request with this head."""
        return self

    def open(self) -> Judgement:
        """Begin to judge a request under the stance of this moment."""
        stance = self.stance
        return Judgement(self.plans[stance.mode], stance.share if stance.mode is _ENFORCE else 100)

    def door(self, head: Head, judgement: Judgement) -> Refusal | None:
        """Judge the head."""
        for rule, mode in judgement.plan.door:
            try:
                verdict = rule.check(head)
            except Exception:
                verdict = _broke(rule.name)
            if verdict is PASS:
                continue
            refusal = self._note(verdict, rule.name, mode, judgement, head)
            if refusal is not None and self._stops(refusal, rule, judgement):
                return refusal
        return None

    async def asking_door(self, head: Head, judgement: Judgement) -> Refusal | None:
        """Judge the head, where a rate is counted in the store."""
        for rule, mode in judgement.plan.door:
            try:
                verdict = await rule.ask(head) if isinstance(rule, StoreRate) else rule.check(head)
            except Exception:
                verdict = _broke(rule.name)
            if verdict is PASS:
                continue
            refusal = self._note(verdict, rule.name, mode, judgement, head)
            if refusal is not None and self._stops(refusal, rule, judgement):
                return refusal
        return None

    def _stops(self, refusal: Refusal, rule: HeadRule, judgement: Judgement) -> bool:
        if judgement.share == 100 or rule.name in self.pinned:
            return True
        judgement.held = judgement.held or refusal
        return False

    def body_limit(self, judgement: Judgement) -> int:
        """Where reading stops. While the share has not spoken, only the wall holds."""
        return (judgement.plan if judgement.share == 100 else self.plans[Mode.REPORT]).body_limit

    def oversize(self, judgement: Judgement) -> Refusal:
        """The body went on past the plan's limit."""
        found = judgement.plan.oversize if judgement.share == 100 else None
        if found is None:
            return refusal_of(Fail(Reason.BODY_TOO_LARGE))
        judgement.findings.append(Finding(RuleName.SIZE, found.reason, Mode.ENFORCE))
        return refusal_of(found)

    async def desk(self, request: Request, judgement: Judgement) -> Permit | Refusal:
        """Judge head and whole body, reserve the claim; a permit must be settled whatever happens next."""
        if self.prepare is not None:
            await self._prepared(request)
        refusal = self._drawn(request, judgement) if judgement.share < 100 else None
        plan = judgement.plan
        refusal = refusal or self._judge(plan.desk, request, judgement)
        if refusal is None and self.waives:
            request, refusal = self.received(request, judgement)
        if refusal is not None:
            return refusal
        reserved = UNCHECKED
        if self.replay is not None and plan.claim is not _OFF and self._authentic(judgement):
            try:
                claimed = await self.replay.claim(request)
            except Exception:
                claimed = _broke(RuleName.REPLAY)
            if type(claimed) is not Reserved or claimed is UNCHECKED:
                refusal = self._unclaimed(claimed, judgement)
                if refusal is not None:
                    return refusal
            else:
                reserved = claimed
        refusal = self._judge(plan.shape, request, judgement) if plan.shape else None
        if refusal is not None:
            # Acknowledged is as good as delivered: the sender will not come again.
            await self.settle(reserved, delivered=refusal.status < 300)
            return refusal
        return tuple.__new__(Permit, (self.name, request, reserved, tuple(judgement.findings)))

    def received(self, request: Request, judgement: Judgement) -> tuple[Request, Refusal | None]:
        """What goes on in the place of a judged request, or the gate's own answer; asked where ``waives`` is set."""
        return request, None

    async def _prepared(self, request: Request) -> None:
        assert self.prepare is not None  # noqa: S101 - the caller asked
        try:
            waiting = self.prepare(request)
            if waiting is not None:
                await waiting
        except Exception:  # without keys the rule itself will say so
            _log.exception("keys could not be prepared")

    def settle(self, reserved: Reserved, *, delivered: bool) -> Awaitable[None]:
        """Tell the claim how it ended; awaited."""
        if self.replay is not None and reserved.key:
            return self.replay.settle(reserved, delivered=delivered)
        return _nothing()

    def _judge(self, rules: tuple[tuple[BodyRule, Mode], ...], request: Request, judgement: Judgement) -> Refusal | None:
        for rule, mode in rules:
            try:
                verdict = rule.check(request)
            except Exception:
                verdict = _broke(rule.name)
            if verdict is PASS:
                continue
            refusal = self._note(verdict, rule.name, mode, judgement, request)
            if refusal is not None:
                return refusal
        return None

    def _note(
        self, verdict: Verdict, rule: RuleName, mode: Mode, judgement: Judgement, subject: Head | Request | None = None
    ) -> Refusal | None:
        if type(verdict) is Pass:
            if verdict.secret:
                judgement.secret = verdict.secret
            return None
        assert isinstance(verdict, Fail)  # noqa: S101 - the type's other half
        judgement.findings.append(Finding(rule, verdict.reason, mode))
        if rule is RuleName.SIGNATURE:
            judgement.suspect = subject if verdict.cause is Cause.UNKNOWN else verdict.cause
        return refusal_of(verdict) if mode is Mode.ENFORCE else None

    def _drawn(self, request: Request, judgement: Judgement) -> Refusal | None:
        """The share has its say now that the body is here."""
        if chosen(request.digest(), judgement.share):
            return judgement.held
        judgement.plan = self.plans[Mode.REPORT]
        judgement.findings = [found._replace(mode=Mode.REPORT) for found in judgement.findings]
        return None

    def _authentic(self, judgement: Judgement) -> bool:
        """SECURITY: a forged request must not reserve a genuine id, nor where its header may be missing, nor in report mode."""
        if self._optional and not judgement.secret:
            return False
        if not judgement.findings:
            return True
        # A time that is only told must not let a proved request go on uncounted: whoever repeats it would wait until it is old.
        doubts = {RuleName.SIGNATURE} if judgement.plan.demands_proof else _PROOFS
        return self._proved and not any(found.rule in doubts for found in judgement.findings)

    def _unclaimed(self, claimed: Reserved | Fail, judgement: Judgement) -> Refusal | None:
        if isinstance(claimed, Fail):
            judgement.in_doubt = claimed.in_doubt
            return self._note(claimed, RuleName.REPLAY, judgement.plan.claim, judgement)
        judgement.findings.append(Finding(RuleName.REPLAY, Reason.STORE_UNREACHABLE, Mode.REPORT))
        return None


def refusal_of(found: Fail) -> Refusal:
    """How a finding that decided is answered."""
    if found.answer.acknowledge:
        return Refusal(found.reason, 200)
    status = found.answer.status or STATUS[found.reason]
    return Refusal(found.reason, status, found.answer.retry_after or found.retry_after or _WAIT.get(status, 0))


async def _nothing() -> None:
    """Nothing was claimed, so nothing is settled."""


def _broke(rule: RuleName) -> Fail:
    # The traceback may quote what was judged, so only the place is told.
    _log.exception("rule %s broke", rule.value)
    return _BROKE
