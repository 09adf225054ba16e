"""Connections that a balancer announces before their TLS handshake: its PROXY preamble is taken off the bare socket first."""

import asyncio
import socket

from proxy.edge.intake import Intake
from proxy.edge.proxyprotocol import LONGEST, Preamble, read_preamble
from proxy.edge.site import Site


class Announced(Intake):
    """A connection whose PROXY preamble came before its encryption."""

    __slots__ = ("_said",)

    def __init__(self, site: Site[Intake], preamble: bytes) -> None:
        """``preamble`` as it came."""
        super().__init__(site)
        self._said = preamble

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The preamble is read as if it had come by this transport."""
        super().connection_made(transport)
        self.data_received(self._said)


async def peeled(sock: socket.socket) -> tuple[bytes, Preamble]:
    """Take the preamble off a connection and leave what follows, a TLS handshake, in the socket. Gives its bytes and its sense.

    Raises:
        ValueError: this is no preamble, or the connection ended in the middle of it.
        OSError: the connection broke.
    """
    taken = b""
    while True:
        await _readable(sock)
        data = sock.recv(LONGEST, socket.MSG_PEEK)
        preamble = read_preamble(taken + data)
        if preamble is None and not data:
            raise ValueError("a PROXY preamble without an end")
        # While the preamble is not whole, every byte so far is its own.
        taken += sock.recv(len(data) if preamble is None else preamble.size - len(taken))
        if preamble is not None:
            return taken, preamble


async def _readable(sock: socket.socket) -> None:
    loop, number = asyncio.get_running_loop(), sock.fileno()
    ready = asyncio.Event()
    loop.add_reader(number, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(number)
