"""A TCP proxy that harms what passes: delays, stalls, resets, cuts short, half-closes, splits into bytes, or is not there.

One fault at a time, for all connections and both directions, until ``clear``. Which and when is the caller's, by a seed.
"""

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import AsyncIterator
from enum import Enum, auto


class Fault(Enum):
    """What happens to the bytes."""

    DELAY = auto()
    """Each piece comes ``seconds`` later."""
    STALL = auto()
    """Nothing passes; all of it does once the fault is cleared."""
    RESET = auto()
    """Open connections are reset now, new ones at their first bytes."""
    TRUNCATE = auto()
    """Of the next piece towards the client only the first half comes, then an orderly end."""
    HALF_CLOSE = auto()
    """The client is told that nothing more comes, at the next piece towards it; what it sends still passes."""
    BYTES = auto()
    """Every byte is a segment of its own."""
    REFUSE = auto()
    """Nobody listens; open connections go on."""


class _Side:
    """One end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        sock: socket.socket = writer.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def reset(self) -> None:
        """Close with a reset."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        if not self.writer.transport.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class FaultProxy:
    """Listens on ``port`` of 127.0.0.1 (0: the kernel chooses) and passes to ``target``, which may be changed."""

    def __init__(self, target: int, port: int = 0) -> None:
        self.target = target
        self.port = port
        self.connections = 0
        """Accepted so far."""
        self._fault: Fault | None = None
        self._seconds = 0.0
        self._clear = asyncio.Event()
        self._clear.set()
        self._pairs: dict[asyncio.Task[None], tuple[_Side, _Side] | None] = {}
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Begin to listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, reuse_address=True)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Reset everything."""
        await self.clear()
        self._hush()
        for task in list(self._pairs):
            task.cancel()
        await asyncio.gather(*self._pairs, return_exceptions=True)

    async def inflict(self, fault: Fault, seconds: float = 0.0) -> None:
        """Begin to harm."""
        await self.clear()
        self._fault = fault
        self._seconds = seconds
        if fault is Fault.STALL:
            self._clear.clear()
        elif fault is Fault.REFUSE:
            self._hush()
        elif fault is Fault.RESET:
            for pair in [pair for pair in self._pairs.values() if pair]:
                pair[0].reset()
                pair[1].reset()

    async def clear(self) -> None:
        """Pass everything as it comes."""
        self._fault = None
        self._clear.set()
        if self._server is None:
            await self.open()

    def _hush(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pairs[task] = None
        self.connections += 1
        client = _Side(reader, writer)
        try:
            far = _Side(*await asyncio.open_connection("127.0.0.1", self.target))
        except OSError:
            client.reset()
            del self._pairs[task]
            return
        self._pairs[task] = (client, far)
        try:
            await asyncio.gather(self._pump(client, far, back=False), self._pump(far, client, back=True))
        except (OSError, asyncio.CancelledError):
            client.reset()
            far.reset()
        finally:
            del self._pairs[task]
            client.writer.close()
            far.writer.close()

    async def _pump(self, source: _Side, sink: _Side, *, back: bool) -> None:
        while data := await source.reader.read(1 << 16):
            await self._clear.wait()
            fault = self._fault
            if fault is Fault.RESET:
                raise ConnectionResetError
            if fault is Fault.DELAY:
                await asyncio.sleep(self._seconds)
            if fault is Fault.BYTES:
                await _by_bytes(sink.writer, data)
                continue
            if back and fault is Fault.TRUNCATE:
                sink.writer.write(data[: len(data) // 2])
                break
            if back and fault is Fault.HALF_CLOSE:
                break
            sink.writer.write(data)
            await sink.writer.drain()
        if not sink.writer.transport.is_closing():
            with contextlib.suppress(OSError):
                sink.writer.write_eof()


async def _by_bytes(writer: asyncio.StreamWriter, data: bytes) -> None:
    """In a turn of the loop each, so that each is written alone."""
    for index in range(len(data)):
        writer.write(data[index : index + 1])
        await asyncio.sleep(0)
    await writer.drain()


@contextlib.asynccontextmanager
async def proxied(target: int, port: int = 0) -> AsyncIterator[FaultProxy]:
    """A fault proxy that is open, until the end of the block."""
    proxy = FaultProxy(target, port)
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()


async def torment(proxy: FaultProxy, kinds: tuple[Fault, ...], *, every: float, seed: int) -> None:
    """Inflict one of ``kinds`` after the other, each for up to half of ``every`` seconds, until cancelled."""
    chance = random.Random(seed)  # noqa: S311 - a test's
    try:
        while True:
            await asyncio.sleep(every * chance.uniform(0.4, 0.6))
            await proxy.inflict(chance.choice(kinds), chance.uniform(0, every / 20))
            await asyncio.sleep(every * chance.uniform(0.1, 0.5))
            await proxy.clear()
    finally:
        await proxy.clear()
