"""Ways to sign, as pure functions over bytes: what is signed, how the result is written.

Comparing is always ``hmac.compare_digest`` on bytes: on text it raises for anything beyond ASCII.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final

from proxy.messages import Request
from proxy.policy.secrets import Secret
from proxy.policy.signatures import TemplateSignature
from proxy.policy.templates import Part
from proxy.policy.values import Selector, SelectorKind
from proxy.rules.keys import Header, Read, reader

MOST_CANDIDATES: Final = 5
"""Signatures tried in one header; a sender in rotation sends two."""


Signed = Callable[[Request], bytes | None]


def signed_bytes(
    template: tuple[Part, ...], values: Mapping[str, Read], settings: TemplateSignature, secret: Secret | None = None
) -> Signed:
    """The function that puts together what was signed; ``None`` when a part of it is absent.

    ``values`` holds what ``{timestamp}``, ``{id}``, ``{url}`` stand for; ``{secret}`` is the secret's text.
    """
    if [part.place for part in template] == ["body"]:
        return _body
    form = b"".join(_literal(part, secret).replace(b"%", b"%%") if part.place in {"", "secret"} else b"%b" for part in template)
    reads = tuple(_place(part, values, settings) for part in template if part.place not in {"", "secret"})
    headers = [read for read in reads if isinstance(read, Header) or read is _body]
    return _of_headers(form, headers) if len(headers) == len(reads) else _joined(form, reads)


_body: Final[Signed] = attrgetter("body")


def _joined(form: bytes, reads: tuple[Read, ...]) -> Signed:
    def join(request: Request) -> bytes | None:
        pieces = [read(request) for read in reads]
        return None if None in pieces else form % tuple(pieces)

    return join


def _of_headers(form: bytes, reads: Sequence[Read]) -> Signed:
    """The same of headers and the body alone, as most senders sign: without a call for each of them."""
    names = tuple(read.name if isinstance(read, Header) else None for read in reads)
    once = frozenset(names)
    ends = tuple((read.name, read.end) for read in reads if isinstance(read, Header) and read.end)

    def join(request: Request) -> bytes | None:
        head = request.head
        named, body = head.named, request.body
        pieces = [body if name is None else named.get(name) or None for name in names]
        if None in pieces or (head.repeated and not once.isdisjoint(head.repeated)):
            return None
        for name, end in ends:
            if end in named[name]:
                return None
        return form % tuple(pieces)

    return join


def _literal(part: Part, secret: Secret | None) -> bytes:
    if part.place == "secret":
        return secret.reveal(part.argument) if secret is not None else b""
    return part.literal


def _place(part: Part, values: Mapping[str, Read], settings: TemplateSignature) -> Read:
    match part.place:
        case "body":
            return _body
        case "method":
            return lambda request: request.head.method.encode()
        case "path":
            return lambda request: request.head.path
        case "query" if not part.argument:
            return lambda request: request.head.query or b""
        case "url" if part.argument:
            whole = values["url"]
            return lambda request: _decoded(whole(request) or b"")
        case "timestamp" | "id" | "url":
            return values[part.place]
        case place:
            header = (settings.header or "").lower().encode()
            return reader(Selector(SelectorKind(place), part.argument), settings.items, header)


def signed_url(public_url: str) -> Read:
    """The URL that the sender asked for: as it was registered, with the query that this request came with."""
    whole = public_url.encode()
    base = whole.partition(b"?")[0]

    def read(request: Request) -> bytes:
        query = request.head.query
        return whole if query is None else base + b"?" + query

    return read


_ESCAPES: Final = re.compile(rb"%(3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)


def _decoded(url: bytes) -> bytes:
    """The twelve escapes that HubSpot takes off before it signs, and no others
    (https://developers.hubspot.com/docs/api/webhooks/validating-requests).
    """
    return _ESCAPES.sub(lambda found: bytes.fromhex(found[1].decode()), url)


_SHAPES: Final = {
    "hex": re.compile(rb"[0-9a-f]+"),
    "hex-any-case": re.compile(rb"[0-9a-fA-F]+"),
    "base64": re.compile(rb"[A-Za-z0-9+/]+={0,2}"),
    "base64url": re.compile(rb"[A-Za-z0-9_-]+={0,2}"),
}

_SIZES: Final = {"sha1": 20, "sha256": 32, "sha384": 48, "sha512": 64}


_LOWER_HEX: Final = b"0123456789abcdef"


def normal(algorithm: str, encoding: str) -> Callable[[bytes], bytes | None]:
    """The function that gives a candidate in the one form that ``writer`` makes of a digest of the algorithm, or ``None`` when it
    cannot be such a signature at all.
    """
    size, shape = _SIZES[algorithm], _SHAPES[encoding]
    length = size * 2 if encoding.startswith("hex") else -(-size // 3) * 4
    bare = -(-size * 4 // 3)

    def in_hex(candidate: bytes) -> bytes | None:
        # Digits are counted out in a third of the time that a pattern takes.
        return None if len(candidate) != length or candidate.translate(None, _LOWER_HEX) else candidate

    def of_shape(candidate: bytes) -> bytes | None:
        if encoding == "base64url" and len(candidate) == bare:
            candidate += b"=" * (length - bare)
        if len(candidate) != length or shape.fullmatch(candidate) is None:
            return None
        return candidate.lower() if encoding == "hex-any-case" else candidate

    return in_hex if encoding == "hex" else of_shape


def writer(encoding: str) -> Callable[[bytes], bytes]:
    """The function that writes a digest as it stands in a header."""
    if encoding.startswith("hex"):
        return binascii.hexlify
    return base64.urlsafe_b64encode if encoding == "base64url" else base64.b64encode


def encoded(signature: bytes, encoding: str) -> bytes:
    """A signature as it stands in a header."""
    return writer(encoding)(signature)


def decoded(candidate: bytes, encoding: str) -> bytes | None:
    """The bytes of a signature as it stands in a header, or ``None`` where it is not written so."""
    return decoder(encoding)(candidate)


def decoder(encoding: str) -> Callable[[bytes], bytes | None]:
    """The function that reads a signature as it stands in a header.

    SECURITY: one signature has one written form, but for the case of ``hex-any-case`` and base64url's padding: the library reads
    over bits of the last base64 character that belong to no byte, so what was read is written again and compared.
    """
    read, write = _FORMS[encoding]

    def decode(candidate: bytes) -> bytes | None:
        try:
            found = read(candidate)
        except ValueError:
            return None
        return found if found and write(found, candidate) == candidate else None

    return decode


def _read_url(candidate: bytes) -> bytes:
    return base64.urlsafe_b64decode(candidate + b"=" * (-len(candidate) % 4))


def _write_url(found: bytes, candidate: bytes) -> bytes:
    whole = base64.urlsafe_b64encode(found)
    return whole if candidate.endswith(b"=") else whole.rstrip(b"=")


_FORMS: Final[Mapping[str, tuple[Callable[[bytes], bytes], Callable[[bytes, bytes], bytes]]]] = {
    "hex": (binascii.unhexlify, lambda found, _: binascii.hexlify(found)),
    "hex-any-case": (binascii.unhexlify, lambda _, candidate: candidate),
    "base64": (binascii.a2b_base64, lambda found, _: binascii.b2a_base64(found, newline=False)),
    "base64url": (_read_url, _write_url),
}
"""How a form is read, and how what was read is written, perhaps as the candidate was."""


def plain_digest(key: bytes, message: bytes, algorithm: str) -> bytes:
    """A hash of the message alone: its secret stands in it."""
    return hashlib.new(algorithm, message).digest()


Digest = Callable[[bytes], bytes]


def hasher(algorithm: str) -> Digest:
    """The function that makes a plain hash."""
    return _copied(hashlib.new(algorithm))


def hmac_under(key: bytes, algorithm: str) -> Digest:
    """The function that makes the HMAC of a message under this key, which is taken in once: that costs as much as a kilobyte."""
    return _copied(hmac.new(key, digestmod=algorithm))


def _copied(begun: Any) -> Digest:
    """An object of hashlib or hmac, copied for each message."""

    def digest(message: bytes) -> bytes:
        made = begun.copy()
        made.update(message)
        found: bytes = made.digest()
        return found

    return digest


hmac_digest: Final[Callable[[bytes, bytes, str], bytes]] = hmac.digest
"""RFC 2104, in one call of OpenSSL: key, message, algorithm."""

same: Final[Callable[[bytes, bytes], bool]] = hmac.compare_digest
"""Equal, in a time that tells nothing but the length. Bytes alone."""
