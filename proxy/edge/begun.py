"""Connections that are being set up, counted by the group of those whose they are.

SECURITY: handshakes that never end would else take everybody's places, and need no more than one address for it.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Crowded(Exception):
    """This group has as many under way as it may."""


class Begun:
    """At most ``most`` for each group at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._under_way: Counter[str] = Counter()

    @contextmanager
    def one_more(self, group: str) -> Iterator[None]:
        """Count one until the end of the block, unless the group is empty; raises ``Crowded``."""
        if not group:
            yield
            return
        if self._under_way[group] >= self._most:
            raise Crowded
        self._under_way[group] += 1
        try:
            yield
        finally:
            self._under_way[group] -= 1
            if not self._under_way[group]:
                del self._under_way[group]
