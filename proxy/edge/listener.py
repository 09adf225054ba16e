"""The public listener: sockets, TLS, caps on connections, the sweeper of deadlines, and a drain that loses nothing."""

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections.abc import Callable
from typing import Final

from proxy.edge.announced import Announced, peeled
from proxy.edge.begun import Begun, Crowded
from proxy.edge.binding import BACKLOG
from proxy.edge.framing import Wire
from proxy.edge.handler import Handler
from proxy.edge.intake import Intake, Phase
from proxy.edge.seats import Seats
from proxy.edge.site import Journey
from proxy.networks import UNIX, Address, NetworkSet, parse_address
from proxy.parser import RawRequest
from proxy.policy.endpoints import Endpoint
from proxy.policy.model import Limits
from proxy.verdict import Reason

_log = logging.getLogger("hookgate.listener")

_SWEEP_SECONDS: Final = 0.25
_HANDSHAKE_SECONDS: Final = 5.0  # uvloop's own default is a minute
_SHUTDOWN_SECONDS: Final = 2.0
_YIELD_SECONDS: Final = 0.001
_YIELDS: Final = 3
"""How often we let others accept before we do it all the same: one of them may be stopped."""
_EXHAUSTED_SECONDS: Final = 0.1


class Listener:
    """All connections of one address. It is the ``Site`` of its connections."""

    def __init__(
        self,
        handler: Handler,
        limits: Limits,
        tls: ssl.SSLContext | None,
        *,
        proxied: bool = False,
        seats: Seats | None = None,
    ) -> None:
        """``seats`` where other workers accept at the same socket."""
        self.loop = asyncio.get_running_loop()
        self.handler = handler
        self.recall: Callable[[Intake, bytes], Journey | None] = handler.recall
        self.limits = limits
        self.draining = False
        self.proxied = proxied
        self.buffered = 0
        self.lines: set[Intake] = set()
        self.turned_away = 0
        self._per_peer: dict[str, int] = {}
        self.tls = tls
        """Of the connections to come: what was swapped counts for each new one."""
        self.unix = False
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._roomed = 0.0
        self._seats = seats
        self._shared: socket.socket | None = None
        self._welcoming: set[asyncio.Task[None]] = set()
        self._begun = Begun(limits.connections_per_client)
        self._yielded = 0

    async def open(self, address: Endpoint, sock: socket.socket) -> Endpoint:
        """Accept at a socket that is bound to this address; gives the real one (port 0 becomes a number)."""
        self.unix = bool(address.path)
        if self._seats is None and self.tls is None:
            self._server = await self.loop.create_server(lambda: Intake(self), sock=sock, backlog=BACKLOG)
        else:
            self._shared = sock
            sock.setblocking(False)
            self._count()
            self.loop.add_reader(sock.fileno(), self._come)
        self._sweeper = self.loop.call_later(_SWEEP_SECONDS, self._sweep)
        return address if address.path else Endpoint(address.host, sock.getsockname()[1])

    # -- a socket at which other workers accept too, or where each connection is encrypted by what holds at that moment

    def _come(self) -> None:
        """Somebody knocks. Where another worker holds fewer connections, that one gets a moment to be quicker."""
        if self._yielded < _YIELDS and self._seats is not None and self._seats.crowded():
            self._yielded += 1
            self._pause(_YIELD_SECONDS)
            return
        self._yielded = 0
        try:
            self._accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            pass  # somebody else took it, or it is gone
        except OSError:
            _log.exception("connections cannot be accepted")
            self._pause(_EXHAUSTED_SECONDS)

    def _accept(self) -> None:
        assert self._shared is not None  # noqa: S101 - only then are we called
        sock, name = self._shared.accept()
        peer = self._peer(name)
        if (self.proxied and (peer is None or peer not in self.handler.serving.trusted)) or (
            len(self._welcoming) >= self.limits.connections
        ):
            # SECURITY: ``admit`` would say so too, but not before a stranger's preamble and handshake had cost us something.
            self.turned_away += 1
            sock.close()
            return
        sock.setblocking(False)
        task = self.loop.create_task(self._welcome(sock, peer))
        self._welcoming.add(task)
        task.add_done_callback(self._welcomed)
        self._count()

    def _pause(self, seconds: float) -> None:
        if self._shared is not None:
            self.loop.remove_reader(self._shared.fileno())
            self.loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        if self._shared is not None:
            self.loop.add_reader(self._shared.fileno(), self._come)

    async def _welcome(self, sock: socket.socket, peer: Address | None) -> None:
        try:
            with self._begun.one_more(self._strange(peer)):
                if self.tls is None:
                    await self.loop.connect_accepted_socket(lambda: Intake(self), sock)
                elif not self.proxied:
                    await self._encrypted(sock, lambda: Intake(self))
                else:
                    # A balancer speaks before the handshake: its preamble is not encrypted, and what follows is a stranger's.
                    said, preamble = await asyncio.wait_for(peeled(sock), _HANDSHAKE_SECONDS)
                    with self._begun.one_more(self._strange(preamble.source)):
                        await self._encrypted(sock, lambda: Announced(self, said))
        except Crowded:
            self.turned_away += 1
            sock.close()
        except (OSError, ValueError):  # a preamble or a handshake that failed, as every scanner's does
            sock.close()

    async def _encrypted(self, sock: socket.socket, factory: Callable[[], Intake]) -> None:
        handshake, shutdown = _HANDSHAKE_SECONDS, _SHUTDOWN_SECONDS
        await self.loop.connect_accepted_socket(
            factory, sock, ssl=self.tls, ssl_handshake_timeout=handshake, ssl_shutdown_timeout=shutdown
        )

    def _strange(self, who: Address | None) -> str:
        """The group that is counted for somebody; none for whom we trust."""
        return "" if who is None or who is UNIX or who in self.handler.serving.trusted else who.group

    def _welcomed(self, task: asyncio.Task[None]) -> None:
        self._welcoming.discard(task)
        self._count()

    def _count(self) -> None:
        if self._seats is not None and not self.draining:
            self._seats.hold(len(self.lines) + len(self._welcoming))

    def _leave(self) -> None:
        if self._server is not None:
            self._server.close()
        if self._shared is None:
            return
        if self._seats is not None:
            self._seats.leave()
        self.loop.remove_reader(self._shared.fileno())
        # Who has knocked already is served: once the last worker has closed the socket, the kernel would reset them all.
        with contextlib.suppress(OSError):
            while True:
                self._accept()
        self._shared.close()
        self._shared = None

    # -- the connections' side

    def admit(self, line: Intake, transport: asyncio.Transport) -> Wire | None:
        """Count it in, or turn it away where a cap is reached."""
        peer = self._peer(transport.get_extra_info("peername"))
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
        self._count()
        encrypted = transport.get_extra_info("ssl_object")
        certificate = encrypted.getpeercert(True) if encrypted is not None else None
        return Wire(peer, peer, trusted, encrypted is not None, certificate)

    def _peer(self, name: object) -> Address | None:
        # SECURITY: who resets before it is accepted has no name any more, and must not pass for a unix socket's end.
        nameless = UNIX if self.unix else None
        return parse_address(name[0].partition("%")[0]) if isinstance(name, tuple) else nameless

    def proxied_for(self, wire: Wire, source: Address) -> Wire:
        """The wire of a connection whose preamble names its source."""
        return wire._replace(origin=source, trusted=source in self.handler.serving.trusted)

    def trust(self, trusted: NetworkSet) -> None:
        """Who is trusted has changed: open connections go by it from their next request on."""
        for line in self.lines:
            wire = line.wire
            # A PROXY preamble that names nobody vouches for nobody, see ``Intake``.
            named = not self.proxied or wire.origin is not wire.peer
            line.is_on(wire._replace(trusted=named and wire.origin in trusted))

    def gone(self, line: Intake) -> None:
        """Count it out."""
        if line in self.lines:
            self.lines.discard(line)
            self._count()
            group = line.wire.peer.group
            held = self._per_peer.get(group, 1) - 1
            if held:
                self._per_peer[group] = held
            else:
                self._per_peer.pop(group, None)

    def travel(self, line: Intake, message: RawRequest) -> Journey:
        """The journey of one request."""
        return self.handler.travel(line, message)

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
            try:
                line.sweep(now)
            except Exception:  # one line's trouble must not end the deadlines of all
                _log.exception("a connection's deadlines could not be kept")
        self._sweeper = self.loop.call_later(_SWEEP_SECONDS, self._sweep)

    # -- the end

    async def drain(self, seconds: float) -> bool:
        """Stop accepting and let requests under way end; True when none was left behind.

        Each line closes with its next answer; one that stays idle for a second is closed by the sweeper.
        """
        self._leave()
        self.draining = True
        deadline = time.monotonic() + seconds
        # A sender that has left does not take its request with it: what is forwarded must be settled.
        while (self.lines or self._welcoming or self.handler.in_flight) and time.monotonic() < deadline:  # noqa: ASYNC110 - once a process
            await asyncio.sleep(0.02)
        unfinished = any(line.phase in {Phase.BODY, Phase.BUSY, Phase.CLOSING} for line in self.lines)
        if self._sweeper is not None:
            self._sweeper.cancel()
        for line in list(self.lines):
            line.transport.abort()
        return not unfinished and not self.handler.in_flight
