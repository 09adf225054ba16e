"""`python -m tests.bench`: measure, print, and say by the exit code whether everything asked for ran (0) or something broke (1).

Goals that are not met are printed and do not change the exit code: figures of a busy machine must not fail a build.
"""

import argparse
import json
import resource
import signal
import sys
import tempfile
from pathlib import Path

from . import latency, memory, schemes, store_cost, throughput, workers
from .errors import BenchError
from .peers import PEERS, Peer
from .report import Report
from .stage import Stage
from .throughput import Scale

FULL = Scale(5, 20_000, connections=32, latency_slices=10, latency_requests=1_000, idle_connections=2_000, store_rounds=30)
QUICK = Scale(1, 400, connections=8, latency_slices=1, latency_requests=50, idle_connections=50, store_rounds=1)


def main(words: list[str] | None = None) -> int:
    """Run the bench with the command line's wishes."""
    wishes = _parser().parse_args(words)
    scale = QUICK if wishes.quick else FULL
    scale = scale._replace(**{name: vars(wishes)[name] for name in ("rounds", "requests", "connections") if vars(wishes)[name]})
    _allow_many_connections()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that whoever ends the bench ends its children
    try:
        report = run(scale, wishes.only)
    except BenchError as error:
        _tell(f"the bench's own bot: {error}")
        return 1
    sys.stdout.write(report.text() + "\n")
    if wishes.json:
        wishes.json.write_text(json.dumps(report.json(), indent=2) + "\n")
    return 1 if report.failed else 0


def run(scale: Scale, peers: tuple[Peer, ...]) -> Report:
    """Measure the peers that can be had; BenchError only when the bench's own bot does not work."""
    report = Report(scale)
    with Stage() as stage:
        stage.start(peers)
        report.costs = throughput.measure(stage, scale, _tell)
        _measure_gate(stage, report)
        report.missing, report.failed = stage.missing, stage.failed
    if "hookgate" in report.costs:
        try:
            report.workers = workers.measure(scale, _tell)
        except (BenchError, OSError) as error:
            report.failed["hookgate"] = str(error)
    return report


def _measure_gate(stage: Stage, report: Report) -> None:
    """What is measured of Hookgate alone."""
    gate = stage.running.get("hookgate")
    if gate is None:
        return
    try:
        report.latency = latency.measure(stage, gate.port, report.scale.latency_slices, report.scale.latency_requests, _tell)
        report.memory = memory.measure(stage, gate, report.scale.idle_connections)
        with tempfile.TemporaryDirectory() as folder:
            report.stores = store_cost.measure(Path(folder), report.scale.store_rounds, _tell)
            report.schemes = schemes.measure(Path(folder), report.scale.store_rounds, _tell)
    except (BenchError, OSError) as error:
        stage.drop("hookgate", error)


def _tell(progress: str) -> None:
    sys.stderr.write(progress + "\n")


def _allow_many_connections() -> None:
    """Children inherit the limit of open files."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _chosen(names: str) -> tuple[Peer, ...]:
    by_name = {peer.name: peer for peer in PEERS}
    try:
        return tuple(by_name[name] for name in names.split(","))
    except KeyError as error:
        raise argparse.ArgumentTypeError(f"no proxy {error}; there are {', '.join(by_name)}") from error


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be above zero")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m tests.bench", description="CPU time per request of Hookgate and its peers, side by side."
    )
    parser.add_argument("--only", type=_chosen, default=PEERS, metavar="NAME,NAME", help=", ".join(peer.name for peer in PEERS))
    parser.add_argument("--rounds", type=_positive, help=f"default {FULL.rounds}")
    parser.add_argument("--requests", type=_positive, help=f"a proxy and round, default {FULL.requests}")
    parser.add_argument("--connections", type=_positive, help=f"default {FULL.connections}")
    parser.add_argument("--quick", action="store_true", help="much less of everything: does it still run?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
