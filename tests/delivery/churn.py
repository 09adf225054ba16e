"""Senders that come and go: connections of a few requests each, whole, in pieces, chunked, broken off at any point, reset."""

import asyncio
import random
import socket
import struct

from tests.edge.lines import chunked, request
from tests.senders.answers import read_answer

_BODY = b'{"update_id":%d,"message":{"message_id":1,"date":1700000000,"chat":{"id":1,"type":"private"},"text":"%b"}}'
_JSON = b"Content-Type: application/json\r\n"


class Churn:
    """``answered`` and ``broken`` count requests; a connection ends after a few."""

    def __init__(self, port: int, seed: int = 1) -> None:
        self.port = port
        self.answered = 0
        self.broken = 0
        self.statuses: set[int] = set()
        self._number = 0
        self._chance = random.Random(seed)  # noqa: S311 - a test's

    @property
    def done(self) -> int:
        """Requests so far."""
        return self.answered + self.broken

    async def run(self, count: int, at_once: int = 16) -> None:
        """So many requests more."""
        goal = self.done + count

        async def come_and_go() -> None:
            while self.done < goal:
                await self._connection()

        await asyncio.gather(*(come_and_go() for _ in range(at_once)))

    async def _connection(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for _ in range(self._chance.choice((1, 2, 5, 20, 60))):
                raw = self._request()
                if self._chance.random() < 0.05:
                    self.broken += 1
                    writer.write(raw[: self._chance.randrange(1, len(raw) + 1)])
                    await asyncio.sleep(self._chance.choice((0, 0.001)))
                    self._break(writer)
                    return
                await self._write(writer, raw)
                answer = await read_answer(reader)
                self.answered += 1
                self.statuses.add(answer.status)
                if not answer.reusable:
                    return
        finally:
            writer.transport.abort()

    def _request(self) -> bytes:
        # One in ten is a repeat.
        self._number += self._chance.random() < 0.9
        body = _BODY % (self._number, b"x" * self._chance.choice((10, 1000, 30_000)))
        if self._chance.random() < 0.05:
            return chunked((body[:100], body[100:]), path=b"/telegram", fields=_JSON)
        if self._chance.random() < 0.02:
            return request(body, path=b"/nowhere", fields=_JSON)
        return request(body, path=b"/telegram", fields=_JSON)

    async def _write(self, writer: asyncio.StreamWriter, raw: bytes) -> None:
        if self._chance.random() < 0.05:
            cut = self._chance.randrange(len(raw))
            writer.write(raw[:cut])
            await asyncio.sleep(0.001)
            raw = raw[cut:]
        writer.write(raw)

    def _break(self, writer: asyncio.StreamWriter) -> None:
        """Half of them with a reset."""
        if self._chance.random() < 0.5:
            sock: socket.socket = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
