"""A key that this process has reserved and not yet settled, and those who wait for its end.

The future is made for the first waiter only: most keys never have one.
"""

import asyncio

from proxy.store.base import CONFLICT, Claim, Claimed


class Reservation:
    """One reserved key: the body it was reserved for, and how long to remember it once confirmed."""

    __slots__ = ("_end", "digest", "doubtful", "window")

    def __init__(self, digest: bytes, window: float, *, doubtful: bool = False) -> None:
        """``doubtful`` where nobody knows how an earlier request of the key ended: released, it is so again."""
        self.digest = digest
        self.window = window
        self.doubtful = doubtful
        self._end: asyncio.Future[bool] | None = None

    def answer(self, digest: bytes, loop: asyncio.AbstractEventLoop) -> Claim:
        """What a later claim of the same key is told."""
        if digest != self.digest:
            return CONFLICT
        end = self._end
        # A waiter that is cancelled while it awaits the shared future cancels that future: the next one gets a fresh one.
        if end is None or end.done():
            end = self._end = loop.create_future()
        return Claim(Claimed.IN_FLIGHT, end)

    def settle(self, delivered: bool) -> None:
        """Tell the waiters how it ended; the second time does nothing."""
        if self._end is not None and not self._end.done():
            self._end.set_result(delivered)
