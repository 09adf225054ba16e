"""The line between the parent and one worker: a socket pair that carries frames, and ends when either side does.

SECURITY: down the line goes pickle, up the line JSON: who faces strangers must not be able to make its parent run anything.
"""

import asyncio
import socket
from typing import Final

_LENGTH_BYTES: Final = 4
_MOST_BYTES: Final = 256 * 1024**2


class Channel:
    """One end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, sock: socket.socket) -> "Channel":
        """Take over one end of a socket pair."""
        reader, writer = await asyncio.open_unix_connection(sock=sock)
        return cls(reader, writer)

    def send(self, frame: bytes) -> None:
        """Queue a frame; an end that is gone is noticed by ``receive``."""
        if not self._writer.is_closing():
            self._writer.write(len(frame).to_bytes(_LENGTH_BYTES, "big") + frame)

    async def receive(self) -> bytes | None:
        """The next frame; ``None`` when the other side has ended."""
        try:
            length = int.from_bytes(await self._reader.readexactly(_LENGTH_BYTES), "big")
            return await self._reader.readexactly(length) if length <= _MOST_BYTES else None
        except (asyncio.IncompleteReadError, OSError):
            return None

    async def flush(self) -> None:
        """Wait until what was sent has left, or the other side is gone."""
        try:
            await self._writer.drain()
        except OSError:
            return

    def close(self) -> None:
        """End the line."""
        self._writer.close()
