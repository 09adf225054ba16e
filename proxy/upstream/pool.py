"""Connections to one bot: the last used first, a cap, a bounded queue, deadlines by one sweeper. A request is sent once.

A bot that keeps silent is left alone for a while (see ``breaker.py``). An open breaker costs the usual way nothing: there is no
idle connection then, and who has to open one asks the breaker first.
"""

import asyncio
import logging
import ssl
import time
from collections import deque
from collections.abc import Awaitable
from typing import Final

from proxy.errors import UpstreamError
from proxy.messages import Reply
from proxy.parties import Sender
from proxy.pipeline.gate import Permit
from proxy.policy.model import UpstreamSettings
from proxy.upstream.breaker import Breaker
from proxy.upstream.connection import Connection
from proxy.upstream.dial import dial
from proxy.upstream.recurring import RecurringReplies
from proxy.upstream.tls import upstream_context
from proxy.upstream.wire import request_bytes
from proxy.verdict import Reason
from proxy.wakeup import Wakeup

_log = logging.getLogger("hookgate.upstream")

_SWEEP_SECONDS: Final = 0.25
_UNREACHED_SECONDS: Final = 1
"""A sender whose request could not even be sent need not slow down: it costs the bot nothing, and is there when that is back."""


class Pool:
    """Everything towards one upstream of the policy."""

    def __init__(self, settings: UpstreamSettings, answer_buffer: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._settings = settings
        self._buffer = answer_buffer
        self._replies = RecurringReplies()
        self._tls: ssl.SSLContext | None = upstream_context(settings) if settings.url.tls else None
        self._first_byte = settings.timeout if settings.first_byte_timeout is None else settings.first_byte_timeout
        self._late: dict[Connection, float] = {}
        """Answers that have begun in time, and until when they have to end."""
        self._breaker = Breaker(settings.breaker.failures, settings.breaker.open)
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._opening = 0
        self._queue: deque[tuple[float, Wakeup[None], Sender | None]] = deque()
        self._promised = 0
        """Places that belong to those who waited, woken but not there yet: nobody may overtake them."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self._sweeper: asyncio.TimerHandle | None = None
        self._keep_sweeping()

    @property
    def refusing(self) -> bool:
        """The bot is being left alone."""
        return self._breaker.open

    def forward(self, permit: Permit) -> Awaitable[Reply]:
        """Send a permitted request and give the bot's reply.

        Awaiting raises ``UpstreamError``: unreachable, too slow, not HTTP, or no room to wait.
        """
        now = time.monotonic()
        if self._sweeper is None:
            self._wake()
        connection = None if self._promised else self._reuse(now)
        if connection is None:
            return self._connect_and_send(permit, now)
        return self._send(connection, permit, now + self._first_byte)

    def _send(self, connection: Connection, permit: Permit, deadline: float) -> Wakeup[Reply]:
        self._busy.add(connection)
        return connection.send(request_bytes(permit), bodyless=permit.request.head.method == "HEAD", deadline=deadline)

    async def _connect_and_send(self, permit: Permit, now: float) -> Reply:
        connection = await self._turn(now + self._settings.turn, permit.request.sender) or await self._connect()
        return await self._send(connection, permit, time.monotonic() + self._first_byte)  # it counts from the first byte sent

    async def reachable(self, seconds: float) -> bool:
        """Whether the bot accepts a connection."""
        if self._idle or self._busy:
            return True
        try:
            async with asyncio.timeout(seconds):
                connection = await self._open()
        except Exception:  # see _open_for
            return False
        connection.transport.abort()
        return True

    def close(self) -> None:
        """Close what is idle; what is busy closes with its reply."""
        self._closing = True
        for connection in list(self._idle):
            connection.transport.close()
        self._idle.clear()

    def _reuse(self, now: float) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.stale(now):
                return connection
            connection.transport.abort()
        return None

    async def _turn(self, deadline: float, sender: Sender | None) -> Connection | None:
        """Wait for a place: a connection that has become free, or ``None`` where one may be opened."""
        settings = self._settings
        wait = self._breaker.wait(time.monotonic())
        if wait:
            raise UpstreamError(Reason.UPSTREAM_UNREACHABLE, wait)
        waited = False
        while len(self._busy) + self._opening + self._promised >= settings.connections:
            turn: Wakeup[None] = Wakeup(self._loop)
            if waited:
                self._queue.appendleft((deadline, turn, sender))
            elif len(self._queue) < settings.queue:
                self._queue.append((deadline, turn, sender))
            else:
                raise UpstreamError(Reason.OVERLOADED)
            await turn
            waited = True
            self._promised -= 1
            if sender is not None and sender.left:
                self._next_in_line()
                raise UpstreamError(Reason.OVERLOADED)
            connection = self._reuse(time.monotonic())
            if connection is not None:
                return connection
        return None

    async def _connect(self) -> Connection:
        opened: Wakeup[Connection] = Wakeup(self._loop)
        self._opening += 1
        # A Task of its own: opening may need asyncio's time-outs, and journeys are no Tasks.
        task = self._loop.create_task(self._open_for(opened, self._settings.opening))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await opened

    async def _open_for(self, opened: Wakeup[Connection], seconds: float) -> None:
        reason = Reason.UPSTREAM_UNREACHABLE
        connection = None
        try:
            async with asyncio.timeout(seconds):
                connection = await self._open()
        except TimeoutError:
            reason = Reason.UPSTREAM_TIMEOUT
        except Exception:  # noqa: S110 - not OSError alone: a name that cannot be one raises UnicodeError, and who waits must be told
            pass
        # Out of this Task: the waiter's journey may meet other Tasks' awaitables.
        self._loop.call_soon(self._opened, opened, connection, reason)

    def _opened(self, opened: Wakeup[Connection], connection: Connection | None, reason: Reason) -> None:
        self._opening -= 1
        if connection is None or connection.transport.is_closing():  # a bot may accept and close at once
            self._silence()
            self._next_in_line()
            opened.set_exception(UpstreamError(reason, 0 if reason is Reason.UPSTREAM_TIMEOUT else _UNREACHED_SECONDS))
        else:
            opened.set_result(connection)

    async def _open(self) -> Connection:
        def make() -> Connection:
            return Connection(self._loop, self._buffer, self._done, self._broken, self._replies)

        return await dial(self._loop, self._settings, self._tls, make)

    def _done(self, connection: Connection, reusable: bool) -> None:
        self._busy.discard(connection)
        if self._breaker.failures:
            self._heard()
        if reusable and not self._closing:
            self._idle.append(connection)
        elif connection.transport.get_write_buffer_size():
            # It answered before it had read everything, and may never read the rest: closing would wait for that.
            connection.transport.abort()
        elif not connection.transport.is_closing():
            connection.transport.close()
        if self._queue:
            self._next_in_line()

    def _broken(self, connection: Connection, unanswered: bool) -> None:
        self._busy.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        connection.transport.abort()
        if unanswered:
            self._silence()
        self._next_in_line()

    def _heard(self) -> None:
        if self._breaker.open:
            _log.info("the bot answers again", extra={"facts": {"upstream": str(self._settings.url)}})
        self._breaker.answered()

    def _silence(self) -> None:
        """The bot kept silent. When that was once too often, who waits need not wait longer, and nothing idle is used again."""
        if not self._breaker.failed(time.monotonic()):
            return
        _log.warning("the bot keeps silent and is left alone for a while", extra={"facts": {"upstream": str(self._settings.url)}})
        for connection in self._idle:
            connection.transport.abort()
        self._idle.clear()
        while self._queue:
            turn = self._queue.popleft()[1]
            # Later: whoever is woken may come back here at once.
            self._loop.call_soon(turn.set_exception, UpstreamError(Reason.UPSTREAM_UNREACHABLE, _UNREACHED_SECONDS))

    def _next_in_line(self) -> None:
        if self._queue:
            turn = self._queue.popleft()[1]
            self._promised += 1
            self._loop.call_soon(turn.set_result, None)

    def _sweep(self) -> None:
        try:
            self._look(time.monotonic())
        except Exception:  # or no deadline would be kept from here on
            _log.exception("the bot's deadlines could not be kept")
        self._sweeper = None
        if not self._closing or self._busy or self._opening or self._queue:
            self._keep_sweeping()

    def _look(self, now: float) -> None:
        if self._late:
            self._late = {one: until for one, until in self._late.items() if one.deadline == until}
        for connection in [one for one in self._busy if one.deadline and one.deadline <= now]:
            try:
                self._expire(connection)
            except Exception:  # one connection's trouble must not end the deadlines of all
                _log.exception("a deadline of the bot's could not be kept")
                connection.transport.abort()
        if self._queue:
            self._give_up(now)
        for connection in [one for one in self._idle if one.stale(now)]:
            self._idle.remove(connection)
            connection.transport.abort()

    def _give_up(self, now: float) -> None:
        """Who has waited for too long is told, and who does not wait for the answer any more makes room."""
        over = [one for one in self._queue if one[0] <= now or (one[2] is not None and one[2].left)]
        for one in over:
            self._queue.remove(one)
        for _, turn, _ in over:
            turn.set_exception(UpstreamError(Reason.OVERLOADED))

    def _expire(self, connection: Connection) -> None:
        """Too late, unless it was the first byte's deadline and that byte has come."""
        more = self._settings.timeout - self._first_byte
        if more and connection.begun and connection not in self._late:
            connection.deadline += more
            self._late[connection] = connection.deadline
        else:
            connection.expire()

    def _wake(self) -> None:
        """Closed by a reload, and used once more by a request that began before it."""
        if self._sweeper is None:
            self._keep_sweeping()

    def _keep_sweeping(self) -> None:
        self._sweeper = self._loop.call_later(_SWEEP_SECONDS, self._sweep)
