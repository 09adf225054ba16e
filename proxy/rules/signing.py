"""Makes a request as a route's sender would: the other side of the signature rule, out of the same parts.

What is signed is read from the finished request by the very readers that judge it, so the two sides cannot differ.
SECURITY: what comes out is a credential; its ``repr`` and every message here show none of it.
"""

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
from proxy.policy.keys import decode_key
from proxy.policy.model import ContentRule, HmacSignature, ListSyntax, Route, TimestampRule, TokenSignature
from proxy.policy.secrets import Secret
from proxy.policy.values import Part, Selector, SelectorKind
from proxy.rules.keys import Read, reader
from proxy.rules.schemes import Written, hmac_digest, signed_bytes

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


def genuine(
    route: Route, secrets: Sequence[Secret], body: bytes, *, host: bytes, at: float, given: Sequence[Field] = ()
) -> Genuine:
    """A request for ``route`` with its current secret, sent at ``at`` (unix seconds). ``given`` fields win over made ones.

    Timestamps and ids are made where they stand in a header, the query or the signature's list; the body stays as it is.

    Raises:
        HookgateError: no secret is active then, or what is signed lacks a part, or a value cannot stand in a header.
    """
    made = _made(route, at)
    content = route.rules.content
    own = {
        b"Host": host,
        b"Content-Type": _content_type(content, body),
        b"Content-Length": b"%d" % len(body),
        **_coding(content),
        **{name.encode(): value for (kind, name), value in made.items() if kind is SelectorKind.HEADER},
    }
    names = {name.lower() for name, _ in given}
    fields = [*((name, value) for name, value in own.items() if name.lower() not in names), *given]
    query = "&".join(f"{quote(name)}={value.decode()}" for (kind, name), value in made.items() if kind is SelectorKind.QUERY)
    target = route.path.encode() + (b"?" + query.encode() if query else b"")
    method = "POST" if "POST" in route.methods else route.methods[0]
    signature = route.rules.signature
    if signature is not None and signature.header.lower().encode() not in names:
        secret = current(secrets, at)
        header = signature.header.encode()
        if isinstance(signature, TokenSignature):
            value = signature.prefix.encode() + secret.reveal()
        else:
            items = _items(signature.items, made)
            listed = [*fields, (header, items)] if items else fields
            value = _signed(route, signature, secret, _request(method, target, listed, body), items)
        fields.append((header, value))
    for name, value in fields:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise HookgateError(f"what should stand in the header {name.decode('ascii', 'replace')} cannot stand in one")
    return Genuine(method, target, tuple(fields), body, tuple(_notes(route)))


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
    if isinstance(signature, HmacSignature):
        fresh = [Selector(SelectorKind.LIST, part.argument) for part in signature.template.parts if part.place == "list"]
        fresh += [signature.id] if signature.id else []
    if rules.replay is not None:
        fresh.append(rules.replay.key)
    for selector in fresh:
        if signature is None or selector.argument.lower() != signature.header.lower():
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


def _signed(route: Route, settings: HmacSignature, secret: Secret, request: Request, items: bytes) -> bytes:
    values = _values(route, settings)
    parts = settings.template.parts
    message = signed_bytes(parts, values, settings, secret.reveal())(request)
    if message is None:
        lacking = [one for one in parts if signed_bytes((one,), values, settings, secret.reveal())(request) is None]
        raise HookgateError(f"what is signed lacks {', '.join(map(_written, lacking))}: only a header can be given")
    key = decode_key(settings.key, secret.reveal())
    digest = hmac_digest(key, message, settings.algorithm)
    value = settings.prefix.encode() + Written(settings.algorithm, settings.encoding).write(digest)
    syntax = settings.items
    if syntax is None:
        return value
    return (items + syntax.separator.encode() if items else b"") + f"{syntax.key}{syntax.pair}".encode() + value


def _values(route: Route, settings: HmacSignature) -> dict[str, Read]:
    header = settings.header.lower().encode()
    values: dict[str, Read] = {"url": lambda request: (route.public_url or "").encode()}
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


def _notes(route: Route) -> list[str]:
    rules = route.rules
    notes = []
    if rules.signature is None:
        notes.append(f"route {route.name} has no signature rule: this request proves nothing")
    if rules.timestamp is not None and _stand(rules.timestamp).kind in {SelectorKind.JSON, SelectorKind.FORM}:
        notes.append(f"the timestamp stands in the body ({_stand(rules.timestamp)}), which was left as it is")
    if _coding(rules.content):
        notes.append("the route takes coded bodies alone: the body must be coded already, and was left as it is")
    return notes
