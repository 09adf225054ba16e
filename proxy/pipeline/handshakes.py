"""Gates that know their sender's checks of the address, and those whose bot gets plaintext. All others are plain.

An unsigned check is judged by a gate of its own (a reception): all rules of the route but those of proof and of events, its own
token in the place of the signature, and a bound of its own, because strangers can make such requests.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from proxy.messages import Head, Request
from proxy.pipeline.gate import Gate, Judgement, Permit, Plan
from proxy.pipeline.modes import milder
from proxy.pipeline.opening import Opened, RawReplay, opener_of, sealer_of
from proxy.policy.callbacks import EnvelopeSignature
from proxy.policy.model import RateRule, Route
from proxy.policy.secrets import Secret
from proxy.policy.values import Rate as RateValue
from proxy.rules.base import BodyRule, HeadRule
from proxy.rules.decrypt import Decrypt
from proxy.rules.handshake import Known, TokenProof
from proxy.rules.rate import Rate
from proxy.verdict import Mode, Refusal, RuleName

_BOUND: Final = RateRule(limit=RateValue(10, 1.0), burst=20, per="route")
"""Unsigned checks of one route in one worker: senders make a few, once."""

_PROOFS: Final = frozenset({RuleName.SIGNATURE, RuleName.TIMESTAMP})


def receiving(gate: Gate, route: Route, secrets: Sequence[Secret], token: Sequence[Secret]) -> Gate:
    """The gate with its route's handshakes and decryption; itself where there are none. ``token`` is that of the handshakes."""
    answers = route.handshake.mode == "answer"
    known = [
        Known(
            settings,
            route.handshake,
            token[0].reveal() if token else b"",
            secrets,
            opener_of(settings.opened, secrets),
            sealer_of(settings.opened, secrets),
        )
        for settings in route.handshakes
        if settings.waives or (answers and settings.answer is not None)
    ]
    signature = route.rules.signature
    decrypt = None
    if route.decrypt is not None and isinstance(signature, EnvelopeSignature):
        decrypt = Decrypt(route.decrypt, signature, secrets)
    if not known and decrypt is None:
        return gate
    header_names = signature.header_names() if signature is not None else frozenset[str]()
    return ReceivingGate(
        gate, route, known, decrypt, frozenset(name.encode() for several in header_names for name in several.split("|"))
    )


class Reception(Gate):
    """Judges one kind of unsigned check, and answers it where the gate does that."""

    __slots__ = ("_answers", "_known", "_parent")

    def __init__(self, parent: Gate, route: Route, known: Known, bound: Rate) -> None:
        answers = _answers(known, route)
        signature = route.rules.signature
        own = signature.mode if signature is not None else Mode.OFF
        plans = {}
        for base, plan in parent.plans.items():
            door = (*_without_signature(plan.door), *_bound(bound, Mode.ENFORCE if answers else base))
            desk = (*_size(plan.desk), *_token(known, milder(own, base)))
            plans[base] = plan._replace(door=door, desk=desk, claim=Mode.OFF, shape=())
        super().__init__(
            parent.name,
            plans,
            stance=parent.stance,
            replay=None,
            proved=False,
            optional=False,
            methods=frozenset({known.method}),
            query=True,
            senders=parent.senders,
            event=parent.event,
            # What we answer ourselves is bounded at once, whatever the share draws.
            pinned=frozenset({RuleName.RATE}) if answers else frozenset(),
        )
        self._parent = parent
        self._known = known
        self._answers = answers

    def open(self) -> Judgement:
        """The switch turns the route's own gate; this one stands where that stands."""
        self.stance = self._parent.stance
        return super().open()

    async def desk(self, request: Request, judgement: Judgement) -> Permit | Refusal:
        ended = await super().desk(request, judgement)
        if self._answers and isinstance(ended, Permit):
            seen = self._known.view(request, proved=False)
            return (seen and self._known.answer(request, seen, "")) or ended
        return ended


def _answers(known: Known, route: Route) -> bool:
    return route.handshake.mode == "answer" and known.settings.answer is not None


def _waived(known: Known, route: Route) -> bool:
    return known.settings.waives and (_answers(known, route) or known.settings.forward == "waived")


Door = tuple[tuple[HeadRule, Mode], ...]
Desk = tuple[tuple[BodyRule, Mode], ...]


def _without_signature(door: Door) -> Door:
    return tuple(one for one in door if one[0].name is not RuleName.SIGNATURE)


def _bound(bound: Rate, mode: Mode) -> Door:
    return () if mode is Mode.OFF else ((bound, mode),)


def _size(desk: Desk) -> Desk:
    return tuple(one for one in desk if one[0].name is RuleName.SIZE)


def _token(known: Known, mode: Mode) -> Desk:
    return () if mode is Mode.OFF or not known.settings.token else ((TokenProof(known), mode),)


class ReceivingGate(Gate):
    """A route's gate with handshakes, decryption, or both."""

    __slots__ = ("_by_body", "_by_head", "_decrypt", "_headers", "_provable")

    waives: ClassVar[bool] = True

    def __init__(
        self, gate: Gate, route: Route, known: Sequence[Known], decrypt: Decrypt | None, headers: frozenset[bytes]
    ) -> None:
        plans = gate.plans if decrypt is None else {base: _opening_plan(plan, decrypt) for base, plan in gate.plans.items()}
        super().__init__(
            gate.name,
            plans,
            stance=gate.stance,
            replay=RawReplay(gate.replay) if decrypt is not None and gate.replay is not None else gate.replay,
            proved=gate._proved,
            optional=gate._optional,
            methods=gate.methods,
            query=gate.query,
            senders=gate.senders,
            event=gate.event,
            pinned=gate.pinned,
        )
        self._headers = headers
        self._decrypt = decrypt
        bound = Rate(_BOUND)
        waived = [(one, Reception(self, route, one, bound)) for one in known if _waived(one, route)]
        self._by_head: Mapping[str, list[tuple[Known, Reception]]] = {
            method: [pair for pair in waived if pair[0].settings.by_head and pair[0].method == method]
            for method in ("GET", "POST", "OPTIONS")
        }
        self._by_body = [pair for pair in waived if not pair[0].settings.by_head]
        self._provable = [one for one in known if _answers(one, route)]

    def receptions(self) -> list[Gate]:
        """The gates of its unsigned handshakes."""
        return [reception for pairs in (*self._by_head.values(), self._by_body) for _, reception in pairs]

    def gate_of(self, head: Head) -> Gate:
        for known, reception in self._by_head.get(head.method, ()):
            if self._unsigned(known, head) and known.shown_by(head):
                return reception
        return self

    async def desk(self, request: Request, judgement: Judgement) -> Permit | Refusal:
        for known, reception in self._by_body:
            if self._unsigned(known, request.head) and known.view(request, proved=False) is not None:
                judgement.plan = reception.plans[self.stance.mode]
                return await reception.desk(request, judgement)
        return await super().desk(request, judgement)

    def received(self, request: Request, judgement: Judgement) -> tuple[Request, Refusal | None]:
        plain = self._decrypt.opened(request) if self._decrypt is not None else None
        return Opened(plain, request) if plain is not None else request, self._answered(request, judgement)

    def _answered(self, request: Request, judgement: Judgement) -> Refusal | None:
        """SECURITY: only what a secret of the route has proved, whatever the mode: an answer must not sign for strangers."""
        if not judgement.secret or any(found.rule in _PROOFS for found in judgement.findings):
            return None
        for known in self._provable:
            seen = known.view(request, proved=True)
            if seen is not None:
                return known.answer(request, seen, judgement.secret)
        return None

    def _unsigned(self, known: Known, head: Head) -> bool:
        """Where a signature may be there, one that is there is judged as usual."""
        return known.settings.proof != "presented" or not any(name in head.named for name in self._headers)


def _opening_plan(plan: Plan, decrypt: Decrypt) -> Plan:
    counts = next((mode for rule, mode in plan.desk if rule.name is RuleName.SIGNATURE), Mode.REPORT)
    return plan._replace(desk=(*plan.desk, (decrypt, counts)))
