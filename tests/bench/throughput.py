"""CPU time per request of each proxy, in rounds that take turns, so that a drift of the machine hits all of them alike."""

from collections.abc import Callable
from statistics import median
from typing import NamedTuple

from .errors import BenchError
from .generators import ready
from .stage import Running, Stage


class Scale(NamedTuple):
    """How much is measured."""

    rounds: int
    requests: int
    """Per proxy and round."""
    connections: int
    latency_slices: int
    """Of the open loop: so many straight to the bot, and so many through the gate."""
    latency_requests: int
    """Per slice."""
    idle_connections: int
    store_rounds: int


class Cost(NamedTuple):
    """What the rounds of one proxy showed."""

    microseconds: tuple[float, ...]
    """CPU time per request, a figure a round."""
    requests_per_second: tuple[float, ...]
    waited: tuple[float, ...]
    """Share of the time in which it could have run and something else held its core; near 0 on a quiet machine."""

    @property
    def median(self) -> float:
        """CPU microseconds per request."""
        return median(self.microseconds)


def measure(stage: Stage, scale: Scale, tell: Callable[[str], None]) -> dict[str, Cost]:
    """All rounds of all running proxies; one that fails in between is dropped from the stage and from the result."""
    rounds: dict[str, list[tuple[float, float, float]]] = {name: [] for name in stage.running}
    for number in range(scale.rounds):
        for name, running in list(stage.running.items()):
            try:
                rounds[name].append(_one_round(stage, running, scale))
            except (BenchError, OSError) as error:
                stage.drop(name, error)
        tell(f"round {number + 1} of {scale.rounds}")
    return {name: Cost(*zip(*rounds[name], strict=True)) for name in stage.running}


def _one_round(stage: Stage, running: Running, scale: Scale) -> tuple[float, float, float]:
    """The figures of a ``Cost``, for one round."""
    warm_up = max(scale.connections, scale.requests // 20)
    order = stage.order(running.port, scale.requests, scale.connections, warm_up)
    with ready("closed_loop", order, stage.load_cores) as generator:
        running.child.require_alive()
        waited, spent = running.child.waited_seconds(), running.child.cpu_seconds()
        result = generator.go()
        spent, waited = running.child.cpu_seconds() - spent, running.child.waited_seconds() - waited
    return spent / scale.requests * 1e6, scale.requests / result["seconds"], waited / (waited + spent)
