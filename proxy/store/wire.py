"""One connection to a Redis: operations of a turn go out in one write, replies come back in their order.

Whatever was sent and not answered when the connection ends is told so: nobody knows whether the server did it.
"""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, cast

from proxy.errors import StoreError
from proxy.store.resp import Replies, Reply, pack

_LINGER_NOT = struct.pack("ii", 1, 0)


class Operation(Protocol):
    """A command and whoever waits for its reply."""

    packed: bytes

    def answer(self, reply: Reply) -> None:
        """Take the reply; called from the loop, never from a task."""

    def fail(self, error: StoreError, *, sent: bool) -> None:
        """There will be no reply. ``sent``: the server may have done it, or may do it yet."""


class Ask:
    """A command of the handshake, or in the background: its reply comes as a future."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *words: bytes) -> None:
        self.packed = pack(*words)
        self.reply: asyncio.Future[Reply] = loop.create_future()

    def answer(self, reply: Reply) -> None:
        """Tell it."""
        if not self.reply.done():
            self.reply.set_result(reply)

    def fail(self, error: StoreError, *, sent: bool) -> None:
        """Tell that too."""
        if not self.reply.done():
            self.reply.set_exception(error)


class Aside:
    """A command that no request waits for; ``then`` is told its reply, if there is one."""

    __slots__ = ("packed", "then")

    def __init__(self, packed: bytes, then: Callable[[Reply], object] = repr) -> None:
        self.packed = packed
        self.then = then

    def answer(self, reply: Reply) -> None:
        """Tell it."""
        self.then(reply)

    def fail(self, error: StoreError, *, sent: bool) -> None:
        """The next one may do better."""


class Wire(asyncio.Protocol):
    """An open connection. ``ended`` is called once, when it is closed by either side, with the operations left unanswered."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.sent: deque[Operation] = deque()
        self.ended: Callable[[], None] | None = None
        self.closed = False
        self._loop = loop
        self._replies = Replies()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not asyncio's by inheritance

    def write(self, operations: Sequence[Operation]) -> None:
        """Send them all in one piece."""
        self.sent.extend(operations)
        self._transport.write(b"".join([operation.packed for operation in operations]))

    async def ask(self, *commands: tuple[bytes, ...]) -> list[Reply]:
        """The replies to commands of the handshake; raises ``StoreError`` when the connection ends before."""
        asked = [Ask(self._loop, *words) for words in commands]
        if self.closed:
            raise StoreError("it closed the connection")
        self.write(asked)
        return list(await asyncio.gather(*(one.reply for one in asked)))

    def data_received(self, data: bytes) -> None:
        """Hand each reply to the operation it belongs to."""
        try:
            replies = self._replies.feed(data)
        except ValueError:
            self.abort()
            return
        sent = self.sent
        for reply in replies:
            if not sent:  # closed by the one before, or a server that speaks unasked: its replies belong to nobody
                self.abort()
                return
            operation = sent.popleft()
            try:
                operation.answer(reply)
            except Exception as fault:  # a waiter raised when it was woken: no reason to leave the others without their answer
                self._loop.call_exception_handler({"message": "a waiter of the store raised", "exception": fault})

    def connection_lost(self, exc: Exception | None) -> None:
        """The other side closed, or we did."""
        self._end()

    def abort(self) -> None:
        """Close at once, and let nothing that still lies in our buffers reach the server."""
        if self.closed:
            return
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self._transport.abort()
        self._end()

    def _end(self) -> None:
        if self.closed:
            return
        self.closed = True
        if self.ended is not None:
            self.ended()
        lost, self.sent = self.sent, deque()
        for operation in lost:
            operation.fail(StoreError("it closed the connection"), sent=True)
