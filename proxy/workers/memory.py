"""Pages that parent and workers share: who holds how many connections, and when whose next request is due.

They have no name in any file system. Bytes of the same descriptor serve as locks.
"""

import mmap
import os
from typing import Final

from proxy.edge.seats import EMPTY, Seats
from proxy.workers.dues import DUES_BYTES, Dues

MOST_WORKERS: Final = 256
_SEATS_BYTES: Final = MOST_WORKERS * 4
_KEY_BYTES: Final = 32
_DUES_AT: Final = 4096
_BYTES: Final = _DUES_AT + DUES_BYTES
_DUES_LOCKS: Final = 1
"""The first byte is the lock of the log (see ``Sink``)."""


class Memory:
    """The pages behind a descriptor that the parent made and its workers inherited."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._pages = memoryview(mmap.mmap(descriptor, _BYTES))
        self._counters = self._pages[:_SEATS_BYTES].cast("i")

    @classmethod
    def fresh(cls) -> "Memory":
        """The parent's; its workers inherit the descriptor."""
        descriptor = os.memfd_create("hookgate")
        os.ftruncate(descriptor, _BYTES)
        memory = cls(descriptor)
        memory._pages[_SEATS_BYTES : _SEATS_BYTES + _KEY_BYTES] = os.urandom(_KEY_BYTES)
        for seat in range(MOST_WORKERS):
            memory.vacate(seat)
        return memory

    def vacate(self, seat: int) -> None:
        """Whoever sat there is gone."""
        self._counters[seat] = EMPTY

    def seats(self, own: int, workers: int) -> Seats:
        """The counters, as the worker of this seat uses them."""
        return Seats(self._counters[:workers], own)

    def dues(self) -> Dues:
        """The due times of rates."""
        key = bytes(self._pages[_SEATS_BYTES : _SEATS_BYTES + _KEY_BYTES])
        return Dues(self._pages[_DUES_AT:], self.descriptor, _DUES_LOCKS, key)
