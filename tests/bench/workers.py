"""`python -m tests.bench.workers`: CPU time per request of a gate of one, two and four workers, all its processes together.

All of them run on one core, in rounds that take turns: what several workers cost more than one, in locks and in a parent, shows
there. Throughput grows with the cores that are free for them; this figure says how much of each core is work.
"""

import argparse
import sys
from dataclasses import replace

from . import throughput
from .__main__ import FULL, QUICK
from .peers import PEERS, Peer, Values
from .stage import Stage

NUMBERS = (1, 2, 4)


def peer(workers: int) -> Peer:
    """The gate of the bench with so many workers."""
    gate = next(one for one in PEERS if one.name == "hookgate")

    def command(run: Values) -> list[str]:
        return [*gate.command(run), "--workers", str(workers)]

    return replace(gate, name=f"workers-{workers}", command=command)


def main(words: list[str] | None = None) -> int:
    """Measure and print; 1 where a gate did not work."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.workers", description="CPU time per request of several workers")
    parser.add_argument("--quick", action="store_true", help="one small round, to see that it works")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--requests", type=int)
    wishes = parser.parse_args(words)
    scale = QUICK if wishes.quick else FULL
    scale = scale._replace(**{name: vars(wishes)[name] for name in ("rounds", "requests") if vars(wishes)[name]})
    with Stage() as stage:
        stage.start(map(peer, NUMBERS))
        costs = throughput.measure(stage, scale, lambda told: None)
        failed = dict(stage.failed)
    one = costs[f"workers-{NUMBERS[0]}"].median if f"workers-{NUMBERS[0]}" in costs else 0.0
    for number in NUMBERS:
        cost = costs.get(f"workers-{number}")
        if cost is not None:
            beside = f", {cost.median / one:.2f} of one worker's" if one and number > 1 else ""
            sys.stdout.write(f"{number} worker{'s' * (number > 1)}: {cost.median:.1f} µs of CPU a request{beside}\n")
    for name, why in failed.items():
        sys.stderr.write(f"{name}: {why}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
