"""A connection to one Redis that keeps itself up: it dials again in the background, and never lets an operation wait long.

It is its own circuit breaker. The first silence opens it: then every operation fails at once, while dialling, with the whole
handshake as its probe, goes on beside; the first dial that succeeds closes it. Nothing is sent twice from here.
"""

import asyncio
import os
import random
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from proxy.errors import StoreError
from proxy.store.wire import Operation, Wire

_TICK_SECONDS = 0.05
_TICKS = 4
"""Ticks that an operation may stay unanswered: it fails after 150 to 200 ms. Ticks, not time: while this process itself
stands still, nothing ticks, and the replies that came meanwhile are read before the next tick."""
_DIAL_SECONDS = 0.8
_PAUSES = (0.05, 0.1, 0.2, 0.4)
"""Between dials, in seconds; the last one repeats. Each is shortened by chance, so that replicas do not come all at once."""
_MOST = 10_000
"""Operations under way; more than that are refused at once."""


class Link:
    """One server. ``dial`` connects and shakes hands; ``first`` gives what must be sent before all else on a new connection."""

    def __init__(
        self,
        dial: Callable[[], Awaitable[Wire]],
        first: Callable[["Link"], Iterable[Operation]],
        told: Callable[[str | None], None],
    ) -> None:
        self.ready = asyncio.Event()
        """Set while there is a connection."""
        self._loop = asyncio.get_running_loop()
        self._dial = dial
        self._first = first
        self._told = told
        self._wire: Wire | None = None
        self._batch: list[Operation] = []
        self._submitted = 0
        self._scheduled = False
        self._broken: str | None = None
        self._marks: deque[int] = deque(maxlen=_TICKS - 1)
        self._timer: asyncio.TimerHandle | None = None
        self._keeper = self._loop.create_task(self._keep())

    async def idle(self) -> None:
        """Wait until nothing is under way; that is never long."""
        # Looked at again and again, but only once, at the end: not worth an event on every reply.
        while self._outstanding():  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    def submit(self, operation: Operation) -> None:
        """Send it with all others of this turn of the loop."""
        if self._broken is not None:
            operation.fail(StoreError(self._broken), sent=False)
            return
        if self._outstanding() >= _MOST:
            operation.fail(StoreError(f"{_MOST} operations wait for it already"), sent=False)
            return
        self._submitted += 1
        self._batch.append(operation)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def drop(self, why: str) -> None:
        """Give this connection up: everything under way fails, and a new one is dialled."""
        self._broken = why
        wire, self._wire = self._wire, None
        self.ready.clear()
        if wire is not None:
            wire.abort()
        batch, self._batch = self._batch, []
        for operation in batch:
            operation.fail(StoreError(why), sent=False)
        self._told(why)

    async def close(self) -> None:
        """End it for good."""
        self._keeper.cancel()
        with suppress(asyncio.CancelledError):
            await self._keeper
        if self._timer is not None:
            self._timer.cancel()
        self._told = _nobody
        self.drop("the store is closed")

    def _outstanding(self) -> int:
        return len(self._batch) + (len(self._wire.sent) if self._wire is not None else 0)

    def _flush(self) -> None:
        self._scheduled = False
        if self._timer is None:
            self._marks.clear()
            self._timer = self._loop.call_later(_TICK_SECONDS, self._tick)
        if self._wire is not None and self._batch:
            batch, self._batch = self._batch, []
            self._wire.write(batch)

    def _tick(self) -> None:
        """Whether everything that was under way ``_TICKS`` ticks ago has its answer."""
        outstanding = self._outstanding()
        if not outstanding:
            self._timer = None
            return
        self._timer = self._loop.call_later(_TICK_SECONDS, self._tick)
        if len(self._marks) == _TICKS - 1 and self._submitted - outstanding < self._marks[0]:
            self._marks.clear()
            self.drop("it does not answer in time")
            return
        self._marks.append(self._submitted)

    async def _keep(self) -> None:
        """Dial, and dial again."""
        failures = 0
        while True:
            try:
                async with asyncio.timeout(_DIAL_SECONDS):
                    wire = await self._dial()
            except Exception as error:
                why = reason(error)
                # Not from here: a waiter must not be woken by a running task.
                self._loop.call_soon(self.drop, why)
                pause = _PAUSES[min(failures, len(_PAUSES) - 1)]
                failures += 1
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
                continue
            since = self._loop.time()
            gone = asyncio.Event()
            self._loop.call_soon(self._take, wire, gone)
            await gone.wait()
            # One that breaks again and again at once is no better than one that cannot be reached.
            failures = 0 if self._loop.time() - since > 1.0 else failures + 1
            if failures:
                await asyncio.sleep(_PAUSES[0])

    def _take(self, wire: Wire, gone: asyncio.Event) -> None:
        """A new connection: what is owed goes first, then whoever waited for it."""
        if wire.closed:
            gone.set()
            self.drop("it closed the connection")
            return
        self._wire = wire
        self._broken = None
        wire.ended = lambda: self._lost(wire, gone)
        first = list(self._first(self))
        self._submitted += len(first)
        self._batch = first + self._batch
        self.ready.set()
        self._told(None)
        self._flush()

    def _lost(self, wire: Wire, gone: asyncio.Event) -> None:
        """It is closed. What comes now waits for the next dial, as long as anything may wait, unless we gave it up ourselves."""
        gone.set()
        if wire is self._wire:
            self._wire = None
            self.ready.clear()


def reason(error: Exception) -> str:
    """Why a dial failed, as part of a sentence."""
    if isinstance(error, StoreError):
        return str(error)
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    if isinstance(error, socket.gaierror):
        return "it cannot be reached: its name is not known"
    if isinstance(error, OSError) and error.errno:
        return f"it cannot be reached: {os.strerror(error.errno).lower()}"
    return f"it cannot be reached ({type(error).__name__})"


def _nobody(why: str | None) -> None:
    """After the end nothing is told."""
