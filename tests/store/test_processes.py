"""What several processes on one file are to each other: exact while they live, honest about what died with one of them."""

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from proxy.store.base import CONFLICT, DELIVERED, IN_DOUBT, NEW, Claimed
from proxy.store.sqlite import SqliteStore
from tests.store.claimant import BODY, WINDOW

ROOT = Path(__file__).parents[2]
Start = Callable[..., Awaitable[asyncio.subprocess.Process]]


async def line(process: asyncio.subprocess.Process) -> str:
    """What the process says next."""
    assert process.stdout is not None
    async with asyncio.timeout(20):
        return (await process.stdout.readline()).decode().strip()


def tell(process: asyncio.subprocess.Process, word: str) -> None:
    """Give the process its next line."""
    assert process.stdin is not None
    process.stdin.write(word.encode() + b"\n")


@pytest.fixture
async def start(database: Path) -> AsyncIterator[Start]:
    """Starts claimants; none outlives the test."""
    processes: list[asyncio.subprocess.Process] = []

    async def started(*arguments: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.store.claimant", str(database), *arguments, stdin=pipe, stdout=pipe, cwd=ROOT
        )
        processes.append(process)
        assert await line(process) == "ready"
        return process

    yield started
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture
async def holder(start: Start) -> asyncio.subprocess.Process:
    """A process that holds a reservation."""
    process = await start("hold")
    tell(process, "go")
    assert await line(process) == "held"
    return process


@pytest.fixture
async def store(database: Path) -> AsyncIterator[SqliteStore]:
    """The test's own store on the same file, on the real clock."""
    made = SqliteStore(database)
    await made.open()
    yield made
    await made.close()


async def test_killed_holders_leave_doubt_and_nothing_else(holder: asyncio.subprocess.Process, store: SqliteStore) -> None:
    """After kill -9 what was confirmed is delivered, and what was reserved is in doubt, for one claimant only."""
    assert (await store.claim(b"held", BODY, WINDOW)).state is Claimed.IN_FLIGHT
    holder.kill()
    await holder.wait()
    assert await store.claim(b"delivered", BODY, WINDOW) == DELIVERED
    assert await store.claim(b"held", b"b" * 16, WINDOW) == CONFLICT
    assert await store.claim(b"held", BODY, WINDOW) == IN_DOUBT
    assert (await store.claim(b"held", BODY, WINDOW)).state is Claimed.IN_FLIGHT


async def test_waiting_for_a_holder_that_is_killed_ends(holder: asyncio.subprocess.Process, store: SqliteStore) -> None:
    """Whoever waits for a request of another process learns within a moment that this process died."""
    claim = await store.claim(b"held", BODY, WINDOW)
    assert claim.end is not None
    holder.kill()
    async with asyncio.timeout(2):
        assert await claim.end is False


@pytest.mark.parametrize("word", ["confirm", "release"])
async def test_waiting_for_another_process_tells_its_end(
    holder: asyncio.subprocess.Process, store: SqliteStore, word: str
) -> None:
    """Whoever waits for a request of another process learns how it ended."""
    claim = await store.claim(b"held", BODY, WINDOW)
    assert claim.end is not None
    tell(holder, word)
    async with asyncio.timeout(2):
        assert await claim.end is (word == "confirm")
    assert await store.claim(b"held", BODY, WINDOW) == (DELIVERED if word == "confirm" else NEW)


@pytest.mark.parametrize("of_the_closed_one", [True, False])
async def test_closing_one_of_two_stores_ends_its_own_reservations_alone(
    start: Start, store: SqliteStore, database: Path, of_the_closed_one: bool
) -> None:
    """When one of a process's two stores closes, other processes doubt what that one held, and nothing of the other's."""
    second = SqliteStore(database)
    await second.open()
    assert await (second if of_the_closed_one else store).claim(b"held", BODY, WINDOW) == NEW
    await second.close()
    process = await start("ask")
    tell(process, "go")
    assert await line(process) == ("in doubt" if of_the_closed_one else "in flight")


async def test_of_racing_processes_each_key_has_one_winner(start: Start, database: Path) -> None:
    """Three processes that claim the same thousand keys at once win each key exactly once, and the file stays sound."""
    processes = await asyncio.gather(*(start("race", "1000") for _ in range(3)))
    for process in processes:
        tell(process, "go")
    won = [int(number) for process in processes for number in (await line(process)).split()]
    assert sorted(won) == list(range(1000))
    reader = sqlite3.connect(database)
    assert reader.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    for process in processes:
        await process.wait()  # what was still owed is written when a store closes
    assert reader.execute("SELECT count(*) FROM claims WHERE owner = 0").fetchone() == (1000,)
    reader.close()
