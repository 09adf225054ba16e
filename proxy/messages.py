"""What travels: head of a request, the whole request, and the bot's reply. Bytes as they came: a parsed view is only looked at.

``Head`` has no body, so a rule of the door cannot judge one. What is forwarded is ``head`` and ``body``, never the document.
"""

import hashlib
from collections.abc import Callable
from typing import Final, NamedTuple

import orjson

from proxy.networks import Address
from proxy.parties import Rest, Sender

Field = tuple[bytes, bytes]


class Kept:
    """What is kept of a head that recurs, for the requests that follow it."""

    __slots__ = ("onward",)

    def __init__(self) -> None:
        self.onward: tuple[bytes, Callable[[tuple[bytes, ...]], tuple[bytes, ...]]] | None = None
        """The head as the bot gets it, with a place for each value, and which of the values go there; made by the first that is
        forwarded. It follows from what is kept and the policy alone."""


class Head(NamedTuple):
    """All of a request but its body."""

    method: str
    target: bytes
    """As it stood in the request line."""
    path: bytes
    query: bytes | None
    """What follows the first ``?``; ``None`` without one."""
    fields: tuple[Field, ...]
    """Name and value of each header field, in wire order, case and number."""
    names: list[bytes]
    """The lower-case names, parallel to ``fields``."""
    named: dict[bytes, bytes]
    """First value of each lower-case name."""
    repeated: frozenset[bytes]
    """Lower-case names that occur more than once."""
    peer: Address
    client: Address
    trusted: bool
    """The peer is a trusted proxy."""
    https: bool
    certificate: bytes | None
    """The client's verified certificate (DER), where TLS is ours and one was given."""
    length: int | None
    """Declared body length; ``None`` for a chunked body, or none declared."""
    chunked: bool
    arrived: float
    """Unix seconds: the one reading of the wall clock."""
    started: float
    """Seconds of the monotonic clock."""
    request_id: bytes
    kept: Kept | None = None
    """Where the head is one of many alike."""

    def single(self, name: bytes) -> bytes | None:
        """The value of a field that must not be repeated; ``None`` when it is absent. Check ``repeated`` for doubles."""
        return self.named.get(name)


class _NotJson:
    """What ``Request.document`` gives for a body that is no JSON."""


NOT_JSON: Final = _NotJson()
_UNREAD: Final = _NotJson()


class Request:
    """A head and its whole raw body; and the sender, where somebody waits for the answer."""

    __slots__ = ("_digest", "_document", "body", "head", "sender")

    def __init__(self, head: Head, body: bytes, sender: Sender | None = None) -> None:
        self.head: Final = head
        self.body: Final = body
        self.sender: Final = sender
        self._document: object = _UNREAD
        self._digest = b""

    def document(self) -> object:
        """The body as JSON, parsed once, for looking only; ``NOT_JSON`` where it is none.

        orjson is strict (RFC 8259): no NaN, no BOM, nesting up to 1024. Integers beyond 64 bits come out as floats.
        """
        if self._document is _UNREAD:
            try:
                self._document = orjson.loads(self.body)
            except orjson.JSONDecodeError:
                self._document = NOT_JSON
        return self._document

    def digest(self) -> bytes:
        """The first 16 bytes of the body's SHA-256: the same body, the same digest, on every machine."""
        if not self._digest:
            self._digest = hashlib.sha256(self.body).digest()[:16]
        return self._digest


class KeptReply:
    """What is kept of a reply's head that recurs, for the replies that follow it."""

    __slots__ = ("head",)

    def __init__(self) -> None:
        self.head = b""
        """The head as a sender gets it whose connection stays; made by the first reply that is answered so."""


class Reply(NamedTuple):
    """The bot's answer, as it came."""

    status: int
    reason: bytes
    fields: tuple[Field, ...]
    body: bytes
    length: int | None
    """The declared length of the whole body; only with a ``rest``."""
    rest: Rest | None = None
    kept: KeptReply | None = None
    """Where the reply is whole and its head one of many alike."""
