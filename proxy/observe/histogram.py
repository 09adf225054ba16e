"""Counts by size, for distributions: values are added a batch at a time."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate


class Histogram:
    """Counts by bucket, not yet cumulative."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, values: Sequence[float]) -> None:
        """Count some values, in one walk along the bounds."""
        ordered = sorted(values)
        below = 0
        for place, bound in enumerate(self.bounds):
            if below == len(ordered):
                break
            upto = bisect_right(ordered, bound)
            self.counts[place] += upto - below
            below = upto
        self.counts[-1] += len(ordered) - below
        self.sum += sum(ordered)

    def buckets(self) -> list[tuple[str, float]]:
        """Upper bounds and what lies at or below each, as the exposition format wants them."""
        names = [*(repr(bound) for bound in self.bounds), "+Inf"]
        return list(zip(names, map(float, accumulate(self.counts)), strict=True))
