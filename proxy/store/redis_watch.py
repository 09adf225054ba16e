"""Waiting for claims that other processes hold: a light poll while somebody waits, and no longer than the lease."""

import asyncio
from collections import deque
from collections.abc import Callable

from proxy.errors import StoreError
from proxy.store.redis_values import digest_of, remembered
from proxy.store.resp import Reply, pack
from proxy.store.wire import Operation

_POLL_SECONDS = 0.05
_AT_ONCE = 64
"""Looks that a poll may take; with more waiters than that, they take turns."""


class _Look:
    """One look at a foreign reservation, again and again: ``end`` becomes True when it was delivered, False when it was not."""

    def __init__(self, key: bytes, reserved: bytes, until: float, end: "asyncio.Future[bool]") -> None:
        self.key = key
        self.reserved = reserved
        self.until = until
        self.end = end
        self.packed = pack(b"GET", key)

    def answer(self, reply: Reply) -> None:
        """The same reservation goes on; anything else is an end."""
        if reply != self.reserved:
            self._tell(reply == remembered(digest_of(self.reserved)))

    def fail(self, error: StoreError, *, sent: bool) -> None:
        """Nobody can know: the sender shall ask again."""
        self._tell(False)

    def _tell(self, delivered: bool) -> None:
        if not self.end.done():
            self.end.set_result(delivered)


class Watch:
    """Tells how foreign reservations end. ``submit`` sends a look to where its key lives."""

    def __init__(self, loop: asyncio.AbstractEventLoop, submit: Callable[[Operation, bytes], None]) -> None:
        self._loop = loop
        self._submit = submit
        self._looks: dict[bytes, _Look] = {}
        self._turn: deque[_Look] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def end(self, key: bytes, reserved: bytes, lease: float) -> "asyncio.Future[bool]":
        """A future for the end of this reservation, shared by all who ask; False when its lease, in seconds, is over."""
        look = self._looks.get(reserved)
        if look is None or look.end.done():
            look = self._looks[reserved] = _Look(key, reserved, self._loop.time() + lease, self._loop.create_future())
            self._turn.append(look)
            if self._timer is None:
                self._timer = self._loop.call_later(_POLL_SECONDS, self._poll)
        return look.end

    def close(self) -> None:
        """Nobody will look any more: whoever waits is told that it was not delivered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for look in self._turn:
            look.fail(StoreError("the store is closed"), sent=False)
        self._turn.clear()
        self._looks.clear()

    def _poll(self) -> None:
        now = self._loop.time()
        for _ in range(min(_AT_ONCE, len(self._turn))):
            look = self._turn.popleft()
            if not look.end.done() and now > look.until:
                look.fail(StoreError("the lease is over"), sent=False)
            if look.end.done():
                if self._looks.get(look.reserved) is look:  # else it was cancelled, and somebody asked again
                    del self._looks[look.reserved]
            else:
                self._turn.append(look)
                self._submit(look, look.key)
        self._timer = self._loop.call_later(_POLL_SECONDS, self._poll) if self._turn else None
