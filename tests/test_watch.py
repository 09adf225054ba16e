"""Changed files are seen by their content, however they were changed, and only once the writer has finished."""

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import pytest

from proxy.watch import look, watch
from tests.gates import PATIENCE


class Seen:
    """What the watched file held at each call."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.contents: list[str] = []
        self.fails = 0

    async def changed(self) -> None:
        """Called by the watcher."""
        self.contents.append(self._file.read_text() if self._file.exists() else "(gone)")
        if self.fails:
            self.fails -= 1
            raise RuntimeError("a defect in what was told")

    async def until(self, number: int) -> list[str]:
        """Wait for so many calls."""
        deadline = time.monotonic() + PATIENCE
        while len(self.contents) < number:
            assert time.monotonic() < deadline, self.contents
            await asyncio.sleep(0.01)
        return self.contents


class Named(tuple[Path, ...]):
    """Files that tell when each of them has been looked at."""

    looked: threading.Event

    def __new__(cls, paths: tuple[Path, ...]) -> Self:
        made = super().__new__(cls, paths)
        made.looked = threading.Event()
        return made

    def __iter__(self) -> Iterator[Path]:
        yield from super().__iter__()
        self.looked.set()


@asynccontextmanager
async def watching(file: Path, *more: Path) -> AsyncIterator[Seen]:
    """A watcher over the files, which has taken its first look."""
    seen = Seen(file)
    named = Named((file, *more))
    task = asyncio.create_task(watch(lambda: named, lambda: seen.changed()))
    try:
        await asyncio.to_thread(named.looked.wait, PATIENCE)
        yield seen
    finally:
        task.cancel()


def rewrite(file: Path) -> None:
    """In place, as an editor may."""
    file.write_text("two")


def rename(file: Path) -> None:
    """Beside it, then over it, as most editors do."""
    fresh = file.with_suffix(".new")
    fresh.write_text("two")
    fresh.replace(file)


def keep_the_times(file: Path) -> None:
    """The same size, inode and times: only the content tells."""
    facts = file.stat()
    file.write_text("two")
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def remove_and_make(file: Path) -> None:
    """Gone for a moment."""
    file.unlink()
    file.write_text("two")


@pytest.mark.parametrize("change", [rewrite, rename, keep_the_times, remove_and_make])
async def test_changes(change: Callable[[Path], None], tmp_path: Path) -> None:
    """Every way to change a file is seen once, with the new content in place."""
    file = tmp_path / "policy.yaml"
    file.write_text("one")
    async with watching(file) as seen:
        change(file)
        assert await seen.until(1) == ["two"]
        file.write_text("three")
        assert await seen.until(2) == ["two", "three"]


async def test_a_link_that_is_swapped(tmp_path: Path) -> None:
    """A mounted volume changes all its files by swapping one link; that is one change."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "secret").write_text(name)
        (tmp_path / name / "policy").write_text(name)
    (tmp_path / "data").symlink_to("first")
    for name in ("secret", "policy"):
        (tmp_path / name).symlink_to(f"data/{name}")
    async with watching(tmp_path / "secret", tmp_path / "policy") as seen:
        (tmp_path / "fresh").symlink_to("second")
        (tmp_path / "fresh").replace(tmp_path / "data")
        assert await seen.until(1) == ["second"]


async def test_a_writer_that_is_half_way(tmp_path: Path) -> None:
    """A file that still grows is left alone until it has been the same in two looks."""
    file = tmp_path / "policy.yaml"
    file.write_text("whole")
    async with watching(file) as seen:
        with file.open("w") as opened:
            deadline = time.monotonic() + 1.5
            while time.monotonic() < deadline:
                opened.write("more\n")
                opened.flush()
                await asyncio.sleep(0.02)
            assert seen.contents == []
            opened.write("end")
        assert (await seen.until(1))[0].endswith("end")


async def test_gone_and_back(tmp_path: Path) -> None:
    """A file that is missing has changed, and again when it is back."""
    file = tmp_path / "policy.yaml"
    file.write_text("one")
    async with watching(file) as seen:
        file.unlink()
        assert await seen.until(1) == ["(gone)"]
        file.write_text("one")
        assert await seen.until(2) == ["(gone)", "one"]


async def test_a_change_that_cannot_be_taken(tmp_path: Path) -> None:
    """Whatever goes wrong with one change, the next is still seen."""
    file = tmp_path / "policy.yaml"
    file.write_text("one")
    async with watching(file) as seen:
        seen.fails = 1
        file.write_text("two")
        await seen.until(1)
        file.write_text("three")
        assert await seen.until(2) == ["two", "three"]


async def test_a_change_during_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What changes while an earlier change is being taken is seen as well."""
    file = tmp_path / "policy.yaml"
    file.write_text("one")
    async with watching(file) as seen:
        took = seen.changed

        async def slowly() -> None:
            await took()
            if len(seen.contents) == 1:
                file.write_text("three")

        monkeypatch.setattr(seen, "changed", slowly)
        file.write_text("two")
        assert await seen.until(2) == ["two", "three"]


async def test_other_files_after_a_change(tmp_path: Path) -> None:
    """After a change the files that the new policy names are watched."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("one")
    second.write_text("one")
    seen = Seen(second)
    before, after = Named((first,)), Named((second,))

    task = asyncio.create_task(watch(lambda: after if seen.contents else before, seen.changed))
    await asyncio.to_thread(before.looked.wait, PATIENCE)
    first.write_text("two")
    await seen.until(1)
    await asyncio.to_thread(after.looked.wait, PATIENCE)
    second.write_text("two")
    assert await seen.until(2) == ["one", "two"]
    task.cancel()


def test_look(tmp_path: Path) -> None:
    """A look depends on each file's content and on nothing else."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"ab")
    two.write_bytes(b"c")
    before = look((one, two))
    os.utime(one, (0, 0))
    assert look((one, two)) == before
    one.write_bytes(b"ac")
    assert look((one, two)) != before
    assert look((tmp_path / "none", tmp_path)) == {tmp_path / "none": b"", tmp_path: b""}
