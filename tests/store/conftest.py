"""Stores to test, on a clock that stands still until a test moves it."""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from proxy.redis_url import RedisAccess, parse
from proxy.store.base import Store
from proxy.store.memory import MemoryStore
from proxy.store.redis import RedisStore
from proxy.store.sqlite import SqliteStore
from tests.redises import LEASE, Clustered, Server, pass_time, server


class Clock:
    """Seconds, moved by hand. ``passed`` is told how many: a Redis goes by its own clock, and has to be helped."""

    def __init__(self) -> None:
        self._now = 1_700_000_000.0
        self.passed: Callable[[float], object] = float

    @property
    def now(self) -> float:
        """The time."""
        return self._now

    @now.setter
    def now(self, now: float) -> None:
        self.passed(now - self._now)
        self._now = now

    def __call__(self) -> float:
        return self._now


Opened = Callable[[], Awaitable[SqliteStore]]


@pytest.fixture
def clock() -> Clock:
    """The clock of the stores in this test."""
    return Clock()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Where a SQLite store may be made; its folder does not exist yet."""
    return tmp_path / "state" / "claims.db"


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[Server]:
    """One server for all tests that leave it as it is but for its keys."""
    with server() as made:
        yield made


@pytest.fixture
def redis(shared_redis: Server, clock: Clock) -> Iterator[Server]:
    """That server, empty, and under the clock of the test."""
    with shared_redis.client() as client:
        client.flushall()
        clock.passed = partial(pass_time, client)
        yield shared_redis


@pytest.fixture(scope="session")
def cluster() -> Iterator[Clustered]:
    """Three masters for all tests that leave them as they are but for their keys."""
    with ExitStack() as stack:
        yield Clustered(stack)


def empty_cluster(cluster: Clustered, clock: Clock) -> None:
    """Empty it and put it under the clock of the test."""
    clients = [one.client() for one in cluster.masters]
    for client in clients:
        client.flushall()

    def everywhere(seconds: float) -> None:
        for client in clients:
            pass_time(client, seconds)

    clock.passed = everywhere


@pytest.fixture(params=["memory", "sqlite", "redis", "cluster"])
async def store(request: pytest.FixtureRequest, clock: Clock, database: Path) -> AsyncIterator[Store]:
    """Each kind of store, open and empty."""
    made: Store
    match request.param:
        case "memory":
            made = MemoryStore(clock)
        case "sqlite":
            made = SqliteStore(database, clock=clock)
        case "redis":
            made = RedisStore(request.getfixturevalue("redis").access(), LEASE, print)
        case _:
            cluster = request.getfixturevalue("cluster")
            empty_cluster(cluster, clock)
            made = RedisStore(RedisAccess(parse(cluster.url)), LEASE, print)
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
