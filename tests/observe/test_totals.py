"""The numbers of several workers as one gate's."""

import threading
from collections.abc import Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from proxy.observe.totals import Totals

NAME = "hookgate_things"


class Own(Collector):
    """The parent's families: one counter, of which it has counted nothing."""

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily(NAME, "Things.", value=0)


class Meddled(dict[Any, Any]):
    """What living workers told; while a scrape looks at it, a worker is buried elsewhere."""

    def __init__(self, totals: Totals) -> None:
        self._burial = threading.Thread(target=totals.bury, args=(1,))

    def values(self) -> Any:
        self._burial.start()
        # Long enough for a burial that nothing holds up; one that has to wait for us ends later.
        self._burial.join(0.5)
        return super().values()

    def end(self) -> None:
        """It is over now."""
        self._burial.join()


def test_a_counter_does_not_fall_while_a_worker_is_buried() -> None:
    """A scrape in another thread counts a worker that dies meanwhile once: among the living or among the dead."""
    totals = Totals(Own(), list, lambda: (2, 0))
    living = totals._living = Meddled(totals)
    for pid in (1, 2):
        totals.tell(pid, [[NAME, "counter", [[f"{NAME}_total", {}, 10.0]]]])
    (family,) = (family for family in totals.collect() if family.name == NAME)
    assert [sample.value for sample in family.samples] == [20.0]
    living.end()
    totals._living = dict(living)
    (family,) = (family for family in totals.collect() if family.name == NAME)
    assert [sample.value for sample in family.samples] == [20.0]
