"""When a bot has failed often enough in a row: for a while nothing is tried, then one request at a time tries again.

What counts is silence alone: no connection, or no byte of an answer in time. A slow answer is an answer, and so is a bad one.
"""

import math


class Breaker:
    """``limit`` failures in a row open it for ``pause`` seconds (a limit of 0 never does); any answer closes it again."""

    __slots__ = ("_limit", "_pause", "_until", "failures", "open")

    def __init__(self, limit: int, pause: float) -> None:
        self._limit = limit
        self._pause = pause
        self._until = 0.0
        self.failures = 0
        """In a row. Whoever hears an answer asks this first: at 0 there is nothing to tell."""
        self.open = False

    def failed(self, now: float) -> bool:
        """The bot kept silent; True when this opens the breaker."""
        self.failures += 1
        if self.open or not self._limit or self.failures < self._limit:
            return False
        self.open = True
        self._until = now + self._pause
        return True

    def answered(self) -> None:
        """The bot is there."""
        self.failures = 0
        self.open = False

    def wait(self, now: float) -> int:
        """Whole seconds until the next try; 0 lets this one through, as the only one of the next ``pause`` seconds."""
        if not self.open:
            return 0
        if now < self._until:
            return max(1, math.ceil(self._until - now))
        # A place in time, not a lock: should this try hang, or its sender be unlucky, the next one is not far.
        self._until = now + self._pause
        return 0
