"""One connection to the bot: one request out in one write, one reply back through a fresh parser. Never decodes, never retries.

A reply that fits ``answer_buffer`` is held whole; a longer one is handed over with its first part and streamed on.
What the bot breaks is told as an ``UpstreamError``, never as the bot's own bytes.
"""

import asyncio
import select
import time
from collections.abc import Callable
from typing import Final, cast

from aiohttp.http_parser import HttpResponseParser
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from proxy.errors import UpstreamError
from proxy.messages import Reply
from proxy.parser import NoFlow, Parser, RawReply
from proxy.parties import Sink
from proxy.upstream.recurring import KnownReply, RecurringReplies
from proxy.verdict import Reason
from proxy.wakeup import Wakeup

_MOST_INTERIM: Final = 8
_MOST_HEAD_BYTES: Final = 64 * 1024


class Connection(asyncio.Protocol):
    """``done`` is called after each reply, with whether the connection can serve another; ``broken`` when there will be no other,
    with whether the bot's silence toward a request is to be counted. It is the ``Rest`` of a long reply.
    """

    __slots__ = (
        "_body",
        "_broken",
        "_buffer",
        "_done",
        "_flow",
        "_head_bytes",
        "_interim",
        "_left",
        "_loop",
        "_message",
        "_parser",
        "_payload",
        "_poll",
        "_raw",
        "_replies",
        "_sink",
        "_size",
        "_spare",
        "_waiter",
        "_with_body",
        "born",
        "deadline",
        "idle_limit",
        "idle_since",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        answer_buffer: int,
        done: Callable[["Connection", bool], None],
        broken: Callable[["Connection", bool], None],
        replies: RecurringReplies,
    ) -> None:
        self._loop = loop
        self._flow = NoFlow(loop)
        self._buffer = answer_buffer
        self._done = done
        self._broken = broken
        self._replies = replies
        self._raw: bytes | None = None
        """What the reply is read from, while that is one piece."""
        self._waiter: Wakeup[Reply] | None = None
        self._parser: Parser[RawReply] | None = None
        self._spare: Parser[RawReply] | None = None
        self._with_body = True
        self._message: RawReply | None = None
        self._payload: StreamReader = EMPTY_PAYLOAD
        self._body: list[bytes] = []
        self._size = 0
        self._interim = 0
        self._head_bytes = 0
        self._sink: Sink | None = None
        self._left: bytes | None = None
        """The rest of a long reply that ended before its sink had begun."""
        self._poll: select.poll | None = None
        self.deadline = 0.0
        self.born = 0.0
        self.idle_since = 0.0
        self.idle_limit = 0.0

    # -- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready for a request."""
        # uvloop's transports are not asyncio's by inheritance, only by what they can do.
        self.transport = transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            self._poll = select.poll()
            self._poll.register(sock.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; whatever it refuses is the bot's fault."""
        parser = self._parser
        if parser is None:
            # Bytes nobody asked for: the next reply would be another one's.
            self.transport.abort()
            return
        if self._message is not None or self._head_bytes or not self._with_body:
            self._raw = None
        else:
            known = self._replies.recall(data)
            if known is not None:
                self._hand_over(*known)
                return
            self._raw = data
        self._read(parser, data)

    def _read(self, parser: Parser[RawReply], data: bytes) -> None:
        try:
            messages = parser.feed_data(data)[0]
        except Exception:
            self._fail(Reason.UPSTREAM_PROTOCOL)
            return
        for message, payload in messages:
            if not self._accept(message, payload):
                return
        if self._message is not None:
            self._collect()
        else:
            self._head_bytes += len(data)
            if self._head_bytes > _MOST_HEAD_BYTES:
                self._fail(Reason.UPSTREAM_PROTOCOL)

    def eof_received(self) -> bool:
        """The end of a reply that is delimited by the connection, or a reply that broke off."""
        if self._parser is not None:
            if self._message is None:
                self._fail(Reason.UPSTREAM_PROTOCOL if self.begun else Reason.UPSTREAM_UNREACHABLE)
                return False
            try:
                self._parser.feed_eof()
            except Exception:
                self._fail(Reason.UPSTREAM_PROTOCOL)
            else:
                self._collect()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """A reset. Nothing is sent again: the bot may have seen the request."""
        if self._parser is not None:
            self._fail(Reason.UPSTREAM_PROTOCOL if self.begun else Reason.UPSTREAM_UNREACHABLE)
        else:
            self._broken(self, False)

    def pause_writing(self) -> None:
        """Nothing to hold back: a request is one write."""

    def resume_writing(self) -> None:
        """Nothing was held back."""

    # -- the pool's side

    @property
    def begun(self) -> bool:
        """The first byte of the answer has come."""
        return self._message is not None or bool(self._head_bytes)

    def stale(self, now: float) -> bool:
        """Too long idle, closed, or with bytes (an end of file, too) that nobody asked for."""
        if self.transport.is_closing() or now - self.idle_since > self.idle_limit:
            return True
        return self._poll is not None and bool(self._poll.poll(0))

    def send(self, data: bytes, *, bodyless: bool, deadline: float) -> Wakeup[Reply]:
        """Write one request; the reply, or an ``UpstreamError``, comes with the wakeup. ``bodyless``: the request is a HEAD."""
        if bodyless or self._spare is None:
            self._parser = self._new_parser(bodyless=bodyless)
        else:
            self._parser = self._spare
        self._spare = None
        self._with_body = not bodyless
        self.deadline = deadline
        waiter: Wakeup[Reply] = Wakeup(self._loop)
        self._waiter = waiter
        self.transport.write(data)
        return waiter

    def _new_parser(self, *, bodyless: bool) -> Parser[RawReply]:
        return HttpResponseParser(
            self._flow,
            self._loop,
            2**16,
            max_line_size=8190,
            max_field_size=2**15,
            max_headers=256,
            response_with_body=not bodyless,
            read_until_eof=True,
            auto_decompress=False,
        )

    def expire(self) -> None:
        """The deadline has passed."""
        self._fail(Reason.UPSTREAM_TIMEOUT)

    # -- the reply

    def _accept(self, message: RawReply, payload: StreamReader) -> bool:
        if self._message is not None:
            self._fail(Reason.UPSTREAM_PROTOCOL)
            return False
        if 100 <= message.code < 200:
            self._interim += 1
            if message.code == 101 or self._interim > _MOST_INTERIM:
                self._fail(Reason.UPSTREAM_PROTOCOL)
                return False
            return True
        if not 200 <= message.code <= 599 or message.version.major != 1 or _coded(message):
            self._fail(Reason.UPSTREAM_PROTOCOL)
            return False
        self._message = message
        self._payload = payload
        return True

    def _collect(self) -> None:
        payload = self._payload
        whole = payload.is_eof()
        try:
            # The usual reply is one piece, and the stream's own reading costs three calls a piece; see ``edge/proof.py``.
            simple = whole and payload is not EMPTY_PAYLOAD and len(payload._buffer) == 1 and not self._size
            chunk = payload._buffer[0] if simple else payload.read_nowait()
        except Exception:
            self._fail(Reason.UPSTREAM_PROTOCOL)
            return
        if self._sink is not None:
            self._sink.write(chunk)
        elif chunk:
            self._body.append(chunk)
            self._size += len(chunk)
        if whole:
            self._finish()
        elif self._waiter is not None and self._size > self._buffer:
            # Hand over what there is; reading stops until the sink has begun.
            self.transport.pause_reading()
            waiter, self._waiter = self._waiter, None
            waiter.set_result(self._reply(b"", self))

    def _reply(self, body: bytes, rest: "Connection | None") -> Reply:
        message = self._message
        assert message is not None  # noqa: S101 - a reply has a head
        length = message.headers.get("Content-Length") if rest is not None else None
        return Reply(
            message.code,
            message.reason.encode("utf-8", "surrogateescape"),
            message.raw_headers,
            body,
            int(length) if length is not None else None,
            rest,
        )

    def _hand_over(self, known: KnownReply, body: bytes) -> None:
        """A whole reply whose head is known: the parser has not seen a byte of it."""
        if known.keep_alive:
            self._learn(known.keep_alive)
        waiter, self._waiter = self._waiter, None
        # All else is as it was: see _reset.
        self._spare, self._parser = self._parser, None
        self.deadline = 0.0
        self.idle_since = time.monotonic()
        self._done(self, not self.transport.get_write_buffer_size())  # see _finish
        if waiter is not None:
            waiter.set_result(known.reply(body))

    def _finish(self) -> None:
        message = self._message
        assert message is not None  # noqa: S101 - only called with one
        # SECURITY: a connection with our own bytes unsent (the bot answered early) must not carry another request, nor one whose
        # last reply still waits here for its sink.
        begun = self._waiter is not None or self._sink is not None
        reusable = begun and not message.should_close and not self.transport.get_write_buffer_size()
        body = b"".join(self._body)
        if not begun:
            self._left = body
        reply = self._reply(body, None) if self._waiter is not None else None
        if reply is not None and self._raw is not None and not message.should_close:
            self._replies.remember(self._raw, message, reply)
        if "Keep-Alive" in message.headers:
            self._learn(message.headers["Keep-Alive"])
        waiter, sink = self._waiter, self._sink
        if sink is not None and reusable:
            self.transport.resume_reading()  # its last bytes may have filled the sink, and the next reply must be heard
        # SECURITY: a parser that has seen chunks may hold a trailer, which would become the next reply's first field.
        spare = self._parser if reusable and not message.chunked and self._with_body else None
        self._reset()
        self._spare = spare
        self._done(self, reusable)
        if waiter is not None and reply is not None:
            waiter.set_result(reply)
        elif sink is not None:
            sink.end(whole=True)

    def _learn(self, keep_alive: str) -> None:
        """The bot says how long it keeps an unused connection: stay a second below."""
        for item in keep_alive.split(","):
            name, _, seconds = item.strip().partition("=")
            if name == "timeout" and seconds.isascii() and seconds.isdigit():
                self.idle_limit = min(self.idle_limit, max(0.0, int(seconds) - 1.0))

    def _fail(self, reason: Reason) -> None:
        waiter, sink = self._waiter, self._sink
        started = self._parser is not None
        # A kept connection that breaks tells nothing but that it was old: a bot that restarts breaks all of them at once.
        kept = self.idle_since != self.born
        silent = reason is Reason.UPSTREAM_TIMEOUT or (reason is Reason.UPSTREAM_UNREACHABLE and not kept)
        unanswered = silent and started and not self.begun
        self._reset()
        self.transport.abort()
        if started:
            self._broken(self, unanswered)
        if waiter is not None and not waiter.settled:
            waiter.set_exception(UpstreamError(reason))
        if sink is not None:
            sink.end(whole=False)

    def _reset(self) -> None:
        self._parser = None
        self._raw = None
        self._waiter = None
        self._message = None
        self._interim = 0
        self._head_bytes = 0
        self._sink = None
        self._body = []
        self._size = 0
        self.deadline = 0.0
        self.idle_since = time.monotonic()

    # -- Rest

    def start(self, sink: Sink) -> None:
        """Give what has come so far to the sink, then the rest as it comes."""
        if self._parser is None:  # it ended, or broke off, while the claim was being settled
            left, self._left = self._left, None
            if left is not None:
                sink.write(left)
            sink.end(whole=left is not None)
            return
        self._sink = sink
        held, self._body = b"".join(self._body), []
        sink.write(held)
        self.transport.resume_reading()

    def pause(self) -> None:
        """The sink is full."""
        self.transport.pause_reading()

    def resume(self) -> None:
        """The sink takes more."""
        if self._parser is not None:
            self.transport.resume_reading()

    def abort(self) -> None:
        """The sink is gone."""
        self._sink = None
        self._fail(Reason.UPSTREAM_PROTOCOL)


def _coded(message: RawReply) -> bool:
    """A transfer coding beside chunked: the field ends here, so the body would pass for what it is not (RFC 9112 section 6.1)."""
    if not message.chunked and not message.should_close:
        return False
    return message.headers.get("Transfer-Encoding", "chunked").lower() != "chunked"
