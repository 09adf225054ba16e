"""Heads that recur: a sender's next request mostly differs from its last in body and length alone, so it need not be read again.

Equal bytes are equal heads: what parser and walls made of them once holds for their like, under the same policy and over the
same kind of wire. SECURITY: only heads of permitted requests are kept, so a stranger can neither fill this memory nor push
others out of it; and no judgement is kept: every rule judges every request.
"""

from typing import Final, cast

from proxy.messages import Field, Head, Kept

_MARK: Final = b"\r\nContent-Length: "
_SMALL_MARK: Final = b"\r\ncontent-length: "
_MARK_BYTES: Final = len(_MARK)
_LONGEST: Final = 2048
"""Bytes of a head."""
_MOST: Final = 256
"""Heads; with one more all are forgotten, for who comes often is soon known again."""
_FACTS: Final = Head._fields.index("arrived")
_FIELDS: Final = Head._fields.index("fields")
_LENGTH: Final = Head._fields.index("length")
_NAMED: Final = Head._fields.index("named")
_UNIQUE: Final = frozenset({b"x-request-id", b"expect"})
"""With one of these a head is like no other, or its body comes later."""


class Known(Kept):
    """A head as its last like had it. Of a like, the digits of its length alone may differ."""

    __slots__ = ("digits", "facts", "length", "widest")

    def __init__(self, head: Head, digits: bytes) -> None:
        super().__init__()
        self.facts: tuple[object, ...] = tuple(head[:_FACTS])
        self.digits = digits
        self.length = int(digits)
        self.widest = len(digits)
        """More digits would need another look at the limits of a head."""

    def head(self, arrived: float, started: float, request_id: bytes) -> Head:
        """Of a request that has just come."""
        return tuple.__new__(Head, (*self.facts, arrived, started, request_id, self))

    def resize(self, digits: bytes) -> bool:
        """Become the like that has another length; False where that is not written in the one right way."""
        if not _plain(digits) or len(digits) > self.widest:
            return False
        facts = list(self.facts)
        fields = cast(tuple[Field, ...], facts[_FIELDS])
        facts[_FIELDS] = tuple((name, digits if name.lower() == b"content-length" else value) for name, value in fields)
        facts[_NAMED] = {**cast(dict[bytes, bytes], facts[_NAMED]), b"content-length": digits}
        facts[_LENGTH] = self.length = int(digits)
        self.digits = digits
        self.facts = tuple(facts)
        return True


class Recurring:
    """The heads known under one policy. ``wire`` is what they depend on besides their bytes, see ``Wire.key``."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, Known] = {}

    def recall(self, wire: bytes, data: bytes) -> tuple[Known, bytes] | None:
        """What is known of the head, and the body, where ``data`` is exactly one request whose like was here."""
        start = data.find(_MARK) + _MARK_BYTES
        if start < _MARK_BYTES:
            start = _digits_at(data)
        stop = data.find(b"\r", start)
        # SECURITY: a key holds one blank line, at its end; so this is the first one of ``data`` wherever a key is found.
        end = data.find(b"\r\n\r\n", stop) + 4
        known = self._known.get(wire + data[:start] + data[stop:end])
        if known is None:
            return None
        digits = data[start:stop]
        if (digits != known.digits and not known.resize(digits)) or len(data) - end != known.length:
            return None
        return known, data[end:]

    def remember(self, wire: bytes, data: bytes, head: Head) -> bool:
        """Keep the head of a permitted request, if it may recur. True: ``data`` is exactly that one request, nothing beside it.

        SECURITY: so it says only where the head, written out anew, is what ``data`` begins with.
        """
        written = b"%b %b HTTP/1.1\r\n%b\r\n" % (
            head.method.encode(),
            head.target,
            b"".join([b"%b: %b\r\n" % field for field in head.fields]),
        )
        end = len(written)
        if len(data) - end != head.length or not data.startswith(written):
            return False
        start = _digits_at(written)
        stop = written.find(b"\r", start)
        digits = written[start:stop]
        if digits == head.named[b"content-length"] and _plain(digits) and end <= _LONGEST and _UNIQUE.isdisjoint(head.named):
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[wire + written[:start] + written[stop:]] = Known(head, digits)
        return True


def _digits_at(data: bytes) -> int:
    """Where the digits of the first length begin; nowhere in particular if there is none."""
    at = data.find(_MARK)
    return (at if at >= 0 else data.find(_SMALL_MARK)) + _MARK_BYTES


def _plain(digits: bytes) -> bool:
    """One written form for each length, as the walls demand."""
    return digits.isdigit() and (len(digits) == 1 or digits[:1] != b"0") and len(digits) < 10
