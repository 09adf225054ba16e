"""Heads that recur: a sender's next request mostly has its last one's head, some values aside, so it need not be parsed again.

What a parser makes of a head hangs on its names and on a few values; those are compared byte for byte, all others need only be
sound values. SECURITY: only heads of permitted requests are kept, so a stranger can neither fill this memory nor push others out
of it; and no judgement is kept: every rule judges every request, by the values that it brings.
"""

import re
from typing import Final, NamedTuple

from proxy.messages import Head, Kept

_LONGEST: Final = 2048
"""Bytes of a head."""
_MOST: Final = 128
"""Heads; with one more all are forgotten, for who comes often is soon known again."""
_EACH: Final = 4
"""Heads with one request line."""
_PACE: Final = 0.005
"""Seconds for each field of a head until the next one is learnt: a field costs a sixth of a millisecond, and learning must not
become a sender's tool."""
_UNIQUE: Final = frozenset({b"x-request-id", b"expect", b"transfer-encoding", b"upgrade"})
"""With one of these a head is always read."""
_TELLING: Final = frozenset({
    b"host", b"connection", b"te", b"trailer", b"keep-alive", b"proxy-connection", b"content-encoding", b"http2-settings",
    b"x-forwarded-proto", b"x-forwarded-host",
})  # fmt: skip
"""Their values say something to the parser, to the walls, or to what is written for the bot."""
_LENGTH: Final = rb"(0|[1-9][0-9]{0,8})"
_SOUND: Final = rb"([!-~\x80-\xff][\t -~\x80-\xff]*)(?<![\t ])"
"""Within what the parser takes for a value, without the white space around it that it would take away."""


class Known(Kept):
    """A head, its values aside."""

    __slots__ = ("client", "far", "length_at", "line", "longest", "match", "names", "near", "spelled")

    def __init__(self, head: Head, longest: int) -> None:
        super().__init__()
        self.line = tuple(head[: Head._fields.index("fields")])
        self.spelled = tuple(name for name, _ in head.fields)
        self.names = head.names
        self.near = tuple(head[Head._fields.index("repeated") : Head._fields.index("client")])
        self.client = head.client
        self.far = tuple(head[Head._fields.index("trusted") : Head._fields.index("length")])
        self.length_at = head.names.index(b"content-length")
        self.longest = longest
        self.match = re.compile(_pattern(head)).match


class Recalled(NamedTuple):
    """One more request with a known head."""

    known: Known
    values: tuple[bytes, ...]
    """Of its fields, in their order."""
    body: bytes


class Recurring:
    """The heads known under one policy. ``wire`` is what they depend on besides their bytes, see ``Wire.key``."""

    __slots__ = ("_count", "_known", "_learns", "_limit")

    def __init__(self, limit: int) -> None:
        """``limit``: the policy's bytes of a head."""
        self._known: dict[bytes, list[Known]] = {}
        self._count = 0
        self._learns = 0.0
        """When a head may be learnt again."""
        self._limit = limit

    def recall(self, wire: bytes, data: bytes) -> Recalled | None:
        """What is known of the request, where ``data`` is exactly one whose like was here."""
        for known in self._known.get(wire + data[: data.find(b"\r")], ()):
            # SECURITY: no byte beyond is looked at, or long values with odd ends would cost more than they cost their sender.
            found = known.match(data, 0, known.longest)
            if found is not None:
                end = found.end()
                values = found.groups()
                if len(data) - end != int(values[known.length_at]):
                    return None
                return tuple.__new__(Recalled, (known, values, data[end:]))
        return None

    def remember(self, wire: bytes, data: bytes, head: Head) -> bool:
        """Keep the head of a permitted request, if it may recur. True: ``data`` is exactly that one request, nothing beside it.

        SECURITY: so it says only where the head, written out anew, is what ``data`` begins with.
        """
        line = b"%b %b HTTP/1.1" % (head.method.encode(), head.target)
        written = b"%b\r\n%b\r\n" % (line, b"".join([b"%b: %b\r\n" % field for field in head.fields]))
        if len(data) - len(written) != head.length or not data.startswith(written):
            return False
        longest = min(_LONGEST, self._limit - len(head.fields) - 16)
        if len(written) <= longest and not head.repeated and _UNIQUE.isdisjoint(head.named):
            self._keep(wire + line, head, written, longest)
        return True

    def _keep(self, key: bytes, head: Head, written: bytes, longest: int) -> None:
        if head.started < self._learns or any(known.match(written) for known in self._known.get(key, ())):
            return
        self._learns = head.started + _PACE * len(head.fields)
        known = Known(head, longest)
        if known.match(written) is None:  # a value that is empty, or odd
            return
        if self._count >= _MOST:
            self._known.clear()
            self._count = 0
        self._count += 1
        self._known[key] = [known, *self._known.get(key, ())][:_EACH]


def _pattern(head: Head) -> bytes:
    lines = [re.escape(b"%b %b HTTP/1.1\r\n" % (head.method.encode(), head.target))]
    for lowered, (name, value) in zip(head.names, head.fields, strict=True):
        if lowered == b"content-length":
            wanted = _LENGTH
        elif lowered in _TELLING or lowered.startswith(b"sec-"):
            wanted = b"(%b)" % re.escape(value)
        else:
            wanted = _SOUND
        lines.append(b"%b: %b\r\n" % (re.escape(name), wanted))
    return b"".join(lines) + b"\r\n"
