"""The signature base (RFC 9421 section 2.5): every covered part of a request on a line of its own, as bytes.

The address is the route's public one where the policy gives it, since behind a proxy nobody else knows what was signed.
"""

import base64
import re
from typing import Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from proxy.messages import Head, Request
from proxy.rules.structured_fields import InnerList, Item, Token, dictionary, write

_FIELD: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_DEFAULT_PORTS: Final = {b"https": b":443", b"http": b":80"}
_MOST_COMPONENTS: Final = 64
_MOST_FIELDS: Final = 1000


class Uncovered(Exception):
    """A covered part is not there, or is of a kind that requests do not have."""


class _Address(NamedTuple):
    """Where the request was sent."""

    scheme: bytes
    authority: bytes
    path: bytes
    query: bytes | None

    @property
    def target(self) -> bytes:
        return self.path + (b"" if self.query is None else b"?" + self.query)


def signature_base(covered: InnerList, request: Request, public_url: str | None) -> tuple[bytes, frozenset[str]]:
    """The bytes that were signed, and the names of the parts that are covered whole.

    Raises:
        Uncovered: a part is not there, stands twice in the list, or cannot be in a request.
    """
    if len(covered.items) > _MOST_COMPONENTS:
        raise Uncovered
    address = _address(request.head, public_url)
    lines: dict[bytes, bytes] = {}
    whole: set[str] = set()
    for item in covered.items:
        identifier = write(item)
        if identifier in lines or not isinstance(item.value, str) or isinstance(item.value, Token):
            raise Uncovered
        lines[identifier] = _value(item, request, address)
        whole |= set() if item.parameters else {item.value}
    text = b"".join(b"%b: %b\n" % line for line in lines.items())
    return text + b'"@signature-params": ' + write(covered), frozenset(whole)


def _value(item: Item, request: Request, address: _Address) -> bytes:
    name = str(item.value)
    if name == "@query-param":
        return _query_parameter(item, address.query or b"")
    if name.startswith("@"):
        if item.parameters:
            raise Uncovered
        return _derived(name, request.head, address)
    return _field(item, name, request.head)


def _derived(name: str, head: Head, address: _Address) -> bytes:
    match name:
        case "@method":
            return head.method.encode()
        case "@target-uri":
            return address.scheme + b"://" + address.authority + address.target
        case "@authority":
            return address.authority
        case "@scheme":
            return address.scheme
        case "@request-target":
            return address.target
        case "@path":
            return address.path or b"/"
        case "@query":
            return b"?" + (address.query or b"")
        case _:
            raise Uncovered


def _field(item: Item, name: str, head: Head) -> bytes:
    """Section 2.1: the lines of a field, trimmed and joined; ``bs`` wraps each, ``key`` picks a member of a dictionary."""
    wanted = name.encode()
    values = [value.strip(b" \t") for one, (_, value) in zip(head.names, head.fields, strict=True) if one == wanted]
    if not values or not _FIELD.fullmatch(name):
        raise Uncovered
    match item.parameters:
        case ():
            return b", ".join(values)
        case (("bs", True),):
            return b", ".join(b":" + base64.b64encode(value) + b":" for value in values)
        case (("key", str(key)),):
            try:
                member = dictionary(b", ".join(values)).get(key)
            except ValueError:
                raise Uncovered from None
            if member is None:
                raise Uncovered
            return write(member)
        case _:
            raise Uncovered


def _query_parameter(item: Item, query: bytes) -> bytes:
    """Section 2.2.8: decoded as a form is, and encoded anew; a name that stands twice cannot be signed."""
    match item.parameters:
        case (("name", str(name)),):
            pass
        case _:
            raise Uncovered
    # SECURITY: nothing is proved yet, so parameters are counted before each is looked at.
    if query.count(b"&") >= _MOST_FIELDS:
        raise Uncovered
    pairs = (pair.partition(b"=") for pair in query.split(b"&") if pair)
    found = [_recoded(value) for key, _, value in pairs if _recoded(key) == name.encode()]
    if len(found) != 1:
        raise Uncovered
    return found[0]


def _recoded(encoded: bytes) -> bytes:
    text = unquote_to_bytes(encoded.replace(b"+", b" ")).decode("utf-8", "replace")
    return quote(text, safe="*").replace("~", "%7E").encode()


def _address(head: Head, public_url: str | None) -> _Address:
    if public_url is None:
        scheme = b"https" if head.https else b"http"
        return _Address(scheme, _authority(scheme, head.named.get(b"host", b"")), head.path, head.query)
    scheme, _, rest = public_url.encode().partition(b"://")
    authority, slash, path = rest.partition(b"?")[0].partition(b"/")
    return _Address(scheme.lower(), _authority(scheme.lower(), authority.rpartition(b"@")[2]), slash + path, head.query)


def _authority(scheme: bytes, written: bytes) -> bytes:
    """Section 2.2.3: in small letters, without the scheme's usual port."""
    return written.strip().lower().removesuffix(_DEFAULT_PORTS.get(scheme, b"\0"))
