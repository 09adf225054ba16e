"""A gate and a witness as processes of their own, each of which may be killed and comes back; and what the witness wrote down."""

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.gates import PATIENCE, ROOT, TOKEN, Gate, serving
from tests.policies import policy_text


class Executed(NamedTuple):
    """One line of the witness."""

    number: int
    marked: bool
    """It came as one that may have been delivered before."""


class Scene:
    """``gate`` and ``bot_port`` change with each life."""

    def __init__(
        self,
        folder: Path,
        *,
        in_doubt: str = "deliver",
        workers: int = 1,
        slowness: float = 0.0,
        retry: str = "never",
        timeout: str = "20s",
    ) -> None:
        self.folder = folder
        self.timeout = timeout
        """How long the gate waits for the witness; out of reach of a busy machine where every doubt is to be counted."""
        self.retry = retry
        self.in_doubt = in_doubt
        self.workers = workers
        self.slowness = slowness
        """Milliseconds that an answer of the witness takes at most."""
        self.lives = 0
        self.gate: Gate
        self.bot_port = 0
        self._journal = folder / "journal"
        self._read = 0
        self._executed: list[Executed] = []
        self._life = ExitStack()
        self._bot: subprocess.Popen[bytes] | None = None

    def start_bot(self) -> None:
        """A new life of the witness, on a port of its own; it goes on with the same journal."""
        self._bot = subprocess.Popen(  # noqa: S603 - our own code
            [sys.executable, "-m", "tests.delivery.witness", str(self._journal), str(self.slowness)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        assert self._bot.stdout is not None
        self.bot_port = int(self._bot.stdout.readline())

    def signal_bot(self, number: int) -> None:
        """Stop it, let it go on, or kill it."""
        assert self._bot is not None
        self._bot.send_signal(number)

    def kill_bot(self) -> None:
        """``kill -9``."""
        assert self._bot is not None
        self._bot.kill()
        self._bot.wait(PATIENCE)
        assert self._bot.stdout is not None
        self._bot.stdout.close()

    def start_gate(self, upstream: int, **more: Any) -> None:
        """A new life of the gate, towards this port; its store is the same."""
        policy = self.folder / "policy.yaml"
        policy.write_text(self._policy(upstream, more))
        self.gate = self._life.enter_context(serving(policy))
        self.lives += 1

    def kill_gate(self) -> None:
        """``kill -9``, the workers as well."""
        for process in processes(self.gate.process.pid):
            kill(process)
        self.gate.stop(signal.SIGKILL)
        self._end_life()

    def kill_worker(self) -> None:
        """``kill -9`` of one of them, by chance; the gate goes on and replaces it."""
        kill(random.choice(processes(self.gate.process.pid)))  # noqa: S311 - a test's

    def stop_gate(self) -> int:
        """In order."""
        code = self.gate.stop()
        self._end_life()
        return code

    def _end_life(self) -> None:
        self._life.close()
        for log in self.folder.glob("policy.yaml.*.log"):
            log.unlink()

    def executed(self) -> list[Executed]:
        """Everything that the witness has written down."""
        with self._journal.open("rb") as opened:
            opened.seek(self._read)
            lines = opened.read().split(b"\n")
        self._read += sum(len(line) + 1 for line in lines[:-1])
        self._executed += [Executed(int(number), mark == b"1") for number, mark in (line.split() for line in lines[:-1])]
        return self._executed

    def close(self) -> None:
        """End both."""
        if self._bot is not None and self._bot.poll() is None:
            self.kill_bot()
        self._end_life()

    def _policy(self, upstream: int, more: dict[str, Any]) -> str:
        route = {
            "name": "telegram",
            "path": "/telegram",
            "provider": "telegram",
            "secrets": [{"id": "first", "value": TOKEN}],
            "rules": {"replay": {"in_doubt": self.in_doubt}},
        }
        to = {
            "url": f"http://127.0.0.1:{upstream}",
            "timeout": self.timeout,
            "connect_timeout": "500ms",
            "retry": self.retry,
            "breaker": {"open": "200ms"},
        }
        store = {"url": "sqlite:state/claims.db"}
        top = {"store": store, "workers": self.workers, "log": {"level": "warning"}, "upstream": to}
        return policy_text([route], **{**top, **more})


def kill(process: int) -> None:
    """``kill -9``; it may have ended by itself."""
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return


def processes(parent: int) -> list[int]:
    """The living children of a process, by /proc."""
    try:
        written = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    except OSError:
        return []
    return [int(one) for one in written.split()]


@contextmanager
def played(folder: Path, **options: Any) -> Iterator[Scene]:
    """A scene with a living witness and no gate yet, until the end of the block."""
    scene = Scene(folder, **options)
    try:
        scene.start_bot()
        yield scene
    finally:
        scene.close()


def first_times(executed: list[Executed]) -> list[int]:
    """Each update where it was executed first."""
    return list(dict.fromkeys(one.number for one in executed))


def unmarked(executed: list[Executed]) -> Counter[int]:
    """How often each update came as a new one."""
    return Counter(one.number for one in executed if not one.marked)
