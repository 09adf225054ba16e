"""A light, steady load on a gate, request by request, with the time and the status of each answer."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import NamedTuple

from tests.gates import TOKEN, TOKEN_FIELD, Gate, post, status

DECIDED_SECONDS = 0.25
"""That a store may keep a verdict waiting."""
BUSY_SECONDS = 0.25
"""That a busy machine may add: sender, gate and bot share its processors with other tests."""


class Answered(NamedTuple):
    """One request."""

    began: float
    seconds: float
    status: int


class Trickle:
    """Sends until it is stopped."""

    def __init__(self, gates: list[Gate], pause: float) -> None:
        self.answers: list[Answered] = []
        self._gates = gates
        self._pause = pause
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for number in count(time.time_ns() // 1000):
            if self._stopped.is_set():
                return
            request = post("/telegram", b'{"update_id":%d,"message":{"text":"hello"}}' % number, {TOKEN_FIELD: TOKEN})
            began = time.monotonic()
            answer = self._gates[number % len(self._gates)].send(request)
            self.answers.append(Answered(began, time.monotonic() - began, status(answer)))
            time.sleep(self._pause)

    def stop(self) -> None:
        """Send no more."""
        self._stopped.set()
        self._thread.join()

    def since(self, moment: float) -> list[Answered]:
        """What was sent after that."""
        return [one for one in list(self.answers) if one.began > moment]

    def seen(self, wanted: int, after: float) -> bool:
        """Whether a request sent after that moment was answered so."""
        return any(one.status == wanted for one in self.since(after))

    def delay(self, wanted: int, after: float) -> float:
        """Seconds from that moment until the first such answer was there."""
        return next(one.began + one.seconds for one in self.since(after) if one.status == wanted) - after


@contextmanager
def trickle(*gates: Gate, pause: float = 0.01) -> Iterator[Trickle]:
    """Load on the gates in turn until the end of the block."""
    made = Trickle(list(gates), pause)
    try:
        yield made
    finally:
        made.stop()
