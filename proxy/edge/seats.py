"""How many connections each worker holds, in memory that all of them see: who holds more than another lets that one accept.

A kernel wakes every worker for a new connection, and a burst goes to whoever is quickest: few long-lived connections, as webhook
senders keep them, would sit on one worker while the others idle. Each writes its own counter alone, so there is nothing to lock.
"""

from typing import Final

EMPTY: Final = -1
"""Nobody serves there."""


class Seats:
    """``counters`` are shared 32-bit numbers, one for each worker; ``own`` is ours."""

    def __init__(self, counters: "memoryview[int]", own: int) -> None:
        self._counters = counters
        self._own = own

    def hold(self, connections: int) -> None:
        """We hold so many now."""
        self._counters[self._own] = connections

    def leave(self) -> None:
        """We accept no more: nobody need wait for us."""
        self._counters[self._own] = EMPTY

    def crowded(self) -> bool:
        """Whether somebody holds fewer than we do."""
        own = self._counters[self._own]
        return any(EMPTY < count < own for count in self._counters)
