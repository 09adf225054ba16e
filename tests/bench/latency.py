"""Latency that Hookgate adds at 1,000 requests a second: slices straight to the bot and slices through the gate, in turn.

Each percentile is the median of the slices' own, so that one disturbed second of the machine is not taken for the gate's tail.
"""

from collections.abc import Callable
from statistics import median
from typing import NamedTuple

from .generators import ready
from .stage import Stage

PACE = 1000  # requests a second
CONNECTIONS = 16
_WARM_UP = 200


class Latency(NamedTuple):
    """Milliseconds from the moment a request was due to the end of its answer."""

    p50: float
    p99: float

    @classmethod
    def of(cls, slices: list[list[float]]) -> "Latency":
        """From microseconds; percentiles of a slice by nearest rank."""
        ranked = [sorted(microseconds) for microseconds in slices]
        return cls(*(median(slice_[int(len(slice_) * share)] for slice_ in ranked) / 1000 for share in (0.50, 0.99)))


class Added(NamedTuple):
    """Both ways, side by side."""

    direct: Latency
    through: Latency

    @property
    def difference(self) -> Latency:
        """What the gate adds, percentile by percentile."""
        return Latency(self.through.p50 - self.direct.p50, self.through.p99 - self.direct.p99)


def measure(stage: Stage, port: int, slices: int, requests: int, tell: Callable[[str], None]) -> Added:
    """``requests`` a slice, ``slices`` slices a way."""
    direct: list[list[float]] = []
    through: list[list[float]] = []
    for number in range(slices):
        for target, seen in ((stage.bot_port, direct), (port, through)):
            order = stage.order(target, requests, CONNECTIONS, _WARM_UP, PACE)
            with ready("open_loop", order, stage.load_cores) as generator:
                seen.append(generator.go()["microseconds"])
        tell(f"latency, slice {number + 1} of {slices}")
    return Added(Latency.of(direct), Latency.of(through))
