"""The Redis serialization protocol, version 2: commands packed, replies read.

https://redis.io/docs/latest/develop/reference/protocol-spec/

redis-py's own client takes ten times the processor for this: it awaits each reply by itself, and we have many in one read.
"""

from typing import Union

_BULK, _SIMPLE, _ERROR, _INTEGER, _ARRAY = b"$+-:*"
_LONGEST = 1024**2
"""Bytes of a reply; none that we ask for comes near."""
_DEEPEST = 8


class ErrorReply(bytes):
    """A refusal by the server, such as ``NOSCRIPT No matching script``."""

    @property
    def kind(self) -> bytes:
        """Its first word."""
        return self.partition(b" ")[0]

    def __str__(self) -> str:
        """For people: short, and nothing in it that a terminal would obey."""
        return "".join(sign if sign.isprintable() else "?" for sign in self[:200].decode("utf-8", "replace"))


Reply = Union[bytes, int, None, ErrorReply, "list[Reply]"]


def pack(*words: bytes) -> bytes:
    """A command as the server reads it."""
    return b"*%d\r\n%b" % (len(words), b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words]))


class Replies:
    """Cuts what comes in into replies."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Reply]:
        """The replies that are whole now, in their order.

        Raises:
            ValueError: the other side does not speak this protocol.
        """
        if self._rest:
            data = self._rest + data
        replies: list[Reply] = []
        at = 0
        try:
            while at < len(data):
                reply, at = _read(data, at, 0)
                replies.append(reply)
        except EOFError:
            if len(data) - at > _LONGEST:
                raise ValueError("a reply is too long") from None
        self._rest = data[at:]
        return replies


def _read(data: bytes, at: int, depth: int) -> tuple[Reply, int]:
    """One reply and where the next begins; raises ``EOFError`` where it is not whole yet."""
    end = data.find(b"\r\n", at)
    if end < 0:
        raise EOFError
    kind = data[at]
    after = end + 2
    if kind == _BULK:
        length = int(data[at + 1 : end])
        if length < 0:
            return None, after
        stop = after + length
        if len(data) < stop + 2:
            raise EOFError
        return data[after:stop], stop + 2
    if kind == _INTEGER:
        return int(data[at + 1 : end]), after
    if kind == _SIMPLE:
        return data[at + 1 : end], after
    if kind == _ERROR:
        return ErrorReply(data[at + 1 : end]), after
    if kind == _ARRAY and depth < _DEEPEST:
        return _array(data, after, int(data[at + 1 : end]), depth + 1)
    raise ValueError("no reply of a Redis")


def _array(data: bytes, at: int, count: int, depth: int) -> tuple[Reply, int]:
    items: list[Reply] = []
    for _ in range(count):
        item, at = _read(data, at, depth)
        items.append(item)
    return (items if count >= 0 else None), at
