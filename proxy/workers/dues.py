"""Rates that all workers count together: due times in memory that they share, exact, bounded, and never waited for long.

The table is buckets of a few clients each, found by a keyed hash, so that nobody can choose whom to collide with; a bucket whose
clients are all live lets newcomers share one more due time. A lock on one byte guards each bucket (POSIX, fcntl(2)): the kernel
drops it when its holder dies. Whoever cannot have it within a moment counts alone: a worker that is stopped must not stop others.
"""

import fcntl
import os
from hashlib import blake2b
from typing import Final

_BUCKETS: Final = 8192
_CLIENTS: Final = 15
"""In one bucket; with one word for newcomers, keys and times fill 31 words."""
_WORDS: Final = 32
_TRIES: Final = 1000
"""About a millisecond."""
DUES_BYTES: Final = _BUCKETS * _WORDS * 8
"""2 MiB: 122,880 clients."""


class Dues:
    """``pages`` are ``DUES_BYTES`` shared bytes; byte ``locks`` + n of ``descriptor`` guards bucket n; ``key`` is the hash's."""

    def __init__(self, pages: memoryview, descriptor: int, locks: int, key: bytes) -> None:
        self._clients = pages.cast("Q")
        self._times = pages.cast("d")
        self._descriptor = descriptor
        self._locks = locks
        self._key = key

    def take(self, client: bytes, now: float, interval: float, slack: float) -> float | None:
        """Count one request at ``now`` (monotonic, the same for all processes), unless it is too early (GCRA).

        0.0 when it may pass, else the seconds to wait, uncounted; ``None`` when nobody can say.
        """
        name = int.from_bytes(blake2b(client, digest_size=8, key=self._key).digest(), "little") | 1
        bucket = (name >> 1) % _BUCKETS
        if not self._lock(self._locks + bucket):
            return None
        try:
            place = self._place(bucket * _WORDS, name, now)
            # What is further ahead than counting can bring it was counted by a slower rate, before a reload.
            due = min(max(self._times[place], now), now + slack + interval)
            wait = due - now - slack
            if wait > 1e-9:
                return wait
            self._times[place] = due + interval
            return 0.0
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, self._locks + bucket)

    def _place(self, start: int, name: int, now: float) -> int:
        """Where the due time of this client stands; a newcomer gets the place of one whose time has passed."""
        free = -1
        for at in range(start, start + _CLIENTS):
            if self._clients[at] == name:
                return at + _CLIENTS
            if free < 0 and self._times[at + _CLIENTS] <= now:
                free = at
        if free < 0:
            return start + 2 * _CLIENTS
        self._times[free + _CLIENTS] = 0.0
        self._clients[free] = name
        return free + _CLIENTS

    def _lock(self, byte: int) -> bool:
        for _ in range(_TRIES):
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
            except (BlockingIOError, PermissionError):  # POSIX allows both for "somebody holds it"
                os.sched_yield()  # its holder needs a few microseconds, and perhaps our processor
            else:
                return True
        return False
