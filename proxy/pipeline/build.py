"""Policy + secrets + store → gates: the one table of rules, in running order."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from proxy.keyring.base import Keyring
from proxy.messages import Request
from proxy.pipeline.gate import Gate, Plan
from proxy.pipeline.handshakes import receiving
from proxy.pipeline.modes import Switch, milder, stance_of
from proxy.pipeline.schemes import body_rule, head_rule, read_of, timestamp_of
from proxy.policy.handshakes import token_owner
from proxy.policy.model import Policy, Route, SchemaRule
from proxy.policy.paths import networks_of
from proxy.policy.secrets import Secret
from proxy.policy.values import Selector, SelectorKind
from proxy.rules.base import BodyRule, HeadRule, Prepares
from proxy.rules.batch import Batch
from proxy.rules.content import Content
from proxy.rules.ip import Ip
from proxy.rules.keys import pointer, reader
from proxy.rules.rate import Rate, StoreRate
from proxy.rules.replay import Replay
from proxy.rules.schema import Schema, validator
from proxy.rules.sharing import Shared
from proxy.rules.size import DeclaredSize, Size
from proxy.rules.timestamp import Timestamp
from proxy.rules.transport import Transport
from proxy.store.base import SharedRates, Store
from proxy.verdict import Mode

_FORWARDING = frozenset({
    b"host", b"content-length", b"content-type", b"transfer-encoding", b"connection", b"forwarded", b"x-real-ip", b"x-request-id",
    b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port", b"authorization",
})  # fmt: skip

_WORD = re.compile(rb"[A-Za-z0-9_.:/-][A-Za-z0-9_.:/ -]*")


class Routes(NamedTuple):
    """Every gate by the exact bytes of its path."""

    gates: Mapping[bytes, Gate]
    managed: frozenset[bytes]
    """Header names that a rule or we rely on; their underscore twins are refused."""


def build(
    policy: Policy,
    secrets: Mapping[str, tuple[Secret, ...]],
    schemas: Mapping[str, Any],
    store: Store,
    switch: Switch,
    store_failed: Callable[[str], None],
    keyring: Keyring | None = None,
    rates: Shared | None = None,
) -> Routes:
    """Compile a sound policy to what the hot path runs. Without a keyring no key that stands elsewhere is ever at hand.

    ``rates`` are due times that several workers count together; a store that offers rates counts for all who share it.
    """
    together = store if isinstance(store, SharedRates) else None

    def rate(route: Route) -> Rate | None:
        settings = route.rules.rate
        if settings is None or together is None:
            return Rate(settings, rates, route.name) if settings is not None else None
        return StoreRate(settings, together, store_failed, rates, route.name)

    def replay(route: Route) -> Replay | None:
        settings = route.rules.replay
        if settings is None:
            return None
        otherwise = read_of(route.rules.signature, settings.otherwise) if settings.otherwise else None
        per = read_of(route.rules.signature, settings.per) if settings.per else None
        read = read_of(route.rules.signature, settings.key)
        many = settings.key.kind is SelectorKind.JSON and "*" in pointer(settings.key.argument)
        return (Batch if many else Replay)(settings, read, route.name, store, store_failed, otherwise=otherwise, per=per)

    gates = {}
    managed = set(_FORWARDING)
    for route in policy.routes:
        own = secrets.get(route.name, ())
        gate = _gate(policy, route, own, schemas, rate(route), replay(route), switch, keyring)
        gates[route.path.encode()] = known = receiving(gate, route, own, secrets.get(token_owner(route.name), ()))
        known.prepare = _prepare(gate)
        managed.update(_relied_on(route))
    return Routes(gates, frozenset(managed))


def _gate(
    policy: Policy,
    route: Route,
    secrets: tuple[Secret, ...],
    schemas: Mapping[str, Any],
    rate: Rate | None,
    replay: Replay | None,
    switch: Switch,
    keyring: Keyring | None,
) -> Gate:
    rules = route.rules
    door = _door(policy, route, secrets, rate)
    desk, shape = _desk(route, secrets, schemas, keyring)
    replay_mode = rules.replay.mode if rules.replay is not None else Mode.OFF
    size = rules.size
    limit = policy.limits.body_bytes

    def counts(rule: HeadRule | BodyRule, own: Mode, base: Mode) -> Mode:
        return Mode.ENFORCE if rule.name in route.pinned else milder(own, base)

    def plan(base: Mode) -> Plan:
        stops = size is not None and milder(size.mode, base) is Mode.ENFORCE
        return Plan(
            door=tuple((rule, mode) for rule, own in door if (mode := counts(rule, own, base)) is not Mode.OFF),
            desk=tuple((rule, mode) for rule, own in desk if (mode := counts(rule, own, base)) is not Mode.OFF),
            claim=milder(replay_mode, base),
            shape=tuple((rule, mode) for rule, own in shape if (mode := milder(own, base)) is not Mode.OFF),
            body_limit=min(size.max, limit) if stops and size else limit,
            oversize=Size(size).fail if stops and size else None,
            demands_proof=rules.signature is not None and milder(rules.signature.mode, base) is Mode.ENFORCE,
        )

    listed = route.senders
    runs = rules.signature is not None and rules.signature.mode is not Mode.OFF
    return Gate(
        route.name,
        {mode: plan(mode) for mode in Mode},
        stance=stance_of(switch.of(route.name), route.mode, policy.mode),
        replay=replay,
        proved=runs,
        optional=runs and rules.signature is not None and rules.signature.when_missing == "pass",
        methods=frozenset(route.methods),
        query=route.query == "pass",
        senders=lambda head: head.client in listed,
        event=_event(route.event),
        pinned=frozenset(route.pinned),
    )


def _prepare(gate: Gate) -> Callable[[Request], Awaitable[None] | None] | None:
    return next((rule.prepare for rule, _ in gate.plans[Mode.ENFORCE].desk if isinstance(rule, Prepares)), None)


def _door(policy: Policy, route: Route, secrets: tuple[Secret, ...], rate: Rate | None) -> list[tuple[HeadRule, Mode]]:
    """Before the body is read, cheapest and least telling first; the declared size before the secret, as the surface says."""
    rules = route.rules
    table: list[tuple[HeadRule, Mode]] = []
    if rules.transport is not None:
        pins = policy.listen.tls.client_pins if policy.listen.tls else ()
        table.append((Transport(rules.transport, pins), rules.transport.mode))
    if rules.ip is not None:
        table.append((Ip(rules.ip, networks_of(rules.ip.allow), networks_of(rules.ip.deny)), rules.ip.mode))
    if rules.rate is not None and rate is not None:
        table.append((rate, rules.rate.mode))
    if rules.size is not None:
        table.append((DeclaredSize(rules.size), rules.size.mode))
    token = head_rule(rules.signature, secrets)
    if rules.signature is not None and token is not None:
        table.append((token, rules.signature.mode))
    return table


def _desk(
    route: Route, secrets: tuple[Secret, ...], schemas: Mapping[str, Any], keyring: Keyring | None
) -> tuple[list[tuple[BodyRule, Mode]], list[tuple[BodyRule, Mode]]]:
    """With the body: cheap facts, then the signature, so that nobody parses unsigned JSON; the shape comes after the claim."""
    rules = route.rules
    desk: list[tuple[BodyRule, Mode]] = []
    if rules.size is not None:
        desk.append((Size(rules.size), rules.size.mode))
    if rules.content is not None:
        desk.append((Content(rules.content), rules.content.mode))
    proof = body_rule(route, rules.signature, secrets, keyring) if rules.signature is not None else None
    if rules.signature is not None and proof is not None:
        desk.append((proof, rules.signature.mode))
    if rules.timestamp is not None:
        desk.append((Timestamp(rules.timestamp, timestamp_of(route)), rules.timestamp.mode))
    shape: list[tuple[BodyRule, Mode]] = []
    if rules.json_schema is not None:
        shape.append((_schema(route, rules.json_schema, schemas), rules.json_schema.mode))
    return desk, shape


def _schema(route: Route, settings: SchemaRule, schemas: Mapping[str, Any]) -> Schema:
    whole = validator(schemas[settings.file]) if settings.file else None
    by = read_of(route.rules.signature, settings.by) if settings.by else None
    return Schema(settings, whole, by, {value.encode(): validator(schemas[file]) for value, file in settings.files.items()})


def _relied_on(route: Route) -> set[bytes]:
    rules = route.rules
    names = set(rules.signature.header_names()) if rules.signature is not None else set()
    if rules.timestamp is not None and rules.timestamp.header:
        names.add(rules.timestamp.header.lower())
    selectors = [rules.timestamp and rules.timestamp.source]
    if rules.replay is not None:
        selectors += [rules.replay.key, rules.replay.otherwise, rules.replay.per]
    names.update(one.argument for one in selectors if one and one.kind is SelectorKind.HEADER)
    return {name.lower().encode() for several in names for name in several.split("|")}


def _event(written: tuple[str, ...]) -> Callable[[Request], str]:
    """The update's type for the log: from the first place that has one, else the first known key of the document."""
    if not written:
        return lambda request: ""
    places = tuple(reader(Selector.parse(name)) for name in written if ":" in name)
    known = {name: _word(name.encode()) for name in written if ":" not in name}

    def of(request: Request) -> str:
        for read in places:
            value = read(request)
            if value:
                return _word(value)
        if not known:
            return "other"
        document = request.document()
        if isinstance(document, dict):
            for key in document:
                if key in known:
                    return known[key]
        return "other"

    return of


def _word(value: bytes) -> str:
    """SECURITY: a text gets into the log only as a short plain word; log lines are put together without escaping."""
    return value[:40].decode() if _WORD.fullmatch(value, 0, 40) else "other"
