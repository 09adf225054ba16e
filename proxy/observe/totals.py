"""The numbers of several workers as those of one gate: counts are added, those of workers that have died included.

What a worker tells is plain lists, as JSON carries them. Gauges are the parent's own, but for when a secret last matched.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

Numbers = list[list[Any]]
"""Families: name, kind, and samples of name, labels and value."""

_SUMMED: Final = frozenset({"counter", "histogram"})
_LATEST: Final = ("hookgate_secret_",)
_Sample = tuple[str, tuple[tuple[str, str], ...]]


def numbers_of(metrics: Collector) -> Numbers:
    """What a worker tells its parent: all that is summed, and when its secrets last matched."""
    return [
        [family.name, family.type, [[sample.name, sample.labels, sample.value] for sample in family.samples]]
        for family in metrics.collect()
        if family.type in _SUMMED or family.name.startswith(_LATEST)
    ]


class Totals(Collector):
    """``own`` are the parent's families, in their order; every series of the policy is among them.

    ``crew`` tells how many workers serve at this moment, and how many have died.
    """

    def __init__(self, own: Collector, pids: Callable[[], Iterable[int | str]], crew: Callable[[], tuple[int, int]]) -> None:
        self._own = own
        self._crew = crew
        self._living: dict[int, dict[_Sample, float]] = {}
        self._dead: dict[_Sample, float] = {}
        self._burying = threading.Lock()
        """A scrape is made in a thread: it must see each of the dead once, or a counter falls, which means a restart."""
        self._latest: set[str] = set()
        self._family: dict[str, str] = {}
        self._processes = _Processes(pids)
        self._registry = CollectorRegistry()
        for collector in (self, self._processes):
            self._registry.register(collector)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def describe(self) -> list[Metric]:
        """Nothing: a registry that asks would collect before the first worker is there."""
        return []

    def tell(self, pid: int, numbers: Numbers) -> None:
        """What a worker has counted since it was started."""
        told: dict[_Sample, float] = {}
        for name, kind, samples in numbers:
            if kind not in _SUMMED:
                self._latest.add(name)
            for sample, labels, value in samples:
                self._family[sample] = name
                told[sample, tuple(labels.items())] = value
        self._living[pid] = told

    def bury(self, pid: int) -> None:
        """A worker has ended: what it last told stays counted."""
        with self._burying:
            for sample, value in self._living.pop(pid, {}).items():
                _add(self._dead, sample, value, latest=self._family[sample[0]] in self._latest)
        self._processes.bury(pid)

    def matched(self) -> dict[tuple[str, str], tuple[float, float]]:
        """How often each secret matched, and when last, by route and id."""
        found: dict[tuple[str, str], tuple[float, float]] = {}
        for family in self.collect():
            for sample in family.samples if family.name.startswith("hookgate_secret_") else ():
                key = sample.labels["route"], sample.labels["secret"]
                matches, last = found.get(key, (0.0, 0.0))
                if sample.name == "hookgate_secret_matches_total":
                    found[key] = sample.value, last
                elif sample.name == "hookgate_secret_last_match_timestamp_seconds":
                    found[key] = matches, sample.value
        return found

    def render(self) -> bytes:
        """The text format (version 0.0.4)."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """The parent's families, with what the workers have told."""
        with self._burying:
            told, living = dict(self._dead), list(self._living.values())
        current: set[_Sample] = set()
        for one in living:
            current.update(one)
            for key, value in one.items():
                _add(told, key, value, latest=self._family[key[0]] in self._latest)
        for family in self._own.collect():
            latest = family.name in self._latest
            for index, sample in enumerate(family.samples):
                key = sample.name, tuple(sample.labels.items())
                count = told.get(key, 0.0)
                current.discard(key)
                value = max(sample.value, count) if latest else sample.value + count
                family.samples[index] = sample._replace(value=value)
            for name, labels in sorted(key for key in current if self._family[key[0]] == family.name):
                family.add_sample(name, dict(labels), told[name, labels])
            yield family
        serving, deaths = self._crew()
        yield GaugeMetricFamily("hookgate_workers", "Workers that serve.", value=serving)
        yield CounterMetricFamily("hookgate_worker_deaths", "Workers that ended without having been told to.", value=deaths)


def _add(sums: dict[_Sample, float], sample: _Sample, value: float, *, latest: bool) -> None:
    before = sums.get(sample, 0.0)
    sums[sample] = max(before, value) if latest else before + value


class _Processes(Collector):
    """The usual ``process_`` families, of parent and workers together."""

    def __init__(self, pids: Callable[[], Iterable[int | str]]) -> None:
        self._pids = pids
        self._spent: dict[int | str, float] = {}
        self._buried = 0.0

    def describe(self) -> list[Metric]:
        return []

    def bury(self, pid: int) -> None:
        """The processor time of who has ended stays counted."""
        self._buried += self._spent.pop(pid, 0.0)

    def collect(self) -> Iterator[Metric]:
        sums: dict[str, Metric] = {}
        for pid in self._pids():
            for family in ProcessCollector(pid=partial(str, pid), registry=None).collect():
                value = family.samples[0].value
                if family.name == "process_cpu_seconds":
                    self._spent[pid] = value
                found = sums.setdefault(family.name, family)
                if found is not family and family.name not in {"process_start_time_seconds", "process_max_fds"}:
                    found.samples[0] = found.samples[0]._replace(value=found.samples[0].value + value)
        spent = sums.get("process_cpu_seconds")
        if spent is not None:
            spent.samples[0] = spent.samples[0]._replace(value=spent.samples[0].value + self._buried)
        yield from sums.values()
