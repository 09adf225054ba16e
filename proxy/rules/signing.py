"""Makes a request as a route's sender would: the other side of the signature rule, out of the same parts.

What is signed is read from the finished request by the very readers that judge it, so the two sides cannot differ.
SECURITY: what comes out is a credential; its ``repr`` and every message here show none of it.
"""

import re
import secrets as randomness
from collections.abc import Sequence
from math import inf
from typing import Final, NamedTuple

import orjson

from proxy.errors import HookgateError
from proxy.messages import Field
from proxy.policy.handshakes import Handshake
from proxy.policy.model import ContentRule, Route
from proxy.policy.secrets import Secret
from proxy.policy.signatures import Placed, TemplateSignature
from proxy.policy.values import Selector, SelectorKind
from proxy.rules.draft import Draft, Made, first_name, stamp_of
from proxy.rules.handshake_signing import is_signed, seal, shape
from proxy.rules.signers import sign

_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(rb"[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?")
"""What a field's value may be and still be the same at the other end (RFC 9110 section 5.5)."""


class Check(NamedTuple):
    """The check of the address that is wanted instead of an event, and the route's ``handshake.token`` (empty: none)."""

    settings: Handshake
    token: bytes

    def __repr__(self) -> str:
        return f"<check {self.settings.name}>"


class Genuine(NamedTuple):
    """A whole request that proves itself."""

    method: str
    target: bytes
    fields: tuple[Field, ...]
    body: bytes
    notes: tuple[str, ...]
    """What the maker could not do, for people."""

    def __repr__(self) -> str:
        return f"<genuine {self.method}>"

    def raw(self) -> bytes:
        """The bytes for the wire."""
        lines = [b"%b %b HTTP/1.1" % (self.method.encode(), self.target), *(b"%b: %b" % field for field in self.fields)]
        return b"\r\n".join([*lines, b"", b""]) + self.body


def genuine(
    route: Route,
    secrets: Sequence[Secret],
    body: bytes,
    *,
    host: bytes,
    at: float,
    given: Sequence[Field] = (),
    key: object = None,
    check: Check | None = None,
) -> Genuine:
    """A request for ``route`` with its current secret, sent at ``at`` (unix seconds). ``given`` fields win over made ones.

    Timestamps and ids are made where they stand in a header, the query or the signature's list. The body stays as it is, unless
    the credential itself stands there. ``key`` is a private key, as ``privatekey`` reads it, for schemes whose policy holds the
    public one alone. With ``check`` it is the sender's check of the address, signed where that signs it; its body is made here.

    Raises:
        HookgateError: no secret is active then, or what is signed lacks a part, or a value cannot stand in a header.
    """
    made = _made(route, at)
    names = {name.lower() for name, _ in given}
    own = {b"Host": host, **({} if check else _described(route.rules.content, body))}
    own |= {first_name(name).encode(): value for (kind, name), value in made.items() if kind is SelectorKind.HEADER}
    fields = [*((name, value) for name, value in own.items() if name.lower() not in names), *given]
    query = (route.public_url or "").partition("?")[2] if route.query == "pass" and check is None else ""
    target = route.path.encode() + (b"?" + query.encode() if query else b"")
    draft = Draft(route, "POST" if "POST" in route.methods else route.methods[0], target, fields, body, at)
    draft.key = key
    if check is not None:
        draft.method = check.settings.method
        shape(draft, check.settings, check.token, made)
        body = draft.body
        there = {name.lower() for name, _ in draft.fields}
        described = _described(route.rules.content, body) if body else {}
        draft.fields[1:1] = [one for one in described.items() if one[0].lower() not in there]
    for place, value in made.items():
        if place.kind is SelectorKind.QUERY and (check is None or check.settings.query is None):
            draft.put(place, value)
    _prove(draft, secrets, made, names, check)
    if draft.body or check is None or draft.method == "POST":
        draft.fields.insert(1, (b"Content-Length", b"%d" % len(draft.body)))
    for name, value in draft.fields:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise HookgateError(f"what should stand in the header {name.decode('ascii', 'replace')} cannot stand in one")
    notes = _notes(route, changed=draft.body != body)
    return Genuine(draft.method, draft.target, tuple(draft.fields), draft.body, tuple(notes))


def _prove(draft: Draft, secrets: Sequence[Secret], made: Made, names: set[bytes], check: Check | None) -> None:
    """Sign it, unless the credential is given, or the sender signs no such request."""
    signature = draft.route.rules.signature
    if signature is None or (isinstance(signature, Placed) and (signature.header or "").lower().encode() in names):
        return
    if check is not None and not is_signed(check.settings):
        if check.settings.opened:
            seal(draft, check.settings, current(secrets, draft.at))
        return
    draft.secret = current(secrets, draft.at)
    sign(draft, signature, made)


def current(secrets: Sequence[Secret], at: float) -> Secret:
    """The secret that stays valid the longest of those that are active; the last in the list among equals.

    Raises:
        HookgateError: none is active.
    """
    if not secrets:
        raise HookgateError("the route holds nothing of its own to sign for: give it a certificate or a key set (cert_pem, jwks)")
    active = [secret for secret in secrets if secret.active(at)]
    if not active:
        raise HookgateError("none of the route's secrets is active at that moment")
    return max(reversed(active), key=lambda secret: inf if secret.not_after is None else secret.not_after)


def _made(route: Route, at: float) -> Made:
    """What a sender makes up for each request, by the place where the rules look for it. The body is not ours to change."""
    rules = route.rules
    made: dict[Selector, bytes] = {}
    signature = rules.signature
    fresh = []
    if isinstance(signature, TemplateSignature):
        fresh = [Selector(SelectorKind.LIST, part.argument) for part in signature.template.parts if part.place == "list"]
        fresh += [signature.id] if signature.id else []
    if rules.replay is not None:
        fresh.append(rules.replay.key)
    for selector in fresh:
        if not isinstance(signature, Placed) or selector.argument.lower() != signature.stand.argument.lower():
            made.setdefault(_same(selector, made), randomness.token_hex(16).encode())
    if rules.timestamp is not None:
        stand = rules.timestamp.stand
        made[_same(stand, made)] = stamp_of(rules.timestamp, at)
    return made


def _same(selector: Selector, known: Made) -> Selector:
    """The selector as it is known already: a header may be written in two cases and is one all the same."""
    return next((one for one in known if one.kind == selector.kind and _lower(one) == _lower(selector)), selector)


def _lower(selector: Selector) -> str:
    return selector.argument.lower() if selector.kind is SelectorKind.HEADER else selector.argument


def _described(rule: ContentRule | None, body: bytes) -> dict[bytes, bytes]:
    """What is said of the body."""
    return {b"Content-Type": _content_type(rule, body), **_coding(rule)}


def _content_type(rule: ContentRule | None, body: bytes) -> bytes:
    if rule is not None and rule.types:
        return rule.types[0].encode()
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return b"application/octet-stream"
    return b"application/json"


def _coding(rule: ContentRule | None) -> dict[bytes, bytes]:
    if rule is None or not rule.encodings or "identity" in rule.encodings:
        return {}
    return {b"Content-Encoding": rule.encodings[0].encode()}


def _notes(route: Route, *, changed: bool) -> list[str]:
    rules = route.rules
    notes = ["the credential stands in the body, which was written anew for it"] if changed else []
    if rules.signature is None:
        notes.append(f"route {route.name} has no signature rule: this request proves nothing")
    if not changed and rules.timestamp is not None and rules.timestamp.stand.kind in {SelectorKind.JSON, SelectorKind.FORM}:
        notes.append(f"the timestamp stands in the body ({rules.timestamp.stand}), which was left as it is")
    if _coding(rules.content):
        notes.append("the route takes coded bodies alone: the body must be coded already, and was left as it is")
    return notes
