"""Counts by size, for distributions: adding is one look-up and two additions, the rest waits for the scrape."""

from bisect import bisect_left
from itertools import accumulate


class Histogram:
    """Counts by bucket, not yet cumulative."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """Upper bounds and what lies at or below each, as the exposition format wants them."""
        names = [*(repr(bound) for bound in self.bounds), "+Inf"]
        return list(zip(names, map(float, accumulate(self.counts)), strict=True))
