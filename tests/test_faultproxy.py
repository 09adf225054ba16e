"""The fault proxy does what it says, so that a proof which survives it has survived something."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest

from tests.faultproxy import Fault, FaultProxy, proxied, torment

BODY = b"0123456789" * 10


class Lines:
    """A server that repeats what it hears, and the proxy in front of it."""

    def __init__(self, proxy: FaultProxy, heard: list[bytes]) -> None:
        self.proxy = proxy
        self.heard = heard
        """What came to the server, read by read, and an empty one for each end."""

    async def until(self, count: int, word: bytes) -> None:
        """Wait until the server has heard this so often."""
        async with asyncio.timeout(10):
            while self.heard.count(word) < count:  # noqa: ASYNC110 - a bounded wait
                await asyncio.sleep(0.01)

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A client's connection."""
        return await asyncio.open_connection("127.0.0.1", self.proxy.port)


@pytest.fixture
async def lines() -> AsyncIterator[Lines]:
    """Server, proxy, and how to come there."""
    heard: list[bytes] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                heard.append(data)
                writer.write(data)
            heard.append(b"")
        except OSError:
            heard.append(b"reset")
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with proxied(server.sockets[0].getsockname()[1]) as proxy:
        yield Lines(proxy, heard)
    server.close()


async def say(line: tuple[asyncio.StreamReader, asyncio.StreamWriter], count: int = len(BODY)) -> bytes:
    """Send the body; as much of its echo."""
    line[1].write(BODY)
    async with asyncio.timeout(10):
        return await line[0].readexactly(count)


async def test_nothing(lines: Lines) -> None:
    """Without a fault everything passes, ends as well."""
    line = await lines.open()
    assert await say(line) == BODY
    line[1].write_eof()
    assert await line[0].read() == b""
    await lines.until(1, b"")
    assert lines.heard == [BODY, b""]
    line[1].close()


async def test_delay(lines: Lines) -> None:
    """Each piece comes later, and whole."""
    line = await lines.open()
    await lines.proxy.inflict(Fault.DELAY, 0.1)
    began = time.monotonic()
    assert await say(line) == BODY
    assert time.monotonic() - began >= 0.2
    line[1].close()


async def test_stall(lines: Lines) -> None:
    """Nothing passes until it is cleared, then all of it does."""
    line = await lines.open()
    assert await say(line) == BODY
    await lines.proxy.inflict(Fault.STALL)
    line[1].write(BODY)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(line[0].read(1), 0.2)
    assert lines.heard == [BODY]
    await lines.proxy.clear()
    assert await asyncio.wait_for(line[0].readexactly(len(BODY)), 10) == BODY
    line[1].close()


async def test_reset(lines: Lines) -> None:
    """Open connections are reset on both sides, new ones at their first bytes; nothing of those comes through."""
    line = await lines.open()
    assert await say(line) == BODY
    await lines.proxy.inflict(Fault.RESET)
    with pytest.raises(ConnectionResetError):
        await line[0].read(1)
    other = await lines.open()
    with pytest.raises(ConnectionResetError):
        await say(other)
    await lines.until(2, b"reset")
    assert lines.heard == [BODY, b"reset", b"reset"]
    await lines.proxy.clear()
    third = await lines.open()
    assert await say(third) == BODY
    third[1].close()


async def test_truncate(lines: Lines) -> None:
    """Half of a piece comes back, then an orderly end."""
    line = await lines.open()
    await lines.proxy.inflict(Fault.TRUNCATE)
    line[1].write(BODY)
    assert await line[0].read() == BODY[:50]
    line[1].close()


async def test_half_close(lines: Lines) -> None:
    """The client hears the end, and what it says still arrives."""
    line = await lines.open()
    await lines.proxy.inflict(Fault.HALF_CLOSE)
    line[1].write(BODY)
    assert await line[0].read() == b""
    line[1].write(b"still here")
    line[1].write_eof()
    await lines.until(1, b"")
    assert b"".join(lines.heard) == BODY + b"still here"
    line[1].close()


async def test_bytes(lines: Lines) -> None:
    """Bytes come one by one, all of them."""
    line = await lines.open()
    await lines.proxy.inflict(Fault.BYTES)
    assert await say(line) == BODY
    assert len(lines.heard) > len(BODY) // 5  # the reader is not woken for each
    line[1].close()


async def test_refuse(lines: Lines) -> None:
    """Nobody listens, open connections go on; cleared, the same port listens again."""
    line = await lines.open()
    assert await say(line) == BODY
    await lines.proxy.inflict(Fault.REFUSE)
    with pytest.raises(ConnectionRefusedError):
        await lines.open()
    assert await say(line) == BODY
    await lines.proxy.clear()
    other = await lines.open()
    assert await say(other) == BODY
    line[1].close()
    other[1].close()


async def test_nobody_behind(lines: Lines) -> None:
    """Where the target does not listen the client is reset."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        lines.proxy.target = sock.getsockname()[1]
        line = await lines.open()
        with pytest.raises(ConnectionResetError):
            await say(line)


async def test_torment(lines: Lines) -> None:
    """A seeded run of faults ends with none."""
    task = asyncio.create_task(torment(lines.proxy, tuple(Fault), every=0.02, seed=1))
    await asyncio.sleep(0.5)
    task.cancel()
    await asyncio.wait([task])
    line = await lines.open()
    assert await say(line) == BODY
    line[1].close()
