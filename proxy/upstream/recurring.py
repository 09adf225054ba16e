"""Replies that recur: a bot mostly answers with the same head, byte for byte, so it need not be read again.

Equal bytes are equal heads: what the parser made of them once holds for their like. Only plain replies are kept: whole in one
read, with a length, on a connection that stays.
"""

from typing import Final

from proxy.messages import KeptReply, Reply
from proxy.parser import RawReply

_LONGEST: Final = 2048
"""Bytes of a head."""
_MOST: Final = 64
"""Heads; with one more all are forgotten. A Date makes a new one each second."""
_LENGTHLESS: Final = frozenset({204, 304})


class KnownReply(KeptReply):
    """A reply's head, and how long its body is."""

    __slots__ = ("_facts", "keep_alive", "length")

    def __init__(self, reply: Reply, length: int, keep_alive: str) -> None:
        super().__init__()
        self._facts = reply[:3]
        self.length = length
        self.keep_alive = keep_alive
        """What the bot says about its idle connections, if it does."""

    def reply(self, body: bytes) -> Reply:
        """One more such reply."""
        return tuple.__new__(Reply, (*self._facts, body, None, None, self))


class RecurringReplies:
    """The heads known of one bot."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, KnownReply] = {}

    def recall(self, data: bytes) -> tuple[KnownReply, bytes] | None:
        """What is known of the head, and the body, where ``data`` is exactly one reply whose like was here."""
        end = data.find(b"\r\n\r\n") + 4
        known = self._known.get(data[:end])
        if known is None or len(data) - end != known.length:
            return None
        return known, data[end:]

    def remember(self, data: bytes, message: RawReply, reply: Reply) -> None:
        """Keep the head of a whole reply that was read from ``data`` alone, where its like can be told by its bytes."""
        head = b"HTTP/1.1 %d %b\r\n%b\r\n" % (reply.status, reply.reason, b"".join([b"%b: %b\r\n" % one for one in reply.fields]))
        lengths = [value for name, value in reply.fields if name.lower() == b"content-length"]
        if len(lengths) != 1 or len(head) > _LONGEST or message.chunked or reply.status in _LENGTHLESS:
            return
        # SECURITY: the head, written out anew, and the body are all that came, and the length is written in the one plain way.
        size = len(reply.body)
        if data == head + reply.body and lengths[0] == b"%d" % size:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[head] = KnownReply(reply, size, message.headers.get("Keep-Alive", ""))
