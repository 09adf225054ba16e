"""Ways to sign, as pure functions over bytes: what is signed, how the result is written.

Comparing is always ``hmac.compare_digest`` on bytes: on text it raises for anything beyond ASCII.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Callable
from typing import Final

from proxy.messages import Request
from proxy.policy.model import HmacSignature
from proxy.policy.values import Part, Selector, SelectorKind
from proxy.rules.keys import Read, reader

MOST_CANDIDATES: Final = 5
"""Signatures tried in one header; a sender in rotation sends two."""


Signed = Callable[[Request], bytes | None]


def signed_bytes(template: tuple[Part, ...], values: dict[str, Read], items: HmacSignature, secret: bytes) -> Signed:
    """The function that puts together what was signed; ``None`` when a part of it is absent.

    ``values`` holds what ``{timestamp}``, ``{id}``, ``{url}`` stand for; ``{secret}`` is the secret's text.
    """
    if [part.place for part in template] == ["body"]:
        return lambda request: request.body
    reads = tuple(secret if part.place == "secret" else part.literal or _place(part, values, items) for part in template)

    def join(request: Request) -> bytes | None:
        pieces: list[bytes] = []
        for read in reads:
            piece = read if isinstance(read, bytes) else read(request)
            if piece is None:
                return None
            pieces.append(piece)
        return b"".join(pieces)

    return join


def _place(part: Part, values: dict[str, Read], settings: HmacSignature) -> Read:
    match part.place:
        case "body":
            return lambda request: request.body
        case "method":
            return lambda request: request.head.method.encode()
        case "path":
            return lambda request: request.head.path
        case "query" if not part.argument:
            return lambda request: request.head.query or b""
        case "timestamp" | "id" | "url":
            return values[part.place]
        case place:
            return reader(Selector(SelectorKind(place), part.argument), settings.items, settings.header.lower().encode())


_SHAPES: Final = {
    "hex": re.compile(rb"[0-9a-f]+"),
    "hex-any-case": re.compile(rb"[0-9a-fA-F]+"),
    "base64": re.compile(rb"[A-Za-z0-9+/]+={0,2}"),
    "base64url": re.compile(rb"[A-Za-z0-9_-]+={0,2}"),
}

_SIZES: Final = {"sha1": 20, "sha256": 32, "sha384": 48, "sha512": 64}


class Written:
    """How a digest of one algorithm stands in a header."""

    def __init__(self, algorithm: str, encoding: str) -> None:
        size = _SIZES[algorithm]
        self._encoding = encoding
        self._shape = _SHAPES[encoding]
        self._length = size * 2 if encoding.startswith("hex") else -(-size // 3) * 4
        self._bare = -(-size * 4 // 3)

    def normal(self, candidate: bytes) -> bytes | None:
        """The candidate in the one form that ``write`` makes, or ``None`` when it cannot be such a signature at all."""
        if self._encoding == "base64url" and len(candidate) == self._bare:
            candidate += b"=" * (self._length - self._bare)
        if len(candidate) != self._length or self._shape.fullmatch(candidate) is None:
            return None
        return candidate.lower() if self._encoding == "hex-any-case" else candidate

    def write(self, digest: bytes) -> bytes:
        """The digest as the sender writes it."""
        if self._encoding.startswith("hex"):
            return binascii.hexlify(digest)
        return base64.urlsafe_b64encode(digest) if self._encoding == "base64url" else base64.b64encode(digest)


def hmac_digest(key: bytes, message: bytes, algorithm: str) -> bytes:
    """RFC 2104, in one call of OpenSSL."""
    return hmac.digest(key, message, algorithm)


def same(one: bytes, other: bytes) -> bool:
    """Equal, in a time that tells nothing but the length."""
    return hmac.compare_digest(one, other)
