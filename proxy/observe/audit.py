"""What must be told later, in a chain of lines: refusals, turns of the switch, reloads, changes of secrets.

Lines wait in memory and are written by a thread of their own. A full disk costs lines, which are counted here and in the
chain, never time. Under a flood the refusals of one kind are damped, with counts. No body, no header value, no path, no secret.
"""

import queue
import threading
import time
from collections.abc import Mapping
from typing import Final

from proxy.exchange import Exchange
from proxy.observe.chainfile import ChainFile
from proxy.verdict import Outcome

_PER_SECOND: Final = 10
_WAITING: Final = 64
"""Batches that wait for a slow disk; one is made ten times a second."""

Record = Mapping[str, object]


class Audit:
    """Takes events from the event loop."""

    def __init__(self, file: ChainFile) -> None:
        self._file = file
        self._records: list[Record] = []
        self._batches: queue.Queue[list[Record] | None] = queue.Queue(_WAITING)
        self._second = 0
        self._told: dict[tuple[str, str], int] = {}
        self.dropped = 0
        """Lines that could not be written."""
        self._untold = 0
        self._counting = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)

    def open(self) -> str:
        """Begin; gives the digest of the last line there is. Raises ``StartError`` where the chain cannot go on."""
        last = self._file.prepare()
        self._thread.start()
        return last.digest

    def note(self, event: str, **facts: object) -> None:
        """One event, with plain words only."""
        self._records.append({"event": event, "time": _stamp(time.time()), **facts})

    def tell(self, event: str, **facts: object) -> None:
        """One event that is rare and matters: it is written now, not with the next tick."""
        self.note(event, **facts)
        self.tick()

    def observe(self, exchange: Exchange) -> None:
        """One line for a refusal, unless its kind is damped for this second."""
        if exchange.outcome is not Outcome.REFUSED:
            return
        second = int(exchange.arrived)
        if second > self._second:
            self._turn(second)
        kind = (exchange.route, exchange.reason.value)
        told = self._told.get(kind, 0)
        self._told[kind] = told + 1
        if told < _PER_SECOND:
            facts = {"reason": exchange.reason.value, "status": exchange.status, "client": exchange.client, "peer": exchange.peer}
            who = {"request_id": exchange.request_id, "route": exchange.route}
            self._records.append({"event": "refusal", "time": _stamp(exchange.arrived), **who, **facts})

    def tick(self) -> None:
        """Called a few times a second: hand over what is there."""
        now = int(time.time())
        if now < self._second or (self._told and now != self._second):
            self._turn(now)
        if not self._records:
            return
        records, self._records = self._records, []
        try:
            self._batches.put_nowait(records)
        except queue.Full:
            self._lose(len(records))

    def close(self) -> None:
        """Write what is left, waiting at most two seconds for a slow disk."""
        self._turn(self._second)
        self.tick()
        if not self._thread.is_alive():
            return
        try:
            self._batches.put(None, timeout=1.0)
        except queue.Full:
            return
        self._thread.join(1.0)

    def _turn(self, second: int) -> None:
        for (route, reason), told in self._told.items():
            if told > _PER_SECOND:
                self.note("refusals_damped", route=route, reason=reason, count=told - _PER_SECOND)
        self._told.clear()
        self._second = second

    def _lose(self, count: int) -> None:
        with self._counting:
            self.dropped += count
            self._untold += count

    def _run(self) -> None:
        while (records := self._batches.get()) is not None:
            lost = self._untold
            # The gap stands in the chain itself, so that nobody takes silence for peace.
            gap: list[Record] = [{"event": "lines_lost", "time": records[0]["time"], "count": lost}] if lost else []
            try:
                self._file.append([*gap, *records])
            except (OSError, ValueError):
                self._lose(len(records))
                continue
            with self._counting:
                self._untold -= lost
        self._file.close()


def _stamp(seconds: float) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{int(seconds % 1 * 1000):03d}Z"
