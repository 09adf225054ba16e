"""`python -m tests.bench.workers`: CPU time per request of a gate of one, two and four workers, all its processes together.

All of them run on one core, in rounds that take turns, and each worker has as many connections as the single one: what several
workers cost more than one, in locks and in a parent, shows there. Throughput grows with the cores that are free for them; this
figure says how much of each core is work.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

from . import throughput
from .errors import BenchError
from .peers import PEERS, Peer, Values
from .stage import Stage
from .throughput import Cost, Scale

NUMBERS = (1, 2, 4)

Costs = dict[int, Cost]
"""By the number of workers."""


def peer(workers: int) -> Peer:
    """The gate of the bench with so many workers."""
    gate = next(one for one in PEERS if one.name == "hookgate")

    def command(run: Values) -> list[str]:
        return [*gate.command(run), "--workers", str(workers)]

    return replace(gate, name=f"workers-{workers}", command=command)


def measure(scale: Scale, tell: Callable[[str], None]) -> Costs:
    """All rounds of all of them, on a stage of their own; BenchError where a gate does not work."""
    rounds: dict[int, list[tuple[float, float, float]]] = {number: [] for number in NUMBERS}
    with Stage() as stage:
        stage.start(map(peer, NUMBERS))
        for name, why in stage.failed.items():
            raise BenchError(f"{name}: {why}")
        for turn in range(scale.rounds):
            for number in NUMBERS:
                crowd = scale._replace(connections=scale.connections * number)
                rounds[number].append(throughput.one_round(stage, stage.running[f"workers-{number}"], crowd))
            tell(f"workers: round {turn + 1} of {scale.rounds}")
    return {number: Cost(*zip(*rounds[number], strict=True)) for number in NUMBERS}


def table(costs: Costs) -> Iterator[str]:
    """Lines for people."""
    yield f"{'workers, on one core':<36} {'CPU us/request':>14} {'of one':>7}"
    for number, cost in costs.items():
        yield f"  {number:<34} {cost.median:>14.1f} {cost.median / costs[NUMBERS[0]].median:>7.2f}"


def main(words: list[str] | None = None) -> int:
    """Measure and print; 1 where a gate did not work."""
    # Imported here: what runs everything imports us.
    from .__main__ import FULL, QUICK

    parser = argparse.ArgumentParser(prog="python -m tests.bench.workers", description="CPU time per request of several workers")
    parser.add_argument("--quick", action="store_true", help="one small round, to see that it works")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--requests", type=int)
    wishes = parser.parse_args(words)
    scale = QUICK if wishes.quick else FULL
    scale = scale._replace(**{name: vars(wishes)[name] for name in ("rounds", "requests") if vars(wishes)[name]})
    try:
        costs = measure(scale, lambda told: None)
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("\n".join(table(costs)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
