"""The signature base (RFC 9421 section 2.5): every covered part of a request on a line of its own, as bytes.

The address is the route's public one where the policy gives it, since behind a proxy nobody else knows what was signed.
"""

import base64
import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple
from urllib.parse import quote

from proxy.messages import Head, Request
from proxy.rules.escapes import unescaped
from proxy.rules.structured_fields import Item, Token, dictionary, write

_FIELD: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_DEFAULT_PORTS: Final = {b"https": b":443", b"http": b":80"}
_MOST_COMPONENTS: Final = 64
_MOST_FIELDS: Final = 1000


class Uncovered(Exception):
    """A covered part is not there, or is of a kind that requests do not have."""


class _Address(NamedTuple):
    """Where a request was sent, its query aside."""

    scheme: bytes
    authority: bytes
    path: bytes


Value = Callable[[Request], bytes]
"""The value of a part. Raises ``Uncovered``."""


class Lines(NamedTuple):
    """The lines of a signature base, with a place for each value that a request brings."""

    form: bytes
    values: tuple[Value, ...]
    whole: frozenset[str]
    """The names of the parts that are covered whole."""

    def base(self, request: Request, parameters: bytes) -> bytes:
        """The bytes that were signed, with the parameters of the signature as they are written.

        Raises:
            Uncovered: a part is not in the request, or cannot be told.
        """
        return self.form % (*[value(request) for value in self.values], parameters)


def lines(items: Sequence[Item], public_url: str | None) -> Lines:
    """The lines for these parts.

    Raises:
        Uncovered: a part stands twice in the list, or cannot be in a request.
    """
    if len(items) > _MOST_COMPONENTS:
        raise Uncovered
    address = None if public_url is None else _public(public_url)
    form, values, identifiers = b"", list[Value](), list[bytes]()
    for item in items:
        identifier = write(item)
        if identifier in identifiers or not isinstance(item.value, str) or isinstance(item.value, Token):
            raise Uncovered
        identifiers.append(identifier)
        value = _value(item, item.value, address)
        if not isinstance(value, bytes):
            values.append(value)
        form += _literal(identifier) + b": " + (_literal(value) if isinstance(value, bytes) else b"%b") + b"\n"
    form += b'"@signature-params": ' + _literal(b"(" + b" ".join(identifiers) + b")") + b"%b"
    return Lines(form, tuple(values), frozenset(str(item.value) for item in items if not item.parameters))


def _literal(text: bytes) -> bytes:
    return text.replace(b"%", b"%%")


def _value(item: Item, name: str, address: _Address | None) -> bytes | Value:
    """The value itself where it is the same in every request."""
    if name == "@query-param":
        return _query_parameter(item)
    if not name.startswith("@"):
        return _field(item, name)
    if item.parameters:
        raise Uncovered
    if name == "@method":
        return lambda request: request.head.method.encode()
    part = _PARTS.get(name)
    if part is None:
        raise Uncovered
    if address is None:
        return lambda request: part(_asked(request.head), request.head.query)
    return part(address, None) if name in _FIXED else lambda request: part(address, request.head.query)


def _target(address: _Address, query: bytes | None) -> bytes:
    return address.path + (b"" if query is None else b"?" + query)


_PARTS: Final[dict[str, Callable[[_Address, bytes | None], bytes]]] = {
    "@target-uri": lambda address, query: address.scheme + b"://" + address.authority + _target(address, query),
    "@request-target": _target,
    "@query": lambda _, query: b"?" + (query or b""),
    "@authority": lambda address, _: address.authority,
    "@scheme": lambda address, _: address.scheme,
    "@path": lambda address, _: address.path or b"/",
}
_FIXED: Final = frozenset({"@authority", "@scheme", "@path"})
"""The same in every request to one public address."""


def _field(item: Item, name: str) -> Value:
    """Section 2.1: the lines of a field, trimmed and joined; ``bs`` wraps each, ``key`` picks a member of a dictionary."""
    if not _FIELD.fullmatch(name):
        raise Uncovered
    wanted = name.encode()
    match item.parameters:
        case ():
            return _whole(wanted)
        case (("bs", True),):
            return lambda request: b", ".join(
                b":" + base64.b64encode(value) + b":" for value in _field_lines(request.head, wanted)
            )
        case (("key", str(key)),):
            return lambda request: _member(field(request.head, wanted), key)
        case _:
            raise Uncovered


def _whole(name: bytes) -> Value:
    def read(request: Request) -> bytes:
        head = request.head
        found = head.named.get(name)
        return field(head, name) if found is None or name in head.repeated else found.strip(b" \t")

    return read


def field(head: Head, name: bytes) -> bytes:
    """All lines of a field as one (RFC 9110 section 5.3), each trimmed.

    Raises:
        Uncovered: there is none.
    """
    found = head.named.get(name)
    if found is None:
        raise Uncovered
    return b", ".join(_field_lines(head, name)) if name in head.repeated else found.strip(b" \t")


def _field_lines(head: Head, name: bytes) -> list[bytes]:
    values = [value.strip(b" \t") for one, (_, value) in zip(head.names, head.fields, strict=True) if one == name]
    if not values:
        raise Uncovered
    return values


def _member(text: bytes, key: str) -> bytes:
    try:
        member = dictionary(text).get(key)
    except ValueError:
        raise Uncovered from None
    if member is None:
        raise Uncovered
    return write(member)


def _query_parameter(item: Item) -> Value:
    """Section 2.2.8: decoded as a form is, and encoded anew; a name that stands twice cannot be signed."""
    match item.parameters:
        case (("name", str(name)),):
            return lambda request: _parameter(request.head.query or b"", name.encode())
        case _:
            raise Uncovered


def _parameter(query: bytes, name: bytes) -> bytes:
    # SECURITY: nothing is proved yet, so parameters are counted before each is looked at.
    if query.count(b"&") >= _MOST_FIELDS:
        raise Uncovered
    pairs = (pair.partition(b"=") for pair in query.split(b"&") if pair)
    found = [_recoded(value) for key, _, value in pairs if _recoded(key) == name]
    if len(found) != 1:
        raise Uncovered
    return found[0]


def _recoded(encoded: bytes) -> bytes:
    text = unescaped(encoded.replace(b"+", b" ")).decode("utf-8", "replace")
    return quote(text, safe="*").replace("~", "%7E").encode()


def _asked(head: Head) -> _Address:
    scheme = b"https" if head.https else b"http"
    return _Address(scheme, _authority(scheme, head.named.get(b"host", b"")), head.path)


def _public(url: str) -> _Address:
    scheme, _, rest = url.encode().partition(b"://")
    authority, slash, path = rest.partition(b"?")[0].partition(b"/")
    return _Address(scheme.lower(), _authority(scheme.lower(), authority.rpartition(b"@")[2]), slash + path)


def _authority(scheme: bytes, written: bytes) -> bytes:
    """Section 2.2.3: in small letters, without the scheme's usual port."""
    return written.strip().lower().removesuffix(_DEFAULT_PORTS.get(scheme, b"\0"))
