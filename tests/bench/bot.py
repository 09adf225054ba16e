"""The bot behind every proxy: takes a request with a Content-Length, gives one prebuilt answer, does as little as can be.

Run as a process of its own with the port as the argument.
"""

import asyncio
import sys
from typing import cast

import uvloop

from .answers import ANSWER, LENGTH


class Bot(asyncio.Protocol):
    """One connection of a proxy; requests come one after the other."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport of a TCP server is a full one; uvloop's does not say so by its class."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer each request once its body is whole."""
        if self._held:
            data = self._held + data
        head_end = data.find(b"\r\n\r\n")
        while head_end >= 0:
            length = LENGTH.search(data, 0, head_end)
            end = head_end + 4 + (int(length[1]) if length else 0)
            if len(data) < end:
                break
            self.transport.write(ANSWER)
            data = data[end:]
            head_end = data.find(b"\r\n\r\n")
        self._held = data


async def serve(port: int) -> None:
    """Until the process is ended."""
    server = await asyncio.get_running_loop().create_server(Bot, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
