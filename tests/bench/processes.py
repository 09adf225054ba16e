"""Processes that the bench starts: pinned to cores from birth, timed with all their children, ended by their own ids.

Linux only: CPU clocks of other processes, /proc, core affinity.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from .errors import BenchError

ROOT = Path(__file__).parents[2]
_STEERING = ("PYTHON", "MALLOC_", "HOOKGATE_")
_CLOCK_OF_PROCESS = 2  # CPUCLOCK_SCHED, as clock_getcpuclockid(3) makes it


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of this package with this interpreter."""
    return [sys.executable, "-m", f"tests.bench.{module}", *arguments]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours, less what would change an interpreter or an allocator that is measured."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_STEERING)}
    return kept | {"PYTHONPATH": str(ROOT)} | dict(extra or {})


def free_port() -> int:
    """A port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def pinned(cores: set[int]) -> Iterator[None]:
    """Children that are started within inherit the cores, with every thread and process of theirs."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Child:
    """A started program and whatever it started itself."""

    def __init__(self, command: Sequence[str], cores: set[int], errors: Path, extra: Mapping[str, str] | None = None) -> None:
        self._errors = errors
        with pinned(cores), errors.open("wb") as stream:
            self._process = subprocess.Popen(  # noqa: S603 - the bench's own commands, no shell
                command,
                cwd=errors.parent,
                env=environment(extra),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stream,
            )

    def require_alive(self) -> None:
        """BenchError with the last words when the program has ended."""
        status = self._process.poll()
        if status is not None:
            words = self._errors.read_text(errors="replace").strip().splitlines()
            raise BenchError(f"ended with {status}: {words[-1][:300] if words else 'said nothing'}")

    def processes(self) -> list[int]:
        """Ids of the program and all its descendants."""
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = entry.read_text(errors="replace").rpartition(")")[2].split()
            except OSError:
                continue  # ended between the listing and the reading
            children.setdefault(int(fields[1]), []).append(int(entry.parent.name))
        found = [self._process.pid]
        for parent in found:
            found += children.get(parent, [])
        return found

    def cpu_seconds(self) -> float:
        """CPU time of all threads of all its processes, user and system, since each began."""
        return sum(time.clock_gettime((~number << 3) | _CLOCK_OF_PROCESS) for number in self.processes())

    def waited_seconds(self) -> float:
        """How long its threads were ready to run while something else held their core (schedstat's run delay)."""
        waits = [
            int(entry.read_text().split()[1])
            for number in self.processes()
            for entry in Path(f"/proc/{number}/task").glob("*/schedstat")
        ]
        return sum(waits) / 1e9

    def resident_bytes(self) -> list[int]:
        """Resident memory (VmRSS) of each of its processes."""
        sizes = []
        for number in self.processes():
            fields = Path(f"/proc/{number}/status").read_text().partition("VmRSS:")[2].split()
            sizes.append(int(fields[0]) * 1024)
        return sizes

    def end(self) -> None:
        """Ask, wait 5 s, then kill what is left of this tree, by id."""
        family = self.processes()
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            for number in family:
                _kill(number)
            self._process.wait(5)


def _kill(number: int) -> None:
    try:
        os.kill(number, signal.SIGKILL)
    except ProcessLookupError:
        return
