"""Gates of several workers for the tests: who they are, and senders that keep asking while something happens to them."""

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.edge.lines import Line
from tests.edge.stages import policy, update
from tests.gates import Gate, serving, until
from tests.upstream.bots import ScriptedBot, Talk, scripted

TREE = Path("/proc")
_firsts = itertools.count(1_000_000, 1_000_000)
"""Each sender counts its updates from one of its own."""


def of_workers(number: int, url: str, **top: Any) -> str:
    """A policy of so many workers on a file of claims."""
    return policy(url, store={"url": "sqlite:claims.db"}, workers=number, **top)


def children(pid: int) -> list[int]:
    """The processes that this one has started and that still run."""
    found = []
    for entry in TREE.iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if int(parent) == pid and state != "Z":
                found.append(int(entry.name))
    return sorted(found)


def workers(gate: Gate) -> list[int]:
    """The workers of a gate by their process ids, once they know their seats."""
    return [pid for pid in children(gate.process.pid) if _name(pid).startswith("hookgate-")]


def unnamed(gate: Gate) -> list[int]:
    """Its other processes: what workers are forked from, and those that have just been."""
    return [pid for pid in children(gate.process.pid) if pid not in workers(gate)]


def _name(pid: int) -> str:
    try:
        return (TREE / str(pid) / "comm").read_text()
    except OSError:
        return ""


def alive(pid: int) -> bool:
    """Whether a process runs, whosever child it is."""
    try:
        return (TREE / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def sockets(pid: int) -> int:
    """How many sockets a process holds."""
    return sum(os.readlink(entry).startswith("socket:") for entry in (TREE / str(pid) / "fd").iterdir() if entry.is_symlink())


@contextmanager
def crew(folder: Path, number: int, script: Callable[[Talk], None], **top: Any) -> Iterator[tuple[Gate, ScriptedBot]]:
    """A gate of so many workers in front of a scripted bot."""
    file = folder / "policy.yaml"
    with scripted(script) as bot:
        file.write_text(of_workers(number, f"http://127.0.0.1:{bot.port}", **top))
        with serving(file) as gate:
            yield gate, bot


class Senders:
    """Senders that ask one request after the other, each an update of its own, until told to stop.

    ``statuses`` are the answers; ``broken`` counts connections that ended under a request.
    """

    def __init__(self, gate: Gate, number: int) -> None:
        self.statuses: list[int] = []
        self.broken = 0
        self.asked = 0
        self._gate = gate
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(next(_firsts),)) for _ in range(number)]
        for thread in self._threads:
            thread.start()

    def _ask(self, number: int) -> None:
        while not self._stop.is_set():
            try:
                with Line(self._gate) as line:
                    while not self._stop.is_set():
                        number += 1
                        self.asked += 1
                        found = line.ask(update(number))
                        self.statuses.append(found.status)
                        if found.field(b"Connection") == b"close":
                            break
            except (OSError, AssertionError, EOFError):
                self.broken += 1
                time.sleep(0.02)

    def going(self, more: int = 50) -> None:
        """Wait until so many more have been answered."""
        before = len(self.statuses)
        until(lambda: len(self.statuses) >= before + more or None, "requests to be answered")

    def stop(self) -> None:
        """Ask no more; what was asked has been answered."""
        self._stop.set()
        for thread in self._threads:
            thread.join()


@contextmanager
def sending(gate: Gate, number: int = 4) -> Iterator[Senders]:
    """Senders until the end of the block."""
    senders = Senders(gate, number)
    try:
        yield senders
    finally:
        senders.stop()
