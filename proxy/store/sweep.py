"""Finding expired rows without an index: a walk through the table, a few rows at a time, round and round.

Each look costs about a tenth of a millisecond, whatever the size of the table.
"""

from collections.abc import Callable

from proxy.store.table import DELIVERED_OWNER, Table

_ROWS = 128
_CALM_SECONDS = 0.25
_BUSY_SECONDS = 0.02


class Sweeper:
    """Where the walk is, and what it has counted. ``pause`` is the time in seconds until the next look."""

    def __init__(self) -> None:
        self.pause = _CALM_SECONDS
        self.entries: int | None = None
        """All rows counted, when a round has just ended."""
        self._after = b""
        self._rows = 0

    def look(self, table: Table, lives: Callable[[int, bytes], bool], now: float) -> list[tuple[bytes, int]]:
        """The next rows (key, owner) that nobody needs any more: expired, and settled or left by a dead owner."""
        chunk = table.chunk(self._after, _ROWS, now)
        doomed = [(key, owner) for key, owner in chunk.expired if owner == DELIVERED_OWNER or not lives(owner, key)]
        self.entries = None
        if chunk.last is None or chunk.rows < _ROWS:
            self.entries = self._rows + chunk.rows
            self._after, self._rows = b"", 0
        else:
            self._after = chunk.last
            self._rows += chunk.rows - len(doomed)
        # Where a quarter has expired the walk hurries: the file stays within a third of what is alive.
        self.pause = _BUSY_SECONDS if len(doomed) > _ROWS // 4 else _CALM_SECONDS
        return doomed
