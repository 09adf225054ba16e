"""A bot that writes down each update that it executes before it answers; what is written survives ``kill -9``.

``python -m tests.delivery.witness JOURNAL MILLISECONDS`` prints its port. An answer takes a random time up to that many.
"""

import asyncio
import os
import random
import re
import sys

_NUMBER = re.compile(rb'"update_id":(\d+)')
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Witness(asyncio.Protocol):
    """One connection of the gate."""

    def __init__(self, journal: int, slowness: float) -> None:
        self._journal = journal
        self._slowness = slowness
        self._held = b""
        self._busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Execute each whole request, one after the other."""
        self._held += data
        self._go_on()

    def _go_on(self) -> None:
        while not self._busy and (end := self._held.find(b"\r\n\r\n")) >= 0:
            head = self._held[:end]
            length = _LENGTH.search(head)
            whole = end + 4 + int(length[1] if length else 0)
            if len(self._held) < whole:
                return
            body, self._held = self._held[end + 4 : whole], self._held[whole:]
            number = _NUMBER.search(body)
            os.write(self._journal, b"%b %d\n" % (number[1] if number else b"-1", b"\r\nHookgate-Redelivery: maybe" in head))
            if self._slowness:
                self._busy = True
                asyncio.get_running_loop().call_later(random.uniform(0, self._slowness), self._answer)  # noqa: S311 - a test's
            else:
                self._transport.write(_OK)

    def _answer(self) -> None:
        self._busy = False
        if not self._transport.is_closing():
            self._transport.write(_OK)
            self._go_on()


async def main() -> None:
    """Serve until killed."""
    journal = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    slowness = float(sys.argv[2]) / 1000
    server = await asyncio.get_running_loop().create_server(lambda: Witness(journal, slowness), "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
