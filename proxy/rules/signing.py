"""Makes a request as a route's sender would: the other side of the signature rule, out of the same parts.

What is signed is read from the finished request by the very readers that judge it, so the two sides cannot differ.
SECURITY: what comes out is a credential; its ``repr`` and every message here show none of it.
"""

import base64
import re
import secrets as randomness
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import inf
from typing import Final, NamedTuple
from urllib.parse import quote

import orjson

from proxy.errors import HookgateError
from proxy.messages import Field, Head, Request
from proxy.networks import UNIX
from proxy.policy.callbacks import CallbackSignature, EnvelopeSignature, LarkEnvelope
from proxy.policy.foreign_signatures import JwtSignature, PaypalSignature
from proxy.policy.keys import decode_key
from proxy.policy.message_signatures import MessageSignature
from proxy.policy.model import ContentRule, Route, TimestampRule
from proxy.policy.particular import AdyenPaymentsSignature, TwilioSignature
from proxy.policy.schemes import AnySignature, Signature
from proxy.policy.secrets import Secret
from proxy.policy.signatures import (
    EcdsaSignature,
    Ed25519Signature,
    HashSignature,
    HmacSignature,
    ListSyntax,
    Placed,
    RsaSignature,
    TemplateSignature,
    TokenSignature,
)
from proxy.policy.values import Part, Selector, SelectorKind
from proxy.rules import sealing
from proxy.rules.adyen import ITEMS, SIGNATURE, signature_of
from proxy.rules.decrypt import hmac_of, hmac_secrets
from proxy.rules.keys import Read, at, every, pointer, reader
from proxy.rules.schemes import encoded, hmac_digest, plain_digest, signed_bytes, signed_url
from proxy.rules.twilio import is_form, signed_request, with_body_hash

_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(rb"[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?")
"""What a field's value may be and still be the same at the other end (RFC 9110 section 5.5)."""


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


class Draft:
    """A request on its way to being signed: each part may still change."""

    __slots__ = ("at", "body", "fields", "key", "method", "route", "secret", "target")

    def __init__(self, route: Route, method: str, target: bytes, fields: list[Field], body: bytes, at: float) -> None:
        self.route = route
        self.method = method
        self.target = target
        self.fields = fields
        self.body = body
        self.at = at
        """When it is sent, in unix seconds."""
        self.secret: Secret
        self.key: bytes | None = None
        """A private key for schemes whose policy holds the public one alone."""

    def request(self, extra: Sequence[Field] = ()) -> Request:
        """The request as the rules would see it."""
        return _request(self.method, self.target, [*self.fields, *extra], self.body)

    def has(self, place: Selector) -> bool:
        """Whether something stands there already."""
        return bool(reader(place)(self.request()))

    def put(self, place: Selector, value: bytes) -> None:
        """Let the value stand at that place.

        Raises:
            HookgateError: the body is not such that it could.
        """
        match place.kind:
            case SelectorKind.HEADER:
                self.fields.append((_first(place.argument).encode(), value))
            case SelectorKind.BASIC:
                pair = value if place.argument == "credentials" else b"hookgate:" + value
                self.fields.append((b"Authorization", b"Basic " + base64.b64encode(pair)))
            case SelectorKind.QUERY:
                mark = b"&" if b"?" in self.target else b"?"
                self.target += mark + f"{quote(place.argument)}={quote(value)}".encode()
            case SelectorKind.FORM:
                self.body += (b"&" if self.body else b"") + f"{quote(place.argument)}={quote(value)}".encode()
            case SelectorKind.JSON:
                self.body = _with(self.body, pointer(place.argument), value)
            case kind:
                raise HookgateError(f"a {kind.value}: cannot be written there")


def genuine(
    route: Route,
    secrets: Sequence[Secret],
    body: bytes,
    *,
    host: bytes,
    at: float,
    given: Sequence[Field] = (),
    key: bytes | None = None,
) -> Genuine:
    """A request for ``route`` with its current secret, sent at ``at`` (unix seconds). ``given`` fields win over made ones.

    Timestamps and ids are made where they stand in a header, the query or the signature's list. The body stays as it is, unless
    the credential itself stands there. ``key`` is a private key (PEM), for schemes whose policy holds the public one alone.

    Raises:
        HookgateError: no secret is active then, or what is signed lacks a part, or a value cannot stand in a header.
    """
    made = _made(route, at)
    names = {name.lower() for name, _ in given}
    own = {b"Host": host, b"Content-Type": _content_type(route.rules.content, body), **_coding(route.rules.content)}
    own |= {_first(name).encode(): value for (kind, name), value in made.items() if kind is SelectorKind.HEADER}
    fields = [*((name, value) for name, value in own.items() if name.lower() not in names), *given]
    query = (route.public_url or "").partition("?")[2] if route.query == "pass" else ""
    target = route.path.encode() + (b"?" + query.encode() if query else b"")
    draft = Draft(route, "POST" if "POST" in route.methods else route.methods[0], target, fields, body, at)
    draft.key = key
    for place, value in made.items():
        if place.kind is SelectorKind.QUERY:
            draft.put(place, value)
    signature = route.rules.signature
    if signature is not None and not (isinstance(signature, Placed) and (signature.header or "").lower().encode() in names):
        draft.secret = current(secrets, at)
        _sign(draft, signature, made)
    draft.fields.insert(1, (b"Content-Length", b"%d" % len(draft.body)))
    for name, value in draft.fields:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise HookgateError(f"what should stand in the header {name.decode('ascii', 'replace')} cannot stand in one")
    notes = _notes(route, changed=draft.body != body)
    return Genuine(draft.method, draft.target, tuple(draft.fields), draft.body, tuple(notes))


def current(secrets: Sequence[Secret], at: float) -> Secret:
    """The secret that stays valid the longest of those that are active; the last in the list among equals.

    Raises:
        HookgateError: none is active.
    """
    active = [secret for secret in secrets if secret.active(at)]
    if not active:
        raise HookgateError("none of the route's secrets is active at that moment")
    return max(reversed(active), key=lambda secret: inf if secret.not_after is None else secret.not_after)


Made = Mapping[Selector, bytes]


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
        stand = _stand(rules.timestamp)
        made[_same(stand, made)] = _stamp(rules.timestamp, at)
    return made


def _same(selector: Selector, known: Made) -> Selector:
    """The selector as it is known already: a header may be written in two cases and is one all the same."""
    return next((one for one in known if one.kind == selector.kind and _lower(one) == _lower(selector)), selector)


def _lower(selector: Selector) -> str:
    return selector.argument.lower() if selector.kind is SelectorKind.HEADER else selector.argument


def _first(header: str) -> str:
    """The first of a header's names."""
    return header.partition("|")[0]


def _stand(rule: TimestampRule) -> Selector:
    return rule.source or Selector(SelectorKind.HEADER, rule.header or "")


def _stamp(rule: TimestampRule, at: float) -> bytes:
    if rule.unit == "rfc3339":
        text = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
        return text.replace("+00:00", "Z").encode()
    return b"%d" % (at * 1000 if rule.unit == "ms" else at)


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


def _items(syntax: ListSyntax | None, made: Made) -> bytes:
    """The items of the signature's list that are no signatures."""
    if syntax is None:
        return b""
    items = (f"{name}{syntax.pair}".encode() + value for (kind, name), value in made.items() if kind is SelectorKind.LIST)
    return syntax.separator.encode().join(items)


def _sign(draft: Draft, signature: Signature, made: Made) -> None:
    """Put the credential where its scheme wants it."""
    match signature:
        case TokenSignature():
            draft.put(_concrete(draft, signature.stand), signature.prefix.encode() + draft.secret.reveal())
        case CallbackSignature() | LarkEnvelope() | EnvelopeSignature():
            _seal(draft, signature, made)
        case TemplateSignature():
            _sign_template(draft, signature, made)
        case TwilioSignature():
            if draft.body and not is_form(draft.request()):
                path, _, query = draft.target.partition(b"?")
                draft.target = path + b"?" + with_body_hash(query, draft.body)
            made_of = signed_request(draft.secret.reveal(), draft.route.public_url or "", draft.request(), signature.algorithm)
            draft.put(signature.stand, made_of)
        case AdyenPaymentsSignature():
            draft.body = _with_items_signed(draft)
        case AnySignature():
            _sign_first(draft, signature, made)
        case JwtSignature() | MessageSignature() | PaypalSignature():
            draft.fields += _foreign_fields(draft, signature)
        case other:
            raise HookgateError(f"requests of the scheme {other.scheme} cannot be made here: only their sender can")


def _foreign_fields(draft: Draft, signature: JwtSignature | MessageSignature | PaypalSignature) -> list[Field]:
    from proxy.rules.foreign_signing import message_fields, paypal_fields, token_fields

    request = draft.request()
    match signature:
        case JwtSignature():
            return token_fields(signature, draft.secret, draft.key, request, draft.at)
        case MessageSignature():
            return message_fields(signature, draft.secret, draft.key, request, draft.route.public_url, draft.at)
        case PaypalSignature():
            return paypal_fields(draft.secret, draft.key, request)


def _sign_first(draft: Draft, signature: AnySignature, made: Made) -> None:
    """In the first of several ways."""
    way = signature.of[0]
    for condition in way.when:
        if not draft.has(condition.selector):
            draft.put(condition.selector, condition.value.encode())
    _sign(draft, way.signature, made)


def _seal(draft: Draft, signature: CallbackSignature | LarkEnvelope | EnvelopeSignature, made: Made) -> None:
    """The body becomes what its sender encrypts of it."""
    match signature:
        case CallbackSignature():
            query, draft.body = sealing.callback(signature, draft.secret, draft.body, draft.at)
            draft.target = draft.target.partition(b"?")[0] + b"?" + query
        case LarkEnvelope():
            draft.body = sealing.bare_envelope(draft.secret, draft.body)
        case EnvelopeSignature():
            draft.body, nonce = sealing.gcm_envelope(signature, draft.secret, draft.body)
            draft.put(signature.nonce, nonce)
            (draft.secret,) = hmac_secrets((draft.secret,))
            _sign_template(draft, hmac_of(signature), made)


def _sign_template(draft: Draft, settings: TemplateSignature, made: Made) -> None:
    if not settings.covers_body:
        for place, value in _lacking(draft, settings, made):
            draft.put(place, value)
    items = _items(settings.items, made)
    listed = [(_first(settings.stand.argument).encode(), items)] if items else []
    message = _message(draft, settings, draft.request(listed))
    value = settings.prefix.encode() + encoded(_signature(draft, settings, message), settings.encoding)
    syntax = settings.items
    if syntax is not None:
        value = (items + syntax.separator.encode() if items else b"") + f"{syntax.key}{syntax.pair}".encode() + value
    draft.put(settings.stand, value)


def _lacking(draft: Draft, settings: TemplateSignature, made: Made) -> list[tuple[Selector, bytes]]:
    """What stands in the body beside the signature and is signed, where the body has none of it."""
    rule = draft.route.rules.timestamp
    stamped = {_stand(rule): _stamp(rule, draft.at)} if rule is not None else {}
    places = [Selector(SelectorKind.JSON, part.argument) for part in settings.template.parts if part.place == "json"]
    places += [place for place in stamped if place.kind is SelectorKind.JSON and "timestamp" in settings.places]
    values = {**made, **stamped}
    return [(one, values.get(one) or randomness.token_hex(16).encode()) for one in places if not draft.has(one)]


def _message(draft: Draft, settings: TemplateSignature, request: Request) -> bytes:
    values = _values(draft.route, settings)
    parts = settings.template.parts
    message = signed_bytes(parts, values, settings, draft.secret)(request)
    if message is None:
        lacking = [one for one in parts if signed_bytes((one,), values, settings, draft.secret)(request) is None]
        raise HookgateError(f"what is signed lacks {', '.join(map(_written, lacking))}: only a header can be given")
    return message


def _signature(draft: Draft, settings: TemplateSignature, message: bytes) -> bytes:
    match settings:
        case HmacSignature():
            return hmac_digest(settings.decoded_key(draft.secret.reveal()), message, settings.algorithm)
        case HashSignature():
            return plain_digest(b"", message, settings.algorithm)
        case Ed25519Signature() | RsaSignature() | EcdsaSignature():
            from proxy.rules.privatekey import signed

            if draft.key is None:
                raise HookgateError("the policy holds the public key alone: give its private key with --key FILE")
            return signed(settings, draft.key, message)
        case _:
            raise HookgateError("requests of this scheme cannot be made here")


def _concrete(draft: Draft, stand: Selector) -> Selector:
    """The place without ``*``: the first element of each list."""
    if stand.kind is not SelectorKind.JSON or "*" not in stand.argument:
        return stand
    return Selector(stand.kind, stand.argument.replace("/*", "/0"))


def _with(body: bytes, tokens: tuple[str, ...], value: bytes) -> bytes:
    """The JSON with the value at the pointer; objects on the way are made."""
    try:
        document = orjson.loads(body) if body.strip() else {}
    except orjson.JSONDecodeError:
        document = None
    inner: object = document
    for token in tokens[:-1]:
        inner = inner.setdefault(token, {}) if isinstance(inner, dict) else at(inner, (token,))
    if not isinstance(inner, dict):
        raise HookgateError(f"the body must be JSON in which /{'/'.join(tokens)} can stand: the credential belongs there")
    inner[tokens[-1]] = value.decode()
    return orjson.dumps(document)


def _with_items_signed(draft: Draft) -> bytes:
    try:
        document = orjson.loads(draft.body)
    except orjson.JSONDecodeError:
        document = None
    items = [item for item in every(document, ITEMS) if isinstance(item, dict)]
    if not items:
        raise HookgateError("the body must be JSON with notificationItems: each of them is signed by itself")
    for item in items:
        item.setdefault(SIGNATURE[0], {})[SIGNATURE[1]] = signature_of(decode_key("hex", draft.secret.reveal()), item)
    return orjson.dumps(document)


def _values(route: Route, settings: TemplateSignature) -> dict[str, Read]:
    header = settings.stand.argument.lower().encode()
    values: dict[str, Read] = {"url": signed_url(route.public_url or "")}
    if route.rules.timestamp is not None:
        values["timestamp"] = reader(_stand(route.rules.timestamp), settings.items, header)
    if settings.id is not None:
        values["id"] = reader(settings.id, settings.items, header)
    return values


def _written(part: Part) -> str:
    return "{" + (f"{part.place}:{part.argument}" if part.argument else part.place) + "}"


def _request(method: str, target: bytes, fields: Sequence[Field], body: bytes) -> Request:
    """The request as the rules would see it, its signature aside."""
    names = [name.lower() for name, _ in fields]
    path, mark, query = target.partition(b"?")
    head = Head(
        method=method,
        target=target,
        path=path,
        query=query if mark else None,
        fields=tuple(fields),
        names=names,
        named={name.lower(): value for name, value in reversed(fields)},
        repeated=frozenset(name for name in names if names.count(name) > 1),
        peer=UNIX,
        client=UNIX,
        trusted=False,
        https=False,
        certificate=None,
        length=len(body),
        chunked=False,
        arrived=0.0,
        started=0.0,
        request_id=b"",
    )
    return Request(head, body)


def _notes(route: Route, *, changed: bool) -> list[str]:
    rules = route.rules
    notes = ["the credential stands in the body, which was written anew for it"] if changed else []
    if rules.signature is None:
        notes.append(f"route {route.name} has no signature rule: this request proves nothing")
    if not changed and rules.timestamp is not None and _stand(rules.timestamp).kind in {SelectorKind.JSON, SelectorKind.FORM}:
        notes.append(f"the timestamp stands in the body ({_stand(rules.timestamp)}), which was left as it is")
    if _coding(rules.content):
        notes.append("the route takes coded bodies alone: the body must be coded already, and was left as it is")
    return notes
