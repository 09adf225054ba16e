"""`python -m tests.bench.workers`: CPU time per request of a gate of two and four workers, beside as many gates with one each.

All of them run on one core, in rounds that take turns, with as many connections for each worker or gate. Processes that share a
core spoil each other's caches, which costs more than anything else here; so what it costs that workers share a socket, a store,
rates and a parent shows beside gates that share nothing. Throughput grows with the cores that are free for them.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from statistics import median
from typing import NamedTuple

from .errors import BenchError
from .generators import ready
from .peers import PEERS, Peer, Values
from .stage import Running, Stage
from .throughput import Scale

NUMBERS = (1, 2, 4)


class Cost(NamedTuple):
    """Microseconds of CPU a request, a figure a round: of a gate with so many workers, and of as many gates with one."""

    together: list[float]
    apart: list[float]


Costs = dict[int, Cost]
"""By the number of workers."""


def peer(workers: int, name: str) -> Peer:
    """The gate of the bench with so many workers."""
    gate = next(one for one in PEERS if one.name == "hookgate")

    def command(run: Values) -> list[str]:
        return [*gate.command(run), "--workers", str(workers)]

    return replace(gate, name=name, command=command)


def measure(scale: Scale, tell: Callable[[str], None]) -> Costs:
    """All rounds of all of them, on a stage of their own; BenchError where a gate does not work."""
    costs = {number: Cost([], []) for number in NUMBERS}
    with Stage() as stage:
        stage.start(peer(number, f"workers-{number}") for number in NUMBERS)
        stage.start(peer(1, f"alone-{number}") for number in range(max(NUMBERS)))
        for name, why in stage.failed.items():
            raise BenchError(f"{name}: {why}")
        for turn in range(scale.rounds):
            for number, cost in costs.items():
                cost.together.append(_spent(stage, scale, [stage.running[f"workers-{number}"]] * number))
                cost.apart.append(_spent(stage, scale, [stage.running[f"alone-{one}"] for one in range(number)]))
            tell(f"workers: round {turn + 1} of {scale.rounds}")
    return costs


def _spent(stage: Stage, scale: Scale, gates: Sequence[Running]) -> float:
    """Microseconds a request, with a generator for each of these at the same time."""
    each = max(scale.requests // len(gates), scale.connections)
    children = {gate.child for gate in gates}
    with ExitStack() as stack:
        orders = [stage.order(gate.port, each, scale.connections, scale.connections) for gate in gates]
        generators = [stack.enter_context(ready("closed_loop", order, stage.load_cores)) for order in orders]
        before = sum(child.cpu_seconds() for child in children)
        with ThreadPoolExecutor(len(generators)) as threads:
            for ended in [threads.submit(generator.go) for generator in generators]:
                ended.result()
        spent = sum(child.cpu_seconds() for child in children) - before
    return spent / each / len(gates) * 1e6


def table(costs: Costs) -> Iterator[str]:
    """Lines for people. The ratio is of rounds that ran one after the other."""
    yield f"{'workers, all on one core':<28} {'CPU us/request':>14} {'as many gates':>14} {'ratio':>7}"
    for number, cost in costs.items():
        ratio = median(one / other for one, other in zip(*cost, strict=True))
        yield f"  {number:<26} {median(cost.together):>14.1f} {median(cost.apart):>14.1f} {ratio:>7.2f}"


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
