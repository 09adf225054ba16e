"""Workers are forked from a process that lives for that alone: unseen once they serve, and its death costs a try, no more."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gates import PATIENCE, Gate, until
from tests.upstream.bots import OK, always
from tests.workers.crews import TREE, children, crew, sending, unnamed, workers


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """Two workers."""
    with crew(tmp_path, 2, always(OK)) as (made, _):
        yield made


def memory(pid: int, kind: str) -> int:
    """Resident kB of a process, of one kind: ``Rss`` is all of it, ``Private_`` what nobody shares."""
    lines = (TREE / str(pid) / "smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(kind))


def whole(gate: Gate) -> None:
    """Wait until two workers serve, and nothing else is there."""
    until(lambda: (gate.metric("hookgate_workers") == 2 and len(workers(gate)) == 2) or None, "two workers")
    until(lambda: not unnamed(gate) or None, "nobody else to be there")


def test_only_workers_are_left(gate: Gate) -> None:
    """What workers are forked from is gone when they serve; they are the gate's own children, and share most of their memory."""
    whole(gate)
    for pid in workers(gate):
        assert memory(pid, "Private_") < memory(pid, "Rss") / 2


def test_what_they_are_forked_from_is_killed(gate: Gate) -> None:
    """Killed while a worker is to be replaced, it is started anew, and the worker that was left goes on serving."""
    whole(gate)
    with sending(gate, 2) as senders:
        senders.going(10)
        victim, other = workers(gate)
        os.kill(victim, signal.SIGKILL)

        def killed() -> bool:
            for pid in unnamed(gate):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return any("cannot be started" in line.get("message", "") for line in gate.lines())

        until(killed, "a try that fails")
        whole(gate)
        assert other in workers(gate)
        senders.going(20)
    assert set(senders.statuses) == {200}


def stop_a_successor(gate: Gate) -> None:
    """Have a worker replaced, and its successor stand still before it serves."""
    for _ in range(20):
        whole(gate)
        ours = set(children(gate.process.pid))
        os.kill(workers(gate)[0], signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE
        # What it is forked from comes first.
        while len(new := set(children(gate.process.pid)) - ours) < 2:
            assert time.monotonic() < deadline
        os.kill(max(new), signal.SIGSTOP)
        if gate.metric("hookgate_workers") == 1:
            return
        os.kill(max(new), signal.SIGCONT)  # it was quicker
    raise AssertionError("every successor served at once")


def test_the_end_while_a_worker_is_replaced(tmp_path: Path) -> None:
    """A gate that ends before the successor of a dead worker serves ends in order: that one has left nothing behind."""
    with crew(tmp_path, 2, always(OK), limits={"drain_timeout": "1s"}) as (gate, _):
        stop_a_successor(gate)
        assert gate.stop() == 0
