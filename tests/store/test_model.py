"""Any order of operations, on any store, gives what a plain dictionary of states would give."""

import asyncio
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.strategies import binary, integers, sampled_from

from proxy.store.base import Claimed, Store
from proxy.store.memory import MemoryStore
from proxy.store.redis import RedisStore
from proxy.store.sqlite import SqliteStore
from tests.redises import Server, pass_time
from tests.store.conftest import Clock

keys = sampled_from([b"a", b"b", b"c"])
bodies = sampled_from([b"1" * 16, b"2" * 16])
windows = sampled_from([10.0, 100.0])


class MemoryClaims(RuleBasedStateMachine):
    """A store beside its model: reserved keys with body and window, delivered ones with body and expiry."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp())
        self.reserved: dict[bytes, tuple[bytes, float]] = {}
        self.claimed_at: dict[bytes, float] = {}
        self.delivered: dict[bytes, tuple[bytes, float]] = {}
        self.left: dict[bytes, tuple[bytes, float]] = {}
        self.doubtful: set[bytes] = set()
        self.waiting: list[tuple[bytes, asyncio.Future[bool]]] = []
        self.store = self.make()
        self.runner.run(self.store.open())

    def make(self) -> Store:
        """The store to test."""
        return MemoryStore(self.clock)

    def expected(self, key: bytes, body: bytes) -> Claimed:
        """What a claim should find."""
        if key in self.reserved:
            return Claimed.IN_FLIGHT if self.reserved[key][0] == body else Claimed.CONFLICT
        for held, found in ((self.delivered, Claimed.DELIVERED), (self.left, Claimed.IN_DOUBT)):
            if key in held and self.clock.now < held[key][1]:
                return found if held[key][0] == body else Claimed.CONFLICT
        return Claimed.NEW

    @rule(key=keys, body=bodies, window=windows)
    def claim(self, key: bytes, body: bytes, window: float) -> None:
        """Claim a key."""

        async def ask() -> None:
            claim = await self.store.claim(key, body, window)
            assert claim.state is self.expected(key, body)
            assert (claim.end is not None) is (claim.state is Claimed.IN_FLIGHT)
            if claim.end is not None:
                self.waiting.append((key, claim.end))
            if claim.state in (Claimed.NEW, Claimed.IN_DOUBT):
                (self.doubtful.add if claim.state is Claimed.IN_DOUBT else self.doubtful.discard)(key)
                self.delivered.pop(key, None)
                self.left.pop(key, None)
                self.reserved[key] = (body, window)
                self.claimed_at[key] = self.clock.now

        self.runner.run(ask())

    @rule(key=keys, well=sampled_from([True, False]))
    def settle(self, key: bytes, well: bool) -> None:
        """Confirm or release a key, reserved or not."""

        async def end() -> None:
            await (self.store.confirm(key) if well else self.store.release(key))
            if key in self.reserved:
                body, window = self.reserved.pop(key)
                if well:
                    self.delivered[key] = (body, self.clock.now + window)
                elif key in self.doubtful:
                    self.left[key] = (body, self.doubted_from(key) + window)
                for _, future in [waiter for waiter in self.waiting if waiter[0] == key]:
                    assert future.result() is well
                self.waiting = [waiter for waiter in self.waiting if waiter[0] != key]

        self.runner.run(end())

    def doubted_from(self, key: bytes) -> float:
        """When the window of what is left behind begins."""
        return self.claimed_at[key]

    @rule(seconds=integers(1, 60))
    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.clock.now += seconds

    @rule(other=binary(min_size=2, max_size=8), body=bodies)
    def deliver(self, other: bytes, body: bytes) -> None:
        """A request from elsewhere comes and goes."""

        async def go() -> None:
            if (await self.store.claim(other, body, 10.0)).state is Claimed.NEW:
                await self.store.confirm(other)

        self.runner.run(go())

    @invariant()
    def nobody_learns_too_early(self) -> None:
        """Whoever waits for a reserved key has no answer yet."""
        assert not any(future.done() for _, future in self.waiting)

    @invariant()
    def live_keys_are_counted(self) -> None:
        """The gauge shows at least the requests in flight."""
        assert self.store.entries() >= len(self.reserved)

    def teardown(self) -> None:
        """Close it."""
        self.runner.run(self.store.close())
        self.runner.close()
        shutil.rmtree(self.folder)


class SqliteClaims(MemoryClaims):
    """The same for a file, which is also closed and opened again in between."""

    def make(self) -> Store:
        """A store on the same file each time."""
        return SqliteStore(self.folder / "claims.db", clock=self.clock)

    @precondition(lambda self: bool(self.reserved or self.delivered))
    @rule()
    def reopen(self) -> None:
        """Restart: reservations are left behind, in doubt for a window."""
        self.runner.run(self.store.close())
        self.waiting.clear()
        for key, (body, window) in self.reserved.items():
            self.left[key] = (body, self.doubted_from(key) + window)
        self.reserved.clear()
        self.store = self.make()
        self.runner.run(self.store.open())


LEASE = 10_000.0
"""Longer than any of these stories: leases are renewed in real time, which hardly passes here."""


class RedisClaims(SqliteClaims):
    """The same for a server; what is left behind there is in doubt for a window from the end of the process."""

    server: ClassVar[Server]

    def __init__(self) -> None:
        with self.server.client() as client:
            client.flushall()
        super().__init__()

    def make(self) -> Store:
        """A store on the same server each time."""
        self.clock.passed = partial(pass_time, self.server.client())
        return RedisStore(self.server.access(), LEASE, print)

    def doubted_from(self, key: bytes) -> float:
        """Its lease was ended by its holder."""
        return self.clock.now


@pytest.fixture(autouse=True, scope="module")
def lent(shared_redis: Server) -> None:
    """The machine is no fixture's child, so it is given its server here."""
    RedisClaims.server = shared_redis


TestMemoryClaims = MemoryClaims.TestCase
TestMemoryClaims.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestSqliteClaims = SqliteClaims.TestCase
TestSqliteClaims.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestRedisClaims = RedisClaims.TestCase
TestRedisClaims.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
