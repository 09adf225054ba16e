"""A few pages that parent and workers share: who holds how many connections. It has no name in any file system."""

import mmap
import os
from typing import Final

from proxy.edge.seats import EMPTY, Seats

MOST_WORKERS: Final = 256
_SEATS_BYTES: Final = MOST_WORKERS * 4


class Memory:
    """The pages behind a descriptor that the parent made and its workers inherited."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        pages = mmap.mmap(descriptor, _SEATS_BYTES)
        self._counters = memoryview(pages)[:_SEATS_BYTES].cast("i")

    @classmethod
    def fresh(cls) -> "Memory":
        """The parent's; its workers inherit the descriptor."""
        descriptor = os.memfd_create("hookgate")
        os.ftruncate(descriptor, _SEATS_BYTES)
        memory = cls(descriptor)
        for seat in range(MOST_WORKERS):
            memory.vacate(seat)
        return memory

    def vacate(self, seat: int) -> None:
        """Whoever sat there is gone."""
        self._counters[seat] = EMPTY

    def seats(self, own: int, workers: int) -> Seats:
        """The counters, as the worker of this seat uses them."""
        return Seats(self._counters[:workers], own)
