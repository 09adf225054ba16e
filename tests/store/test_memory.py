"""What the store in memory adds: it is bounded, and it sweeps as it goes."""

from collections.abc import AsyncIterator

import pytest

from proxy.errors import StoreError
from proxy.store.base import DELIVERED, NEW
from proxy.store.memory import MemoryStore
from tests.store.conftest import Clock

BODY = bytes(16)
LIMIT = 100


@pytest.fixture
async def small(clock: Clock) -> AsyncIterator[MemoryStore]:
    """A store of a hundred claims."""
    store = MemoryStore(clock, LIMIT)
    await store.open()
    yield store
    await store.close()


async def fill(store: MemoryStore, window: float) -> None:
    """A hundred delivered claims."""
    for number in range(LIMIT):
        assert await store.claim(b"%d" % number, BODY, window) == NEW
        await store.confirm(b"%d" % number)


async def test_a_full_table_refuses_and_forgets_nothing(small: MemoryStore) -> None:
    """When all claims are alive a new one is an error; every old one is still known."""
    await fill(small, 60.0)
    with pytest.raises(StoreError, match="full"):
        await small.claim(b"new", BODY, 60.0)
    assert [await small.claim(b"%d" % number, BODY, 60.0) for number in range(LIMIT)] == [DELIVERED] * LIMIT


async def test_reservations_fill_the_table_too(small: MemoryStore) -> None:
    """Requests in flight are never pushed out; a released one makes room."""
    for number in range(LIMIT):
        assert await small.claim(b"%d" % number, BODY, 60.0) == NEW
    with pytest.raises(StoreError):
        await small.claim(b"new", BODY, 60.0)
    await small.release(b"7")
    assert await small.claim(b"new", BODY, 60.0) == NEW


async def test_expired_claims_make_room_at_once(small: MemoryStore, clock: Clock) -> None:
    """A table that was full takes the next claim as soon as the old ones have expired."""
    await fill(small, 60.0)
    clock.now += 60
    assert await small.claim(b"new", BODY, 60.0) == NEW


@pytest.mark.parametrize("windows", [(60.0,), (60.0, 61.0, 62.0)])
async def test_expired_claims_go_faster_than_new_ones_come(clock: Clock, windows: tuple[float, ...]) -> None:
    """After half as many claims as there were expired ones, nothing expired is left, whatever windows are in use."""
    store = MemoryStore(clock)
    await store.open()
    for number in range(300):
        assert await store.claim(b"%d" % number, BODY, windows[number % len(windows)]) == NEW
        await store.confirm(b"%d" % number)
    clock.now += 100
    for number in range(150):
        assert await store.claim(b"new %d" % number, BODY, 60.0) == NEW
    assert store.entries() == 150
    await store.close()


async def test_a_key_claimed_again_after_it_expired_is_not_swept_with_the_old_one(small: MemoryStore, clock: Clock) -> None:
    """The sweep of an expired claim does not take the key's new claim with it."""
    await fill(small, 60.0)
    clock.now += 60
    assert await small.claim(b"99", BODY, 60.0) == NEW
    await small.confirm(b"99")
    for _ in range(LIMIT):
        await small.claim(b"other", BODY, 60.0)
    assert small.entries() == 2
    assert await small.claim(b"99", BODY, 60.0) == DELIVERED
