"""What the store in a file adds: claims outlive it, a turn of the loop is one transaction, and a broken file is survived."""

import asyncio
import contextlib
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import StoreError
from proxy.store.base import CONFLICT, DELIVERED, IN_DOUBT, NEW, Claim, Claimed
from proxy.store.sqlite import SqliteStore
from tests.store.conftest import Clock, Opened

BODY, OTHER_BODY = b"a" * 16, b"b" * 16
WINDOW = 60.0


async def until(true: Callable[[], bool]) -> None:
    """Wait for something that happens by itself."""
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110 - the file tells nobody
            await asyncio.sleep(0.01)


async def outcome(store: SqliteStore, key: bytes) -> Claim | StoreError:
    """The answer to a claim, or its error, within the time that a request is promised."""
    started = time.monotonic()
    try:
        return await store.claim(key, BODY, WINDOW)
    except StoreError as error:
        return error
    finally:
        assert time.monotonic() - started < 0.25


@contextlib.contextmanager
def locked(database: Path) -> Iterator[None]:
    """Another program holds the file's write lock."""
    other = sqlite3.connect(database, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        yield
    finally:
        other.close()


async def test_delivered_claims_survive_a_restart(opened: Opened, clock: Clock) -> None:
    """A key confirmed before a restart is delivered after it, until its window ends."""
    store = await opened()
    await store.claim(b"key", BODY, WINDOW)
    await store.confirm(b"key")
    await store.close()
    again = await opened()
    assert await again.claim(b"key", BODY, WINDOW) == DELIVERED
    assert await again.claim(b"key", OTHER_BODY, WINDOW) == CONFLICT
    clock.now += WINDOW
    assert await again.claim(b"key", BODY, WINDOW) == NEW


async def test_a_reservation_left_behind_is_in_doubt_once(opened: Opened) -> None:
    """What was reserved when a store closed is in doubt for the next, which takes it over; other bodies conflict."""
    store = await opened()
    await store.claim(b"key", BODY, WINDOW)
    await store.close()
    again = await opened()
    assert await again.claim(b"key", OTHER_BODY, WINDOW) == CONFLICT
    assert await again.claim(b"key", BODY, WINDOW) == IN_DOUBT
    assert (await again.claim(b"key", BODY, WINDOW)).state is Claimed.IN_FLIGHT
    await again.confirm(b"key")
    assert await again.claim(b"key", BODY, WINDOW) == DELIVERED


async def test_what_is_in_doubt_stays_so_until_it_is_confirmed(opened: Opened, clock: Clock) -> None:
    """Who takes over a claim in doubt and fails leaves it in doubt, for everybody and for its window; confirmed, it is none."""
    store = await opened()
    await store.claim(b"key", BODY, WINDOW)
    await store.close()
    again, other = await opened(), await opened()
    for one in (again, other, again):
        assert await one.claim(b"key", BODY, WINDOW) == IN_DOUBT
        await one.release(b"key")
    assert await other.claim(b"key", OTHER_BODY, WINDOW) == CONFLICT
    assert await other.claim(b"key", BODY, WINDOW) == IN_DOUBT
    await other.confirm(b"key")
    assert await again.claim(b"key", BODY, WINDOW) == DELIVERED
    clock.now += WINDOW
    assert await again.claim(b"key", BODY, WINDOW) == NEW
    await again.release(b"key")
    assert await again.claim(b"key", BODY, WINDOW) == NEW


async def test_a_reservation_left_behind_is_forgotten_after_its_window(opened: Opened, clock: Clock) -> None:
    """A key whose holder died long ago is free again."""
    store = await opened()
    await store.claim(b"key", BODY, WINDOW)
    await store.close()
    clock.now += WINDOW
    assert await (await opened()).claim(b"key", OTHER_BODY, WINDOW) == NEW


async def test_a_clock_that_steps_back_loses_no_claim(opened: Opened, clock: Clock) -> None:
    """After the wall clock was set back, what was delivered is still known, and what is confirmed now lasts its window."""
    store = await opened()
    await store.claim(b"before", BODY, WINDOW)
    await store.confirm(b"before")
    clock.now -= 86400
    await store.claim(b"after", BODY, WINDOW)
    await store.confirm(b"after")
    clock.now += WINDOW - 1
    assert await store.claim(b"before", BODY, WINDOW) == DELIVERED
    assert await store.claim(b"after", BODY, WINDOW) == DELIVERED


@pytest.mark.parametrize("ends_well", [True, False])
async def test_two_stores_in_one_process_know_each_other(opened: Opened, ends_well: bool) -> None:
    """While a reload has two stores open on one file, a claim of one is in flight for the other, which learns its end."""
    first, second = await opened(), await opened()
    assert await first.claim(b"key", BODY, WINDOW) == NEW
    assert await second.claim(b"key", OTHER_BODY, WINDOW) == CONFLICT
    claims = [await second.claim(b"key", BODY, WINDOW) for _ in range(2)]
    assert [claim.state for claim in claims] == [Claimed.IN_FLIGHT] * 2
    await (first.confirm(b"key") if ends_well else first.release(b"key"))
    for claim in claims:
        assert claim.end is not None
        assert await claim.end is ends_well


async def test_a_store_that_closes_ends_the_wait_of_others(opened: Opened) -> None:
    """Whoever waits for a holder that closes learns that it was not delivered, and its next claim is in doubt."""
    first, second = await opened(), await opened()
    await first.claim(b"key", BODY, WINDOW)
    claim = await second.claim(b"key", BODY, WINDOW)
    await first.close()
    assert claim.end is not None
    assert await claim.end is False
    assert await second.claim(b"key", BODY, WINDOW) == IN_DOUBT


async def test_closing_when_a_checkpoint_is_due(opened: Opened) -> None:
    """A store whose last batch is also due for a checkpoint closes in order: nothing of it goes on with what is closed."""
    broken: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: broken.append(context))
    store = await opened()

    async def claim(number: int) -> None:
        await store.claim(b"key %d" % number, BODY, WINDOW)

    await asyncio.gather(*(claim(number) for number in range(250)))
    await store.close()
    await asyncio.sleep(0)
    assert not broken


async def test_one_turn_of_the_loop_is_one_transaction(opened: Opened, connections: list[sqlite3.Connection]) -> None:
    """Operations of many requests in one turn of the loop share one transaction, committed before the first is told."""
    store = await opened()
    for number in range(10):
        await store.claim(b"old %d" % number, BODY, WINDOW)
    statements: list[str] = []
    connections[0].set_trace_callback(statements.append)
    claims = [store.claim(b"%d" % number, BODY, WINDOW) for number in range(10)]
    settled = [store.confirm(b"old %d" % number) for number in range(5)] + [
        store.release(b"old %d" % number) for number in range(5, 10)
    ]
    seen_at_first_answer: list[int] = []
    claims[0].add_done_callback(lambda _: seen_at_first_answer.append(statements.count("COMMIT")))
    assert [await claim for claim in claims[1:]] == [NEW] * 9
    for operation in settled:
        await operation
    connections[0].set_trace_callback(None)
    assert (statements[0], statements[-1], len(statements)) == ("BEGIN IMMEDIATE", "COMMIT", 22)
    assert seen_at_first_answer == [1]


async def test_a_waiter_that_raises_harms_no_other(opened: Opened) -> None:
    """An exception in one waiter goes to the loop's handler; all others get their answers."""
    store = await opened()
    blamed: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: blamed.append(context["exception"]))
    fault = RuntimeError("mine")

    def raising(_: object) -> None:
        raise fault

    store.claim(b"first", BODY, WINDOW).add_done_callback(raising)
    assert await store.claim(b"second", BODY, WINDOW) == NEW
    assert blamed == [fault]


async def test_a_waiter_may_go_on_at_once(opened: Opened) -> None:
    """A waiter that confirms in the moment it is told finds its operation in the next batch."""
    store = await opened()
    confirmed: list[object] = []
    store.claim(b"key", BODY, WINDOW).add_done_callback(lambda _: confirmed.append(store.confirm(b"key")))
    await until(lambda: bool(confirmed))
    assert await store.claim(b"key", BODY, WINDOW) == DELIVERED


async def test_a_claim_given_up_before_its_turn_reserves_nothing(opened: Opened) -> None:
    """A request that is cancelled before its claim is written leaves the key free."""
    store = await opened()
    store.claim(b"key", BODY, WINDOW).cancel()
    assert await store.claim(b"key", OTHER_BODY, WINDOW) == NEW


async def test_a_locked_file_is_an_error_in_time_and_heals(opened: Opened, database: Path) -> None:
    """While another program holds the file, claims fail within 250 ms; once it lets go, they work and none was lost."""
    store = await opened()
    await store.claim(b"confirmed meanwhile", BODY, WINDOW)
    await store.claim(b"released meanwhile", BODY, WINDOW)
    waiting = (await store.claim(b"confirmed meanwhile", BODY, WINDOW)).end
    assert waiting is not None
    with locked(database):
        owed = [store.confirm(b"confirmed meanwhile"), store.release(b"released meanwhile")]
        assert isinstance(await outcome(store, b"key"), StoreError)
        for operation in owed:
            with pytest.raises(StoreError, match="locked"):
                await operation
        assert await waiting is True
    assert await store.claim(b"key", BODY, WINDOW) == NEW
    assert await store.claim(b"confirmed meanwhile", BODY, WINDOW) == DELIVERED
    assert await store.claim(b"released meanwhile", BODY, WINDOW) == NEW


async def test_a_short_lock_is_waited_for_and_the_loop_goes_on(opened: Opened, database: Path) -> None:
    """A lock that goes away in time costs a claim nothing but time, and nobody else anything."""
    store = await opened()
    turns = 0
    with locked(database):
        claim = store.claim(b"key", BODY, WINDOW)
        while turns < 20:
            await asyncio.sleep(0.001)
            turns += 1
        assert not claim.settled
    assert await claim == NEW


async def test_what_is_owed_is_written_without_a_new_request(opened: Opened, database: Path) -> None:
    """A confirmation that failed is written as soon as the file answers again, traffic or not."""
    store = await opened()
    await store.claim(b"key", BODY, WINDOW)
    with locked(database), pytest.raises(StoreError):
        await store.confirm(b"key")
    reader = sqlite3.connect(database)
    await until(lambda: reader.execute("SELECT owner FROM claims").fetchone() == (0,))
    reader.close()


async def test_a_full_disk_is_an_error_and_heals(opened: Opened, connections: list[sqlite3.Connection]) -> None:
    """When the disk is full the whole batch fails and reserves nothing; with space again the store goes on."""
    store = await opened()
    await store.claim(b"held", BODY, WINDOW)
    assert await store.claim(b"delivered", BODY, WINDOW) == NEW
    (pages,) = connections[0].execute("PRAGMA page_count").fetchone()
    connections[0].execute(f"PRAGMA max_page_count = {pages}")
    confirmation = store.confirm(b"delivered")
    batch = [store.claim(b"%d" % number + b"-" * 200, BODY, WINDOW) for number in range(100)]
    with pytest.raises(StoreError, match="full"):
        await batch[-1]
    for claim in batch[:-1]:
        with pytest.raises(StoreError):
            claim.result()
    with pytest.raises(StoreError, match="full"):
        await confirmation
    assert store.entries() == 2
    connections[0].execute("PRAGMA max_page_count = 1000000")
    assert await store.claim(b"0" + b"-" * 200, BODY, WINDOW) == NEW
    assert await store.claim(b"delivered", BODY, WINDOW) == DELIVERED
    await store.confirm(b"held")
    assert await store.claim(b"held", BODY, WINDOW) == DELIVERED


async def test_a_broken_connection_is_replaced(opened: Opened, connections: list[sqlite3.Connection]) -> None:
    """When the connection itself fails, claims fail in time, a new connection is made, and no claim is lost."""
    store = await opened()
    await store.claim(b"held", BODY, WINDOW)
    connections[0].close()
    failed = await outcome(store, b"key")
    assert isinstance(failed, StoreError)
    async with asyncio.timeout(2):
        while isinstance(await outcome(store, b"key"), StoreError):  # noqa: ASYNC110 - like a sender that tries again
            await asyncio.sleep(0.02)
    assert (await store.claim(b"held", BODY, WINDOW)).state is Claimed.IN_FLIGHT
    await store.confirm(b"held")
    assert await store.claim(b"held", BODY, WINDOW) == DELIVERED


async def test_expired_rows_are_swept(opened: Opened, clock: Clock, database: Path) -> None:
    """Rows that have expired leave the file by themselves, those of dead owners too; live ones stay, reserved or delivered."""
    dead, store = await opened(), await opened()
    await dead.claim(b"left behind", BODY, WINDOW)
    await dead.close()
    for number in range(500):
        await store.claim(b"short %d" % number, BODY, WINDOW)
    for operation in [store.confirm(b"short %d" % number) for number in range(499)]:
        await operation
    await store.claim(b"long", BODY, 10 * WINDOW)
    await store.confirm(b"long")
    clock.now += WINDOW
    reader = sqlite3.connect(database)
    await until(lambda: reader.execute("SELECT key FROM claims").fetchall() == [(b"long",), (b"short 499",)])
    reader.close()
    await until(lambda: store.entries() == 2)


async def test_the_sweep_comes_round_the_whole_file(opened: Opened, clock: Clock, database: Path) -> None:
    """An expired row behind many live ones is found too."""
    store = await opened()
    for number in range(300):
        await store.claim(b"%d" % number, BODY, 10 * WINDOW)
        await store.confirm(b"%d" % number)
    await store.claim(b"last", BODY, WINDOW)
    await store.confirm(b"last")
    clock.now += WINDOW
    reader = sqlite3.connect(database)
    await until(lambda: reader.execute("SELECT count(*) FROM claims").fetchone() == (300,))
    reader.close()


async def test_the_log_stays_small(opened: Opened, database: Path) -> None:
    """However many claims are made, the write-ahead log is copied back often enough to stay below 4 MiB."""
    store = await opened()
    for turn in range(200):
        keys = [os.urandom(32) for _ in range(25)]
        await [store.claim(key, BODY, WINDOW) for key in keys][-1]
        await [store.confirm(key) for key in keys][-1]
        if turn % 20 == 0:
            assert database.with_name("claims.db-wal").stat().st_size < 4 * 1024**2
    assert store.entries() == 5000


async def test_a_long_log_is_cut_when_its_reader_has_gone(
    opened: Opened, database: Path, connections: list[sqlite3.Connection]
) -> None:
    """A foreign reader can hold the log back; then writers are held off, and once it has gone the log starts over."""
    store = await opened()
    statements: list[str] = []
    connections[0].set_trace_callback(statements.append)

    async def work() -> None:
        for _ in range(200):
            keys = [os.urandom(32) for _ in range(50)]
            await [store.claim(key, BODY, WINDOW) for key in keys][-1]
            await [store.confirm(key) for key in keys][-1]

    await work()
    log = database.with_name("claims.db-wal")
    reader = sqlite3.connect(database, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM claims").fetchone()
    await work()
    assert log.stat().st_size > 16 * 1024**2
    assert "PRAGMA wal_checkpoint(RESTART)" in statements
    reader.close()
    await work()
    assert log.stat().st_size <= 16 * 1024**2


async def test_the_files_are_private(opened: Opened, database: Path) -> None:
    """Nobody but the gate's own user may read or write its files, and the folder is made for it."""
    store = await opened()
    await store.claim(b"key", BODY, WINDOW)
    names = {path.name: stat.S_IMODE(path.stat().st_mode) for path in database.parent.iterdir()}
    assert names == dict.fromkeys(("claims.db", "claims.db-wal", "claims.db-shm", "claims.db-owners"), 0o600)
    assert stat.S_IMODE(database.parent.stat().st_mode) == 0o700


async def test_the_size_is_guessed_at_start(opened: Opened) -> None:
    """A store opened on a large file does not count its rows to tell how many there are, roughly."""
    store = await opened()
    claims = [store.claim(b"telegram\x00%d" % number, BODY, WINDOW) for number in range(20_000)]
    await claims[-1]
    await store.close()
    assert 10_000 < (await opened()).entries() < 40_000
