"""Latency that Hookgate adds at 1,000 requests a second: slices straight to the bot and slices through the gate, in turn."""

from typing import NamedTuple

from .generators import ready
from .stage import Stage

PACE = 1000  # requests a second
SLICES = 5
CONNECTIONS = 16
_WARM_UP = 200


class Latency(NamedTuple):
    """Milliseconds from the moment a request was due to the end of its answer."""

    p50: float
    p99: float

    @classmethod
    def of(cls, microseconds: list[float]) -> "Latency":
        """Percentiles by nearest rank."""
        ranked = sorted(microseconds)
        return cls(*(ranked[min(len(ranked) - 1, int(len(ranked) * share))] / 1000 for share in (0.50, 0.99)))


class Added(NamedTuple):
    """Both ways, side by side."""

    direct: Latency
    through: Latency

    @property
    def difference(self) -> Latency:
        """What the gate adds, percentile by percentile."""
        return Latency(self.through.p50 - self.direct.p50, self.through.p99 - self.direct.p99)


def measure(stage: Stage, port: int, requests: int) -> Added:
    """``requests`` a slice, ``SLICES`` slices a way."""
    direct: list[float] = []
    through: list[float] = []
    for _ in range(SLICES):
        for target, latencies in ((stage.bot_port, direct), (port, through)):
            order = stage.order(target, requests, CONNECTIONS, _WARM_UP, PACE)
            with ready("open_loop", order, stage.load_cores) as generator:
                latencies += generator.go()["microseconds"]
    return Added(Latency.of(direct), Latency.of(through))
