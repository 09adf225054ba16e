"""The public listener: sockets, TLS, caps on connections, the sweeper of deadlines, and a drain that loses nothing."""

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import time
from pathlib import Path
from typing import Final

from aiohttp.http_parser import RawRequestMessage

from proxy.edge.framing import Wire
from proxy.edge.handler import Handler
from proxy.edge.intake import Intake, Journey, Phase
from proxy.errors import StartError
from proxy.networks import UNIX, Address, NetworkSet, parse_address
from proxy.policy.model import Limits
from proxy.policy.values import Endpoint
from proxy.verdict import Reason

_BACKLOG: Final = 2048
_SWEEP_SECONDS: Final = 0.25


class Listener:
    """All connections of one address. It is the ``Site`` of its connections."""

    def __init__(self, handler: Handler, limits: Limits, tls: ssl.SSLContext | None, *, proxied: bool = False) -> None:
        self.loop = asyncio.get_running_loop()
        self.handler = handler
        self.limits = limits
        self.draining = False
        self.proxied = proxied
        self.buffered = 0
        self.lines: set[Intake] = set()
        self.turned_away = 0
        self._per_peer: dict[str, int] = {}
        self._tls = tls
        self.unix = False
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._roomed = 0.0

    async def open(self, address: Endpoint, sock: socket.socket) -> Endpoint:
        """Accept at a socket that is bound to this address; gives the real one (port 0 becomes a number)."""
        self.unix = bool(address.path)
        if self._tls is None:
            self._server = await self.loop.create_server(lambda: Intake(self), sock=sock, backlog=_BACKLOG)
        else:
            self._server = await self.loop.create_server(
                lambda: Intake(self),
                sock=sock,
                backlog=_BACKLOG,
                ssl=self._tls,
                ssl_handshake_timeout=5.0,  # uvloop's own default is a minute
                ssl_shutdown_timeout=2.0,
            )
        self._sweeper = self.loop.call_later(_SWEEP_SECONDS, self._sweep)
        return address if address.path else Endpoint(address.host, sock.getsockname()[1])

    # -- the connections' side

    def admit(self, line: Intake, transport: asyncio.Transport) -> Wire | None:
        """Count it in, or turn it away where a cap is reached."""
        peername = transport.get_extra_info("peername")
        # SECURITY: who resets before it is accepted has no name any more, and must not pass for a unix socket's end.
        nameless = UNIX if self.unix else None
        peer = parse_address(peername[0].partition("%")[0]) if isinstance(peername, tuple) else nameless
        if peer is None:
            return None
        trusted = peer in self.handler.serving.trusted
        if self.proxied and not trusted:
            # SECURITY: a stranger's preamble would let it choose its own address.
            return None
        if len(self.lines) >= self.limits.connections and not self._room():
            self.turned_away += 1
            return None
        held = self._per_peer.get(peer.group, 0)  # after room was made: that may have closed some of its own
        if held >= self.limits.connections_per_client and not trusted and peer is not UNIX:
            self.turned_away += 1
            return None
        self._per_peer[peer.group] = held + 1
        self.lines.add(line)
        encrypted = transport.get_extra_info("ssl_object")
        certificate = encrypted.getpeercert(True) if encrypted is not None else None
        return Wire(peer, peer, trusted, encrypted is not None, certificate)

    def proxied_for(self, wire: Wire, source: Address) -> Wire:
        """The wire of a connection whose preamble names its source."""
        return wire._replace(origin=source, trusted=source in self.handler.serving.trusted)

    def trust(self, trusted: NetworkSet) -> None:
        """Who is trusted has changed: open connections go by it from their next request on."""
        for line in self.lines:
            wire = line.wire
            # A PROXY preamble that names nobody vouches for nobody, see ``Intake``.
            named = not self.proxied or wire.origin is not wire.peer
            line.wire = wire._replace(trusted=named and wire.origin in trusted)

    def gone(self, line: Intake) -> None:
        """Count it out."""
        if line in self.lines:
            self.lines.discard(line)
            group = line.wire.peer.group
            held = self._per_peer.get(group, 1) - 1
            if held:
                self._per_peer[group] = held
            else:
                self._per_peer.pop(group, None)

    def travel(self, line: Intake, message: RawRequestMessage) -> Journey:
        """The journey of one request."""
        return self.handler.travel(line, message)

    def recall(self, line: Intake, data: bytes) -> Journey | None:
        """The same, where its head is known already."""
        return self.handler.recall(line, data)

    def wall(self, line: Intake, reason: Reason) -> None:
        """Answer and count what never became a request."""
        self.handler.wall(line, reason)

    def _room(self) -> bool:
        """Close some connections that wait idly, at most four times a second, so that idling cannot lock others out."""
        now = time.monotonic()
        if now - self._roomed >= _SWEEP_SECONDS:
            self._roomed = now
            idle = [line for line in self.lines if line.phase is Phase.IDLE]
            for line in idle[:64]:
                line.transport.abort()
                self.gone(line)
        return len(self.lines) < self.limits.connections

    def _sweep(self) -> None:
        now = time.monotonic()
        for line in list(self.lines):
            line.sweep(now)
        self._sweeper = self.loop.call_later(_SWEEP_SECONDS, self._sweep)

    # -- the end

    async def drain(self, seconds: float) -> bool:
        """Stop accepting and let requests under way end; True when none was left behind.

        Each line closes with its next answer; one that stays idle for a second is closed by the sweeper.
        """
        if self._server is not None:
            self._server.close()
        self.draining = True
        deadline = time.monotonic() + seconds
        # A sender that has left does not take its request with it: what is forwarded must be settled.
        while (self.lines or self.handler.in_flight) and time.monotonic() < deadline:  # noqa: ASYNC110 - once a process
            await asyncio.sleep(0.02)
        unfinished = any(line.phase in {Phase.BODY, Phase.BUSY, Phase.CLOSING} for line in self.lines)
        if self._sweeper is not None:
            self._sweeper.cancel()
        for line in list(self.lines):
            line.transport.abort()
        return not unfinished and not self.handler.in_flight


def bind(address: Endpoint, unix_mode: int = 0o660) -> socket.socket:
    """A listening socket, or a ``StartError`` that names the remedy. ``unix_mode`` says who may use a unix socket."""
    try:
        if address.path:
            return _bind_unix(Path(address.path), unix_mode)
        family, kind, proto, _, bound = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, proto)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if address.host == "::" else 1)
        try:
            sock.bind(bound)
            sock.listen(_BACKLOG)
        except OSError:
            sock.close()
            raise
    except OSError as error:
        raise StartError(f"cannot listen on {address}: {_remedy(error, address)}") from None
    return sock


def _remedy(error: OSError, address: Endpoint) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another process listens there: end it or choose another address"
    why = (error.strerror or str(error)).lower()
    if address.path:
        return f"{why}: make {os.path.dirname(address.path)} a folder that this user may write to, or choose another address"
    return {
        errno.EADDRNOTAVAIL: "no interface of this machine has this address: use 0.0.0.0 or one of its own",
        errno.EACCES: "ports below 1024 need a privilege: choose a higher one or grant CAP_NET_BIND_SERVICE",
    }.get(error.errno or 0, f"{why}: choose another address")


def _bind_unix(path: Path, mode: int) -> socket.socket:
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    if path.exists() and not path.is_socket():
        # Somebody's: it is not ours to remove.
        raise StartError(f"cannot listen on unix:{path}: a file that is no socket has this name: move it away")
    sock = socket.socket(socket.AF_UNIX)
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as probe:
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            # What a dead process left behind; a live one would have answered.
            path.unlink(missing_ok=True)
        else:
            sock.close()
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    sock.bind(str(path))
    path.chmod(mode)
    sock.listen(_BACKLOG)
    return sock
