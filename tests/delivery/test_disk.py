"""A disk that is full, takes no writes, or keeps half of one: 503 and nothing at the bot; when it is well, so is the gate."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.delivery.scene import Scene, played
from tests.edge.lines import Answer, Line
from tests.edge.stages import update
from tests.gates import until


def ask(scene: Scene, number: int) -> Answer:
    """The answer to this update."""
    with Line(scene.gate) as line:
        return line.ask(update(number))


def executed(scene: Scene) -> list[int]:
    """What the bot has executed."""
    return [one.number for one in scene.executed()]


@contextmanager
def no_space(process: int, size: int) -> Iterator[None]:
    """The process may not let a file grow beyond so many bytes (setrlimit(2)); at 0 it may not write at all."""
    before = resource.prlimit(process, resource.RLIMIT_FSIZE)
    resource.prlimit(process, resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.prlimit(process, resource.RLIMIT_FSIZE, before)


TRIES = 60
"""A newer SQLite finds room in its log for a third of them, once it may not grow any more."""


def refused(scene: Scene, first: int) -> list[int]:
    """Which of the updates from this one on are refused; all such say when to come again, and none reaches the bot."""
    found = []
    for number in range(first, first + TRIES):
        answer = ask(scene, number)
        if answer.status != 200:
            assert (answer.status, answer.field(b"Retry-After")) == (503, b"5")
            found.append(number)
    assert not set(found) & set(executed(scene))
    return found


@pytest.mark.parametrize("growth", [8192, None], ids=["full", "read-only"])
def test_no_space(tmp_path: Path, growth: int | None) -> None:
    """Updates that cannot be written down are refused; once they can, their repeats are delivered, and old ones still known."""
    with played(tmp_path) as scene:
        scene.start_gate(scene.bot_port)
        assert [ask(scene, number).status for number in range(1, 21)] == [200] * 20
        log = tmp_path / "state" / "claims.db-wal"
        with no_space(scene.gate.process.pid, log.stat().st_size + growth if growth is not None else 0):
            late = refused(scene, 100)
            assert len(late) > 20
            assert scene.gate.metric("hookgate_store_errors_total", operation="claim") >= len(late)
        until(lambda: ask(scene, late[0]).status == 200, "the store to recover")
        assert {ask(scene, number).status for number in late} == {200}
        assert {ask(scene, number).status for number in range(1, 21)} == {200}
        accepted = sorted({*range(1, 21), *range(100, 100 + TRIES)})
        assert sorted(executed(scene)) == accepted
        # Whatever was not written meanwhile has been since: a new life knows it.
        scene.kill_gate()
        scene.start_gate(scene.bot_port)
        assert {ask(scene, number).status for number in accepted} == {200}
        assert sorted(executed(scene)) == accepted


def _mount(place: Path) -> str:
    """A small disk at this place; why not, where that is not possible."""
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        return "mounting needs root"
    done = subprocess.run(  # noqa: S603 - our own command
        [mount, "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    return done.stderr


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A disk of half a mebibyte for the store; False where the machine does not allow one, and it says why."""
    place = folder / "state"
    place.mkdir()
    why = _mount(place)
    if why:
        sys.stdout.write(f"no disk of its own for this test, only limits on file sizes: {why}\n")
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run([shutil.which("umount") or "umount", "-l", str(place)], check=True)  # noqa: S603 - our own command


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """The same on a disk that something else fills, where this machine lets us make one."""
    with small_disk(tmp_path) as real, played(tmp_path) as scene:
        scene.start_gate(scene.bot_port)
        assert ask(scene, 1).status == 200
        if not real:
            return
        filler = tmp_path / "state" / "filler"
        with filler.open("wb", buffering=0) as opened, pytest.raises(OSError, match="No space left"):
            while opened.write(b"x" * 4096):
                pass
        late = refused(scene, 100)
        assert late
        filler.unlink()
        until(lambda: ask(scene, late[0]).status == 200, "the store to recover")
        assert {ask(scene, number).status for number in (1, *range(100, 100 + TRIES))} == {200}
        assert sorted(executed(scene)) == [1, *range(100, 100 + TRIES)]
        assert scene.stop_gate() == 0


_TORN = 700
"""Bytes, of the 1048 that a page takes in the log: more would reach into the write before the last."""


def _cut(log: Path) -> None:
    """The last write came only by half."""
    os.truncate(log, log.stat().st_size - _TORN)


def _scramble(log: Path) -> None:
    """The end of the last write's last page is something else."""
    with log.open("r+b") as opened:
        opened.seek(-_TORN, os.SEEK_END)
        opened.write(os.urandom(_TORN))


@pytest.mark.parametrize("tear", [_cut, _scramble])
def test_a_torn_log(tmp_path: Path, tear: Callable[[Path], None]) -> None:
    """When the last write before a crash is torn the gate starts, knows all before it, and takes the last again at worst."""
    with played(tmp_path) as scene:
        scene.start_gate(scene.bot_port)
        assert [ask(scene, number).status for number in range(1, 31)] == [200] * 30
        scene.kill_gate()
        tear(tmp_path / "state" / "claims.db-wal")
        scene.start_gate(scene.bot_port)
        assert {ask(scene, number).status for number in range(1, 41)} == {200}
        came = executed(scene)
        assert set(came) == set(range(1, 41))
        assert len(came) <= 41
        assert came.count(30) == len(came) - 39


def test_a_file_that_is_broken_under_a_running_gate(tmp_path: Path) -> None:
    """What can no longer be read accepts nothing; once it is moved away a new file is made, without a restart."""
    with played(tmp_path) as scene:
        scene.start_gate(scene.bot_port)
        assert [ask(scene, number).status for number in range(1, 6)] == [200] * 5
        state = tmp_path / "state"
        for name in ("claims.db", "claims.db-wal", "claims.db-shm"):
            with (state / name).open("r+b") as opened:  # in place: its pages are mapped into the gate
                opened.write(os.urandom((state / name).stat().st_size))
        assert len(refused(scene, 100)) == TRIES
        for file in state.glob("claims.db*"):
            if not file.name.endswith("owners"):
                file.unlink()
        until(lambda: ask(scene, 100).status == 200, "a new file")
        assert {ask(scene, number).status for number in range(100, 100 + TRIES)} == {200}
        assert [executed(scene).count(number) for number in range(100, 100 + TRIES)] == [1] * TRIES
        scene.gate.process.send_signal(signal.SIGTERM)
        assert scene.gate.process.wait(30) == 0
