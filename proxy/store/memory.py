"""Claims in a dictionary of this process: the fastest store, forgotten at a restart, not shared between workers.

Bounded: a table full of live claims refuses new ones instead of forgetting old ones. Expired claims are swept a few at a time
by the claims that follow, so that no request ever pays for many.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from proxy.errors import StoreError
from proxy.store.base import CONFLICT, DELIVERED, NEW, Claim
from proxy.store.pending import Reservation
from proxy.wakeup import Wakeup


class _Delivered(NamedTuple):
    key: bytes
    digest: bytes
    expires: float


class MemoryStore:
    """A store for one worker. ``clock`` counts seconds and never steps back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, max_entries: int = 1_000_000) -> None:
        self._clock = clock
        self._max_entries = max_entries
        self._closed = False
        self._reserved: dict[bytes, Reservation] = {}
        self._delivered: dict[bytes, _Delivered] = {}
        # One queue for each window in use: within it, claims expire in the order in which they were confirmed.
        self._queues: dict[float, deque[_Delivered]] = {}
        self._turn: deque[deque[_Delivered]] = deque()

    async def open(self) -> None:
        """Make the answers that never differ, once."""
        self._loop = asyncio.get_running_loop()
        self._new = self._answer(NEW)
        self._repeat = self._answer(DELIVERED)
        self._conflict = self._answer(CONFLICT)
        self._done: Wakeup[None] = Wakeup(self._loop)
        self._done.set_result(None)

    async def close(self) -> None:
        """Forget everything; whoever waits for a request in flight learns that it was not delivered."""
        self._closed = True
        for reservation in self._reserved.values():
            reservation.settle(False)
        self._reserved.clear()
        self._delivered.clear()
        self._queues.clear()
        self._turn.clear()

    def claim(self, key: bytes, digest: bytes, window: float) -> Wakeup[Claim]:
        """Reserve ``key``; settled on return. Raises ``StoreError`` when awaited, if the table is full of live claims."""
        if self._closed:
            return self._refuse("the store is closed")
        now = self._clock()
        self._sweep(now)
        reservation = self._reserved.get(key)
        if reservation is not None:
            return self._answer(reservation.answer(digest, self._loop))
        delivered = self._delivered.get(key)
        if delivered is not None:
            if now < delivered.expires:
                return self._repeat if delivered.digest == digest else self._conflict
            del self._delivered[key]
        if self.entries() >= self._max_entries:
            return self._refuse(f"the store in memory is full ({self._max_entries} live claims)")
        self._reserved[key] = Reservation(digest, window)
        return self._new

    def confirm(self, key: bytes) -> Wakeup[None]:
        """Remember a reserved key for its window, counted from now."""
        reservation = self._reserved.pop(key, None)
        if reservation is not None:
            delivered = _Delivered(key, reservation.digest, self._clock() + reservation.window)
            self._delivered[key] = delivered
            queue = self._queues.get(reservation.window)
            if queue is None:
                queue = self._queues[reservation.window] = deque()
                self._turn.append(queue)
            queue.append(delivered)
            reservation.settle(True)
        return self._done

    def release(self, key: bytes) -> Wakeup[None]:
        """Forget a reserved key."""
        reservation = self._reserved.pop(key, None)
        if reservation is not None:
            reservation.settle(False)
        return self._done

    def entries(self) -> int:
        """How many keys are held, expired ones that were not swept yet included."""
        return len(self._reserved) + len(self._delivered)

    def _answer(self, claim: Claim) -> Wakeup[Claim]:
        wakeup: Wakeup[Claim] = Wakeup(self._loop)
        wakeup.set_result(claim)
        return wakeup

    def _refuse(self, why: str) -> Wakeup[Claim]:
        wakeup: Wakeup[Claim] = Wakeup(self._loop)
        wakeup.set_exception(StoreError(why))
        return wakeup

    def _sweep(self, now: float) -> None:
        """Look at one queue and drop at most two claims for each queue there is: faster than claims can come in."""
        turn = self._turn
        if not turn:
            return
        queue = turn[0]
        turn.rotate(-1)
        for _ in range(2 * len(turn)):
            if not queue or now < queue[0].expires:
                return
            delivered = queue.popleft()
            # The key may have expired and been claimed again since: then it is another claim's.
            if self._delivered.get(delivered.key) is delivered:
                del self._delivered[delivered.key]
