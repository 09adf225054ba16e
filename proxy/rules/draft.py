"""A request on its way to being signed: what stands where, and how something is put there."""

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import quote

import orjson

from proxy.errors import HookgateError
from proxy.messages import Field, Head, Request
from proxy.networks import UNIX
from proxy.policy.model import Route, TimestampRule
from proxy.policy.secrets import Secret
from proxy.policy.values import Selector, SelectorKind
from proxy.rules.keys import at, pointer, reader

Made = Mapping[Selector, bytes]
"""What a sender makes up for each request, by its place."""


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
        self.key: object = None
        """A private key, as ``privatekey`` reads it, for schemes whose policy holds the public one alone."""

    def request(self, extra: Sequence[Field] = ()) -> Request:
        """The request as the rules would see it."""
        return request_of(self.method, self.target, [*self.fields, *extra], self.body)

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
                self.fields.append((first_name(place.argument).encode(), value))
            case SelectorKind.BASIC:
                pair = value if place.argument == "credentials" else b"hookgate:" + value
                self.fields.append((b"Authorization", b"Basic " + base64.b64encode(pair)))
            case SelectorKind.QUERY:
                mark = b"&" if b"?" in self.target else b"?"
                self.target += mark + f"{quote(place.argument)}={quote(value)}".encode()
            case SelectorKind.FORM:
                self.body += (b"&" if self.body else b"") + f"{quote(place.argument)}={quote(value)}".encode()
            case SelectorKind.JSON:
                self.body = with_value(self.body, pointer(place.argument), value)
            case kind:
                raise HookgateError(f"a {kind.value}: cannot be written there")


def first_name(header: str) -> str:
    """The first of a header's names."""
    return header.partition("|")[0]


def stamp_of(rule: TimestampRule, at: float) -> bytes:
    """A moment (unix seconds) as the rule reads it."""
    if rule.unit == "rfc3339":
        text = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
        return text.replace("+00:00", "Z").encode()
    return b"%d" % (at * 1000 if rule.unit == "ms" else at)


def with_value(body: bytes, tokens: tuple[str, ...], value: bytes) -> bytes:
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


def request_of(method: str, target: bytes, fields: Sequence[Field], body: bytes) -> Request:
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
