"""A run as a table for people and as JSON for machines. Every proxy asked for stands in both: measured, missing or failed."""

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median

from .goals import Goal, judge
from .latency import Added
from .memory import Memory
from .orders import Result
from .peers import PEERS
from .schemes import Costs as SchemeCosts
from .schemes import table as scheme_table
from .store_cost import Costs, table
from .throughput import Cost, Scale
from .update import BODY_BYTES
from .workers import Costs as WorkerCosts
from .workers import table as worker_table

QUIET = 0.03  # share of waiting above which a reader should know that the figures are disturbed
_TITLES = {peer.name: peer.title for peer in PEERS}
_CHECKS = {peer.name: peer.checks for peer in PEERS}


@dataclass
class Report:
    """What one run found out."""

    scale: Scale
    cores: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    costs: dict[str, Cost] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    latency: Added | None = None
    memory: Memory | None = None
    stores: Costs = field(default_factory=dict)
    schemes: SchemeCosts = field(default_factory=dict)
    workers: WorkerCosts = field(default_factory=dict)

    @property
    def goals(self) -> list[Goal]:
        """The promises beside what was measured."""
        return judge(self.costs, self.latency, self.memory, self.stores, self.schemes)

    def text(self) -> str:
        """All of it, in lines that fit a terminal."""
        parts = [self._setting(), self._table(), self._quiet(), self._apart(), self._gate(), self._goals()]
        return "\n".join(line for part in parts for line in part)

    def json(self) -> Result:
        """All of it, figures unrounded."""
        return {
            "scale": self.scale._asdict(),
            "cores": self.cores,
            "python": platform.python_version(),
            "costs": {name: cost._asdict() | {"median": cost.median} for name, cost in self.costs.items()},
            "missing": self.missing,
            "failed": self.failed,
            "latency_ms": {way: getattr(self.latency, way)._asdict() for way in ("direct", "through", "difference")}
            if self.latency
            else None,
            "store_us": self.stores,
            "scheme_us": self.schemes,
            "workers": {number: cost._asdict() for number, cost in self.workers.items()},
            "memory_bytes": self.memory._asdict() if self.memory else None,
            "goals": [goal._asdict() | {"met": goal.met} for goal in self.goals],
        }

    def _setting(self) -> Iterator[str]:
        scale = self.scale
        yield f"Hookgate bench: {scale.rounds} rounds of {scale.requests} requests over {scale.connections} connections,"
        yield f"{BODY_BYTES}-byte updates, keep-alive, loopback, Python {platform.python_version()}."
        if self.cores < 2:
            yield "Only one core here: proxy, bot and load share it, and the figures are worth little."

    def _table(self) -> Iterator[str]:
        gate = self.costs.get("hookgate")
        yield ""
        yield f"{'proxy':<20} {'checks':<22} {'CPU us/request':>14} {'min..max':>15} {'requests/s':>11} {'Hookgate is':>12}"
        for name, cost in self.costs.items():
            spread = f"{min(cost.microseconds):.1f}..{max(cost.microseconds):.1f}"
            ratio = f"{gate.median / cost.median:.2f} x" if gate else "-"
            speed = f"{median(cost.requests_per_second):.0f}"
            checks = _CHECKS[name] or "nothing"
            yield f"{_TITLES[name]:<20} {checks:<22} {cost.median:>14.1f} {spread:>15} {speed:>11} {ratio:>12}"

    def _quiet(self) -> Iterator[str]:
        shares = [share for cost in self.costs.values() for share in cost.waited]
        if shares and median(shares) > QUIET:
            yield f"The machine was busy: other work held the proxies' core {median(shares):.0%} of the time they wanted it."

    def _apart(self) -> Iterator[str]:
        yield from (f"missing: {_TITLES[name]} ({install})" for name, install in self.missing.items())
        yield from (f"failed: {_TITLES[name]}: {reason}" for name, reason in self.failed.items())

    def _gate(self) -> Iterator[str]:
        if self.latency:
            yield ""
            yield f"{'latency at 1,000 requests a second':<36} {'p50 ms':>8} {'p99 ms':>8}"
            ways = {"straight to the bot": self.latency.direct, "through Hookgate": self.latency.through}
            for title, way in (ways | {"added": self.latency.difference}).items():
                yield f"  {title:<34} {way.p50:>8.3f} {way.p99:>8.3f}"

        if self.stores:
            yield ""
            yield from table(self.stores)
        if self.workers:
            yield ""
            yield from worker_table(self.workers)
        if self.schemes:
            yield ""
            yield from scheme_table(self.schemes)

    def _goals(self) -> Iterator[str]:
        yield ""
        yield f"{'goal':<58} {'at most':>8} {'measured':>9}  met"
        for goal in self.goals:
            measured = "-" if goal.measured is None else f"{goal.measured:.2f}"
            met = {True: "yes", False: "no", None: "not measured"}[goal.met]
            yield f"{goal.promise:<58} {goal.limit:>8.2f} {measured:>9}  {met}"
