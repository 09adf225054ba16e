"""One sender's connection: bytes in, one request at a time, one write out. aiohttp's C parser under a protocol of our own.

A request's journey is a coroutine that this connection steps by itself (no Task, no timer a request): a journey that waits
for nothing ends inside ``data_received``. Deadlines are looked at by one sweeper for all connections.

Rules that must hold:
* the parser never decodes (``auto_decompress=False``) and never runs ahead: bytes behind a request wait until it is answered;
* after a chunked request the connection is closed, see ``_feed``;
* what the parser says about a bad request is never logged, echoed or kept: it quotes the sender's bytes, secrets among them.
"""

import asyncio
import logging
import time
from enum import Enum
from typing import Final, cast

from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from aiohttp.http_parser import HttpRequestParser
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from proxy.edge.answers import CONTINUE
from proxy.edge.framing import Wire
from proxy.edge.proxyprotocol import read_preamble
from proxy.edge.site import Journey, Site
from proxy.messages import Head
from proxy.parser import NoFlow, Parser, RawRequest
from proxy.parties import Rest
from proxy.policy.model import Limits
from proxy.verdict import Reason
from proxy.wakeup import Wakeup

_log = logging.getLogger("hookgate.intake")

_LINGER_BYTES: Final = 256 * 1024
_LINGER_SECONDS: Final = 1.0
_HELD_BYTES: Final = 64 * 1024
_RATE_GRACE: Final = 2.0
_AT_ONCE: Final = 16
"""Pipelined requests answered in one turn of the loop: then it is the turn of other connections."""
_DRAIN_IDLE: Final = 1.0
"""While draining, an idle sender may still send one request, and is told to close; so long we wait for it."""


class Phase(Enum):
    """What the connection waits for; each has its deadline."""

    HEAD = 1
    IDLE = 2
    BODY = 3
    BUSY = 4
    LINGER = 5
    CLOSING = 6


_HEAD: Final = Phase.HEAD
_IDLE: Final = Phase.IDLE
_BUSY: Final = Phase.BUSY
_ENDINGS: Final = frozenset({Phase.LINGER, Phase.CLOSING})


class Intake(asyncio.Protocol):
    """One connection of a sender."""

    __slots__ = (
        "_body", "_body_limit", "_body_size", "_close", "_ended", "_framed", "_held", "_held_bytes", "_journey", "_lined",
        "_parsed", "_parser", "_payload", "_preamble", "_read_at", "_rest", "_since", "_site", "_stuck_since",
        "_unread_bytes", "_waiter", "at_boundary", "key", "phase", "raw", "speaks_1_0", "transport", "wire",
    )  # fmt: skip

    transport: asyncio.Transport
    wire: Wire

    def __init__(self, site: "Site[Intake]") -> None:
        self._site = site
        self._parser = request_parser(site.loop, site.limits)
        self._journey: Journey | None = None
        self._payload: StreamReader = EMPTY_PAYLOAD
        self._body: list[bytes] = []
        self._body_size = 0
        self._body_limit = 0
        self._waiter: Wakeup[Reason | None] | None = None
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._unread_bytes = 0
        """Bytes of an unfinished head, or of what is read only to be thrown away."""
        self._lined = False
        """The unfinished head has its request line."""
        self._close = False
        self._ended = False
        """The sender has said all it will say."""
        self._rest: Rest | None = None
        self._framed = False
        self._since = 0.0
        self._read_at = 0.0
        self._preamble: bytes | None = b"" if site.proxied else None
        self._stuck_since = 0.0
        self._parsed = False
        """The request under way came through the parser."""
        self.key = b""
        """The wire's, see ``Wire.key``."""
        self.at_boundary = True
        """The parser has used up all it was given: the next byte begins a request."""
        self.raw: bytes | None = None
        """What the request under way was read from, where that was one piece."""
        self.phase = Phase.HEAD
        self.speaks_1_0 = False

    # -- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit or turn away; a fresh connection has the header deadline to say something."""
        # uvloop's transports are not asyncio's by inheritance, only by what they can do.
        self.transport = transport = cast(asyncio.Transport, transport)
        self._since = time.monotonic()
        wire = self._site.admit(self, transport)
        if wire is None:
            self._close = True
            transport.abort()
        else:
            self.is_on(wire)

    def data_received(self, data: bytes) -> None:
        """Bytes go to the head, the body, the queue behind a request under way, or nowhere."""
        phase = self.phase
        if phase is _IDLE or (phase is _HEAD and self._preamble is None):
            if self._close:
                return
            journey = self._site.recall(self, data) if self.at_boundary else None
            if journey is None:
                self._feed(data)
            else:
                self.phase = _BUSY
                self.speaks_1_0 = False
                self._journey = journey
                self._resume(None)
        elif phase is Phase.BODY:
            self._more(data)
        elif phase is _BUSY:
            self._held.append(data)
            self._held_bytes += len(data)
            if self._held_bytes > _HELD_BYTES:
                self.transport.pause_reading()
        elif phase is Phase.LINGER:
            self._unread_bytes += len(data)
            if self._unread_bytes > _LINGER_BYTES:
                self.transport.abort()
        elif not self._close:
            self._feed(self._after_preamble(data))

    def _after_preamble(self, data: bytes) -> bytes:
        """What follows the PROXY preamble; nothing while it is not whole. SECURITY: a wrong one gets no answer."""
        held = (self._preamble or b"") + data
        try:
            preamble = read_preamble(held)
        except ValueError:
            self._close = True
            self.transport.abort()
            return b""
        if preamble is None:
            self._preamble = held
            return b""
        self._preamble = None
        if preamble.source is not None:
            self.is_on(self._site.proxied_for(self.wire, preamble.source))
        else:
            # SECURITY: the balancer vouches for nobody, so what comes through it may not say who it is.
            self.is_on(self.wire._replace(trusted=False))
        return held[preamble.size :]

    def eof_received(self) -> bool:
        """The sender has said all it will say. A request under way, and whole ones behind it, are answered still."""
        if self.phase is Phase.BODY:
            self._close = True
            self._settle_body(Reason.CLIENT_ABORTED)
        self._ended = True
        return self.phase is Phase.BUSY

    def connection_lost(self, exc: Exception | None) -> None:
        """A journey under way goes on to its end: what was forwarded must be settled."""
        self._close = True
        self._site.gone(self)
        if self.phase is Phase.BODY:
            self._settle_body(Reason.CLIENT_ABORTED)
        if self._rest is not None:
            rest, self._rest = self._rest, None
            rest.abort()

    def pause_writing(self) -> None:
        """The sender takes our answer slowly."""
        self._stuck_since = time.monotonic()
        if self._rest is not None:
            self._rest.pause()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._stuck_since = 0.0
        if self._rest is not None:
            self._rest.resume()
        else:
            self._go_on()

    # -- the journey's side

    @property
    def closing(self) -> bool:
        """No further request will be read from this connection."""
        return self._close or self._site.draining

    def is_on(self, wire: Wire) -> None:
        """What is known of the connection has changed."""
        self.wire = wire
        self.key = wire.key()

    @property
    def left(self) -> bool:
        """``Sender``: gone, or it has said all it will say."""
        return self._ended or self.transport.is_closing()

    @property
    def unread(self) -> bool:
        """Bytes of the body are still to come, so the connection cannot be used again."""
        return not self._payload.is_eof()

    def take(self, limit: int) -> bytes | Reason | None:
        """The whole body if it is here already; ``None`` when it has to be awaited."""
        payload = self._payload
        if not payload.is_eof():
            return None
        if payload is EMPTY_PAYLOAD:
            return b""
        # The stream's own reading costs three calls a chunk; ``prove`` shows at every start that this is what it would give.
        pieces = payload._buffer
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return body if len(body) <= limit else Reason.BODY_TOO_LARGE

    async def whole(self, limit: int, head: Head) -> bytes | Reason:
        """Await the rest of the body, bounded by ``limit`` bytes and the body's deadlines. Invites it where it waits for that."""
        site = self._site
        if site.buffered + (head.length or 0) > site.limits.buffered_bytes:
            return Reason.OVERLOADED
        # From HTTP/1.0 the expectation has to be ignored (RFC 9110 section 10.1.1).
        if b"expect" in head.named and not (self._payload.total_bytes or self._held or self.left or self.speaks_1_0):
            self.transport.write(CONTINUE)
        self._body_limit = limit
        self._since = self._read_at = time.monotonic()
        waiter: Wakeup[Reason | None] = Wakeup(site.loop)
        self._waiter = waiter
        self.phase = Phase.BODY
        self._collect()
        if self._held:  # it came while the head was judged
            self._more(self._unhold())
        if self.left:
            self._settle_body(Reason.CLIENT_ABORTED)
        stop = await waiter
        self._waiter = None
        self.phase = Phase.BUSY
        if stop is not None:
            return stop
        body = b"".join(self._body)
        self._body = []
        return body

    def answer(self, data: bytes, *, close: bool) -> None:
        """Write one whole answer."""
        if close:
            self._close = True
        if not self.transport.is_closing():
            self.transport.write(data)

    def stream(self, rest: Rest, *, framed: bool) -> None:
        """Let the rest of a long reply follow, in chunks where its length is unknown (RFC 9112 section 7.1)."""
        self._rest = rest
        self._framed = framed
        if self.transport.is_closing():
            self._rest = None
            rest.abort()
        else:
            rest.start(self)
            if self._stuck_since and self._rest is not None:
                rest.pause()

    def write(self, data: bytes) -> None:
        """``Sink``: the next bytes of a long reply."""
        if data and not self.transport.is_closing():
            self.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._framed else data)

    def end(self, *, whole: bool) -> None:
        """``Sink``: SECURITY: a reply that broke off must not look finished, so the connection dies with it."""
        self._rest = None
        if not whole:
            self._close = True
            self.transport.abort()
        elif self._framed and not self.transport.is_closing():
            self.transport.write(b"0\r\n\r\n")
        if self._journey is None and whole and self._next():
            self._feed(b"")

    # -- the parser's side

    def _feed(self, data: bytes) -> None:
        served = 0
        while True:
            self.at_boundary = self.at_boundary and not data
            try:
                messages = self._parser.feed_data(data)[0]
            except Exception as error:
                self._wall(self._broken(error, data))
                return
            if not messages:
                if self._held:
                    # Not before the parser has used up what it holds: fed with each request, it would hold ever more.
                    data = self._unhold()
                    continue
                if self._ended:
                    self._hang_up(unread=False)
                elif data:
                    self._partial(data)
                return
            message, self._payload = messages[0]
            self.raw = data if len(data) <= _HELD_BYTES else None
            if not self._advance(self._begin(message)):
                return
            served += 1
            if served == _AT_ONCE:
                # SECURITY: a read may hold ten thousand small requests; answered in one go they would keep out everybody else.
                self._site.loop.call_soon(self._go_on)
                return
            if not self._next():
                return
            data = b""

    def _begin(self, message: RawRequest) -> Journey:
        self._unread_bytes = 0
        self._parsed = True
        self.phase = _BUSY
        self.speaks_1_0 = message.version[1] == 0
        # SECURITY: with aiohttp 3.14.5 the last trailer of a chunked request becomes the first header of the next one on
        # that parser; a chunked request is therefore the last on its connection. So is one of HTTP/1.0, for who speaks it
        # waits for the close.
        self._close = message.should_close or message.chunked or self.speaks_1_0
        self._journey = journey = self._site.travel(self, message)
        return journey

    def _broken(self, error: Exception, data: bytes) -> Reason:
        if isinstance(error, LineTooLong):
            lined = not data or (self._lined and self._unread_bytes) or _has_line(data[: self._site.limits.header_bytes])
            return Reason.HEADER_TOO_LARGE if lined else Reason.URI_TOO_LONG
        many = isinstance(error, BadHttpMessage) and error.message.startswith("Too many headers")
        return Reason.HEADER_TOO_LARGE if many else Reason.MALFORMED_REQUEST

    def _partial(self, data: bytes) -> None:
        if self.phase is Phase.IDLE or not self._unread_bytes:
            self.phase = Phase.HEAD
            self._since = time.monotonic()
            self._lined = False
        self._lined = self._lined or _has_line(data)
        self._unread_bytes += len(data)
        if self._unread_bytes > self._site.limits.header_bytes + 1024:
            self._wall(Reason.HEADER_TOO_LARGE)

    def _more(self, data: bytes) -> None:
        self._read_at = time.monotonic()
        self._unread_bytes += len(data)
        try:
            self._parser.feed_data(data)
            self._collect()
        except Exception:
            self._close = True
            self._settle_body(Reason.MALFORMED_REQUEST)

    def _collect(self) -> None:
        payload = self._payload
        chunk = payload.read_nowait()
        if chunk:
            self._body.append(chunk)
            self._body_size += len(chunk)
            self._site.buffered += len(chunk)
        if self._body_size > self._body_limit:
            self._settle_body(Reason.BODY_TOO_LARGE)
        elif payload.is_eof():
            self._settle_body(None)
        elif self._site.buffered > self._site.limits.buffered_bytes:
            self._settle_body(Reason.OVERLOADED)
        elif self._unread_bytes > 4 * self._body_size + 64 * 1024:
            # One-byte chunks and endless chunk extensions cost far more to parse than to send.
            self._settle_body(Reason.MALFORMED_REQUEST)

    def _settle_body(self, stop: Reason | None) -> None:
        if self._waiter is not None and not self._waiter.settled:
            self._waiter.set_result(stop)

    def _wall(self, reason: Reason) -> None:
        self._close = True
        self._site.wall(self, reason)
        self._hang_up(unread=True)

    # -- stepping the journey

    def _advance(self, journey: Journey) -> bool:
        """Run the journey until it waits; True when it has ended."""
        try:
            waiting = journey.send(None)
        except StopIteration:
            self._journey = None
            return True
        except BaseException:
            _log.exception("a journey broke")
            self._journey = None
            self._close = True
            self.transport.abort()
            return True
        if waiting is None:
            self._site.loop.call_soon(self._resume, None)
        else:
            waiting._asyncio_future_blocking = False
            waiting.add_done_callback(self._resume)
        return False

    def _resume(self, _settled: object) -> None:
        journey = self._journey
        if journey is not None and self._advance(journey):
            # What may be in the parser comes before what is held.
            parsed = self._parsed and not self.at_boundary
            if self._next() and (parsed or self._held or self._ended):
                self._feed(b"")

    def _go_on(self) -> None:
        """What waited behind a request that has ended, if any does."""
        if self._journey is None and self.phase is Phase.BUSY and self._next():
            self._feed(b"")

    def _next(self) -> bool:
        """Ready for another request? If not, hang up. While a long reply still streams, its end asks again."""
        if self._body_size:
            self._site.buffered -= self._body_size
            self._body = []
            self._body_size = 0
        if self._rest is not None:
            return False
        if self._close or self._site.draining:
            self._hang_up(unread=not self._payload.is_eof())
            return False
        if self._stuck_since:
            # Who takes no answers gets no further ones: ``resume_writing`` asks again.
            return False
        if self._parsed:
            self._parsed = False
            self._parser.message_consumed()
            self._payload = EMPTY_PAYLOAD
            self._unread_bytes = 0
            self.raw = None
        self.phase = _IDLE
        self._since = time.monotonic()
        return True

    def _unhold(self) -> bytes:
        if not self._held:
            return b""
        if self._held_bytes > _HELD_BYTES:
            self.transport.resume_reading()
        data = b"".join(self._held)
        self._held = []
        self._held_bytes = 0
        return data

    def _hang_up(self, *, unread: bool) -> None:
        """Close; with bytes still coming, read on a little, or a reset may take our answer away from the sender."""
        self._close = True
        if self.transport.is_closing():
            return
        self._since = time.monotonic()
        if not unread and not self._held:
            # Closed once our last bytes are taken. SECURITY: who never takes them would hold the connection for ever.
            self.phase = Phase.CLOSING
            self.transport.close()
            return
        self.phase = Phase.LINGER
        self._unread_bytes = 0
        self._unhold()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    # -- the sweeper's side

    def sweep(self, now: float) -> None:
        """Act on deadlines."""
        limits = self._site.limits
        age = now - self._since
        if self._stuck_since and now - self._stuck_since > limits.write_timeout:
            self.transport.abort()
        elif self.phase is Phase.IDLE:
            if age > (_DRAIN_IDLE if self._site.draining else limits.idle_timeout):
                self._hang_up(unread=False)
        elif self.phase is Phase.HEAD:
            if age > limits.header_timeout:
                if self._unread_bytes:
                    self._wall(Reason.REQUEST_TIMEOUT)
                else:
                    self.transport.abort()
        elif self.phase is Phase.BODY:
            slow = age > _RATE_GRACE and self._body_size < limits.body_rate * (age - _RATE_GRACE)
            if slow or age > limits.body_timeout or now - self._read_at > limits.body_idle_timeout:
                self._close = True
                self._settle_body(Reason.REQUEST_TIMEOUT)
        elif self.phase in _ENDINGS and age > (_LINGER_SECONDS if self.phase is Phase.LINGER else limits.write_timeout):
            self.transport.abort()


def _has_line(data: bytes) -> bool:
    """Whether a request line ends in it; blank lines before one do not count."""
    return b"\n" in data.lstrip(b"\r\n")


def request_parser(loop: asyncio.AbstractEventLoop, limits: Limits) -> Parser[RawRequest]:
    """A fresh parser of requests: strict, decoding nothing, one message at a time."""
    return HttpRequestParser(
        NoFlow(loop),
        loop,
        2**16,
        max_line_size=limits.header_bytes,
        max_field_size=limits.header_bytes,
        max_headers=limits.header_count,
        auto_decompress=False,
        max_msg_queue_size=1,
    )
