"""Waiting for claims that other owners hold: a light poll that runs only while somebody waits."""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

POLL_SECONDS = 0.05
_AT_ONCE = 64
"""Looks a poll may take, a few microseconds each; with more waiters than that, they take turns."""


class _Watched(NamedTuple):
    key: bytes
    digest: bytes
    owner: int
    end: "asyncio.Future[bool]"


class Watch:
    """Tells how foreign reservations end. ``ended`` looks one up: True or False, or None while it goes on."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ended: Callable[[bytes, bytes, int], bool | None]) -> None:
        self._loop = loop
        self._ended = ended
        self._watched: dict[tuple[bytes, bytes, int], _Watched] = {}
        self._turn: deque[_Watched] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def end(self, key: bytes, digest: bytes, owner: int) -> "asyncio.Future[bool]":
        """A future for the end of a foreign owner's reservation, shared by all who ask."""
        watched = self._watched.get((key, digest, owner))
        if watched is None or watched.end.done():
            watched = self._watched[key, digest, owner] = _Watched(key, digest, owner, self._loop.create_future())
            self._turn.append(watched)
            if self._timer is None:
                self._timer = self._loop.call_later(POLL_SECONDS, self._poll)
        return watched.end

    def close(self) -> None:
        """Nobody will look any more: whoever waits is told that it was not delivered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for watched in self._turn:
            if not watched.end.done():
                watched.end.set_result(False)
        self._turn.clear()
        self._watched.clear()

    def _poll(self) -> None:
        for _ in range(min(_AT_ONCE, len(self._turn))):
            watched = self._turn.popleft()
            if watched.end.done() or self._settle(watched):
                name = (watched.key, watched.digest, watched.owner)
                if self._watched.get(name) is watched:  # else it was cancelled, and somebody asked again
                    del self._watched[name]
            else:
                self._turn.append(watched)
        self._timer = self._loop.call_later(POLL_SECONDS, self._poll) if self._turn else None

    def _settle(self, watched: _Watched) -> bool:
        try:
            delivered = self._ended(watched.key, watched.digest, watched.owner)
        except (sqlite3.Error, OSError):
            return False  # the next poll may see more
        if delivered is None:
            return False
        watched.end.set_result(delivered)
        return True
