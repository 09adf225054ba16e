"""What must hold between the rules of one route; each check yields its complaints in the words of an operator.

Some checks ask whether a part is absent; they are left out where a part was dropped because it was wrong by itself.
"""

import re
from collections.abc import Iterator

from proxy.networks import parse_network
from proxy.policy.document import Path
from proxy.policy.faults import Complaint, nearest
from proxy.policy.model import Policy, Route, TimestampRule
from proxy.policy.presets import PROVIDERS, preset
from proxy.policy.settings import RuleSettings
from proxy.policy.signature_checks import signature_complaints, ways_of
from proxy.policy.signatures import TemplateSignature, TokenSignature
from proxy.policy.values import SelectorKind
from proxy.verdict import Mode

_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+")
_CODING = re.compile(r"[a-z0-9-]+")
_STATUS = re.compile(r"[1-5]([0-9]{2}|xx)")

Complaints = Iterator[Complaint]


def route_complaints(route: Route, at: Path, policy: Policy, *, whole: bool) -> Complaints:
    """Everything that is wrong with a route, its secrets aside. ``whole``: no part of it was dropped."""
    rules = (*at, "rules")
    if whole:
        yield from _authenticity(route, at)
        yield from signature_complaints(route, rules)
        yield from _timestamp_signed(route, rules)
        yield from _replay(route, rules)
        yield from _second_try(route, at, policy)
        yield from _transport(route, rules, policy)
        yield from _client_unknown(route, rules, policy)
        if route.upstream is None and policy.upstream is None:
            yield Complaint(at, "has no upstream, and the policy gives none for all routes")
    yield from _ip(route, rules)
    yield from _rate(route, rules)
    yield from _size_and_content(route, rules, policy)
    yield from _timestamp(route.rules.timestamp, rules)
    yield from _schema(route, rules)
    yield from _answers(route, at)
    yield from _events(route, at)


def signature_runs(route: Route) -> bool:
    """Whether the route has a signature rule that is not off."""
    return route.rules.signature is not None and route.rules.signature.mode is not Mode.OFF


def _authenticity(route: Route, at: Path) -> Complaints:
    """An address proves nothing: it is shared, borrowed and, behind a proxy, written by others."""
    transport, signature = route.rules.transport, route.rules.signature
    by_certificate = transport is not None and transport.client_certificate is not None and transport.mode is not Mode.OFF
    authentic = signature_runs(route) or by_certificate
    if not authentic and not route.insecure:
        off = "; mode: off takes it away" if signature is not None else ""
        yield Complaint(
            at,
            f"nothing proves who sends{off}: give a signature (or a provider), or transport.client_certificate: required, "
            "or say insecure: true",
        )
    if route.insecure:
        message = "insecure: true is not needed: a rule proves the sender" if authentic else "anyone may send: insecure: true"
        yield Complaint((*at, "insecure"), message, grave=False)
    if signature is not None and signature.when_missing == "pass" and not by_certificate:
        path = (*at, "rules", "signature", "when_missing")
        yield Complaint(path, "requests without the header pass unproven; for a roll-back only", grave=False)


def _timestamp(rule: TimestampRule | None, rules: Path) -> Complaints:
    if rule is None:
        return
    at = (*rules, "timestamp")
    if (rule.header is None) == (rule.source is None):
        yield Complaint(at, "needs exactly one of header and source")
    if rule.source is not None and rule.source.kind is SelectorKind.BODY:
        yield Complaint((*at, "source"), "the body's digest is no time")


def _timestamp_signed(route: Route, rules: Path) -> Complaints:
    rule, signature = route.rules.timestamp, route.rules.signature
    if rule is None or (rule.header is None) == (rule.source is None):
        return
    ways = [way for _, way in ways_of(signature, rules)] if signature is not None else []
    stamped = any(isinstance(way, TemplateSignature) and "timestamp" in way.places for way in ways)
    if not stamped and (signature is None or not signature.covers(rule.stand)):
        yield Complaint((*rules, "timestamp"), "the timestamp is not signed: who repeats a request can renew it", grave=False)


def _replay(route: Route, rules: Path) -> Complaints:
    replay, stamp = route.rules.replay, route.rules.timestamp
    if replay is None:
        return
    at = (*rules, "replay")
    signature = route.rules.signature
    for name, key in (("key", replay.key), ("otherwise", replay.otherwise), ("per", replay.per)):
        if key and signature is not None and not isinstance(signature, TokenSignature) and not signature.covers(key):
            what = "the key" if name != "per" else "what keeps equal keys apart"
            yield Complaint((*at, name), f"{what} is not signed: who repeats a request can give it a new one", grave=False)
    for name, second in (("otherwise", replay.otherwise), ("per", replay.per)):
        if second and second.kind is SelectorKind.JSON:
            yield Complaint((*at, name), "must not be in the JSON: only key is told apart from a doubled one there")
    if stamp is not None and replay.window < stamp.tolerance + stamp.future:
        seconds = f"{stamp.tolerance + stamp.future:g}s"
        yield Complaint((*at, "window"), f"is shorter than the {seconds} for which a timestamp holds", grave=False)
    if replay.window <= 0:
        yield Complaint((*at, "window"), "must be above zero")


def _second_try(route: Route, at: Path, policy: Policy) -> Complaints:
    """What may be sent twice must be known as one, and a policy that drops what is in doubt cannot send it again."""
    upstream, replay = route.upstream or policy.upstream, route.rules.replay
    if upstream is None or upstream.retry == "never":
        return
    where = (*at, "upstream", "retry") if route.upstream is not None else at
    if replay is None or replay.mode is Mode.OFF:
        yield Complaint(where, "retry: stale-connection needs a replay rule: give one, or an upstream with retry: never")
    elif replay.in_doubt == "drop":
        yield Complaint(where, "retry: stale-connection sends what the bot may have seen, and in_doubt: drop forbids that")


def _transport(route: Route, rules: Path, policy: Policy) -> Complaints:
    rule, tls = route.rules.transport, policy.listen.tls
    at = (*rules, "transport")
    if rule is None or rule.mode is Mode.OFF:
        return
    if rule.tls and tls is None and not policy.trusted_proxies:
        yield Complaint((*at, "tls"), "nothing could pass: there is neither listen.tls nor a proxy in trusted_proxies")
    if rule.client_certificate and (tls is None or tls.client_ca is None):
        yield Complaint((*at, "client_certificate"), "nothing could pass: listen.tls.client_ca is not given")


def _ip(route: Route, rules: Path) -> Complaints:
    rule = route.rules.ip
    if rule is None:
        return
    if not rule.allow and not rule.deny:
        yield Complaint((*rules, "ip"), "needs allow or deny")
    for name, entries in (("allow", rule.allow), ("deny", rule.deny)):
        for index, entry in enumerate(entries):
            message = _no_network(entry)
            if message:
                yield Complaint((*rules, "ip", name, index), message)


def _no_network(entry: str) -> str | None:
    if entry == "unix":
        return None
    if entry in PROVIDERS:
        return None if preset(entry).networks else f"preset {entry} has no published networks"
    try:
        parse_network(entry)
    except ValueError as error:
        with_networks = [name for name in PROVIDERS if preset(name).networks]
        if re.fullmatch(r"[a-zA-Z][a-zA-Z-]*", entry):
            return f"{entry!r} is no preset with published networks{nearest(entry, with_networks)}"
        return str(error)
    return None


def _client_unknown(route: Route, rules: Path, policy: Policy) -> Complaints:
    """Behind a terminator that is not trusted, all requests come from one address."""
    if policy.listen.tls is not None or policy.trusted_proxies:
        return
    advice = "behind a TLS terminator every request has its address: name it in trusted_proxies"
    if route.rules.ip is not None and route.rules.ip.allow:
        yield Complaint((*rules, "ip"), advice, grave=False)
    if route.rules.rate is not None and route.rules.rate.per == "client":
        yield Complaint((*rules, "rate"), advice, grave=False)


def _rate(route: Route, rules: Path) -> Complaints:
    rule = route.rules.rate
    if rule is not None and rule.burst == 1 and rule.limit.requests > rule.limit.seconds:
        yield Complaint((*rules, "rate"), "burst 1 refuses the second of two simultaneous requests", grave=False)


def _size_and_content(route: Route, rules: Path, policy: Policy) -> Complaints:
    size, content = route.rules.size, route.rules.content
    if size is not None and size.max > policy.limits.body_bytes:
        yield Complaint((*rules, "size", "max"), f"is above limits.body_bytes ({policy.limits.body_bytes}), which holds anyway")
    if content is None:
        return
    for name, entries, form, example in (
        ("types", content.types, _TYPE, "application/json"),
        ("encodings", content.encodings, _CODING, "identity"),
    ):
        for index, entry in enumerate(entries):
            if not form.fullmatch(entry):
                yield Complaint((*rules, "content", name, index), f"must be written like {example}, in small letters")


def _schema(route: Route, rules: Path) -> Complaints:
    rule = route.rules.json_schema
    if rule is None:
        return
    if (rule.file is None) == (not rule.files):
        yield Complaint((*rules, "schema"), "needs exactly one of file, and by with files")
    elif (rule.by is None) != (not rule.files):
        yield Complaint((*rules, "schema"), "by and files belong together: by names the value, files has a schema for each")


def _answers(route: Route, at: Path) -> Complaints:
    for name, rule in route.rules:
        if isinstance(rule, RuleSettings):
            path = (*at, "rules", "schema" if name == "json_schema" else name, "answer")
            if rule.answer.status == 410:
                yield Complaint((*path, "status"), "410 makes senders delete the webhook for good; choose another")
            if rule.answer.acknowledge and rule.answer.status is not None:
                yield Complaint(path, "acknowledge answers 200; a status beside it cannot be")
    for status, instead in route.answers.items():
        path = (*at, "answers", status)
        if not _STATUS.fullmatch(status):
            yield Complaint(path, "must be a status or a class of them, such as 410 or 3xx", at_key=True)
        if not 400 <= instead <= 599 or instead == 410:
            yield Complaint(path, "must become a status from 400 to 599, and not 410")


def _events(route: Route, at: Path) -> Complaints:
    for index, name in enumerate(route.event):
        if ":" in name and not re.fullmatch(r"header:[A-Za-z0-9-]+|json:/.+|(form|query):.+", name):
            yield Complaint((*at, "event", index), "must be header:NAME, json:/POINTER, form:NAME, query:NAME, or a JSON key")
