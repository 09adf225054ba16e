"""Stores to test, on a clock that stands still until a test moves it."""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.store.base import Store
from proxy.store.memory import MemoryStore
from proxy.store.sqlite import SqliteStore


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


Opened = Callable[[], Awaitable[SqliteStore]]


@pytest.fixture
def clock() -> Clock:
    """The clock of the stores in this test."""
    return Clock()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Where a SQLite store may be made; its folder does not exist yet."""
    return tmp_path / "state" / "claims.db"


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, clock: Clock, database: Path) -> AsyncIterator[Store]:
    """Each kind of store, open and empty."""
    made: Store = MemoryStore(clock) if request.param == "memory" else SqliteStore(database, clock=clock)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def opened(clock: Clock, database: Path) -> AsyncIterator[Opened]:
    """Opens SQLite stores on one file, as many as asked for; closes them afterwards."""
    stores: list[SqliteStore] = []

    async def make() -> SqliteStore:
        store = SqliteStore(database, clock=clock)
        await store.open()
        stores.append(store)
        return store

    yield make
    for store in stores:
        await store.close()


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[sqlite3.Connection]:
    """The stores' own connections, in the order in which they were made."""
    made: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def recorded(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        made.append(connection)
        return connection

    monkeypatch.setattr(sqlite3, "connect", recorded)
    return made
