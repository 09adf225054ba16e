"""What holds for every store: the states of a claim and the ways between them."""

import asyncio

import pytest

from proxy.errors import StoreError
from proxy.store.base import CONFLICT, DELIVERED, NEW, Claim, Claimed, Store
from tests.store.conftest import Clock

KEY, OTHER_KEY = b"telegram\x001", b"telegram\x002"
BODY, OTHER_BODY = b"a" * 16, b"b" * 16
WINDOW = 60.0


async def delivered(store: Store, key: bytes = KEY) -> None:
    """Claim a key and confirm it."""
    assert await store.claim(key, BODY, WINDOW) == NEW
    await store.confirm(key)


async def in_flight(store: Store) -> "asyncio.Future[bool]":
    """Claim the key once more, while it is reserved; the future of its end."""
    claim = await store.claim(KEY, BODY, WINDOW)
    assert claim.state is Claimed.IN_FLIGHT
    assert claim.end is not None
    return claim.end


async def counted(store: Store, keys: int) -> bool:
    """Whether the gauge shows so many keys; that of a Redis may be a second behind."""
    for _ in range(500):
        if store.entries() == keys:
            return True
        await asyncio.sleep(0.02)
    return False


async def test_a_fresh_key_is_new(store: Store) -> None:
    """A key that nobody has claimed is reserved for the caller, and no other key with it."""
    assert await store.claim(KEY, BODY, WINDOW) == NEW
    assert await store.claim(OTHER_KEY, BODY, WINDOW) == NEW


async def test_a_confirmed_key_is_delivered(store: Store) -> None:
    """A repeat of a delivered request is told so, however often it comes."""
    await delivered(store)
    assert [await store.claim(KEY, BODY, WINDOW) for _ in range(3)] == [DELIVERED] * 3


async def test_a_released_key_is_new_again(store: Store) -> None:
    """When the bot did not take the request, the sender's next try goes through, whatever its body."""
    assert await store.claim(KEY, BODY, WINDOW) == NEW
    await store.release(KEY)
    assert await store.claim(KEY, OTHER_BODY, WINDOW) == NEW


@pytest.mark.parametrize("ends_well", [True, False])
async def test_a_repeat_in_flight_learns_the_end(store: Store, ends_well: bool) -> None:
    """Whoever repeats a request on its way learns whether that one was delivered, all waiters alike."""
    assert await store.claim(KEY, BODY, WINDOW) == NEW
    waiting = [await in_flight(store) for _ in range(3)]
    assert not any(end.done() for end in waiting)
    await (store.confirm(KEY) if ends_well else store.release(KEY))
    assert [await end for end in waiting] == [ends_well] * 3


async def test_a_cancelled_waiter_leaves_the_next_one_its_answer(store: Store) -> None:
    """A waiter that gives up by cancelling does not spoil the wait of those who come later."""
    assert await store.claim(KEY, BODY, WINDOW) == NEW
    (await in_flight(store)).cancel()
    later = await in_flight(store)
    await store.confirm(KEY)
    assert await later is True


async def test_another_body_in_flight_is_a_conflict(store: Store) -> None:
    """The same key with another body is no repeat while the first is on its way."""
    assert await store.claim(KEY, BODY, WINDOW) == NEW
    assert await store.claim(KEY, OTHER_BODY, WINDOW) == CONFLICT


async def test_another_body_after_delivery_is_a_conflict(store: Store) -> None:
    """The same key with another body is no repeat of what was delivered either, and changes nothing."""
    await delivered(store)
    assert await store.claim(KEY, OTHER_BODY, WINDOW) == CONFLICT
    assert await store.claim(KEY, BODY, WINDOW) == DELIVERED


async def test_a_delivered_key_is_forgotten_after_its_window(store: Store, clock: Clock) -> None:
    """The window counts from the confirmation, to the second; after it the key is free, for any body."""
    assert await store.claim(KEY, BODY, WINDOW) == NEW
    clock.now += 50
    await store.confirm(KEY)
    clock.now += WINDOW - 0.5
    assert await store.claim(KEY, BODY, WINDOW) == DELIVERED
    clock.now += 0.5
    assert await store.claim(KEY, OTHER_BODY, WINDOW) == NEW


async def test_each_key_keeps_its_own_window(store: Store, clock: Clock) -> None:
    """A key with a long window outlives one with a short window that came later."""
    assert await store.claim(KEY, BODY, 1000.0) == NEW
    await store.confirm(KEY)
    await delivered(store, OTHER_KEY)
    clock.now += WINDOW
    assert await store.claim(OTHER_KEY, BODY, WINDOW) == NEW
    assert await store.claim(KEY, BODY, WINDOW) == DELIVERED


async def test_a_reservation_never_expires(store: Store, clock: Clock) -> None:
    """A request that takes longer than the window is still on its way."""
    assert await store.claim(KEY, BODY, WINDOW) == NEW
    clock.now += 10 * WINDOW
    end = await in_flight(store)
    await store.confirm(KEY)
    assert await end is True
    assert await store.claim(KEY, BODY, WINDOW) == DELIVERED


async def test_settling_what_nobody_reserved_changes_nothing(store: Store) -> None:
    """A stray confirm makes no key delivered, and a stray release forgets no delivered key."""
    await store.confirm(KEY)
    assert await store.claim(KEY, BODY, WINDOW) == NEW
    await store.confirm(KEY)
    await store.release(KEY)
    assert await store.claim(KEY, BODY, WINDOW) == DELIVERED


async def test_of_a_hundred_at_once_one_is_new(store: Store) -> None:
    """Of a hundred claims of one key in the same moment exactly one goes through, and the others learn its end."""

    async def request() -> Claim:
        return await store.claim(KEY, BODY, WINDOW)

    claims = await asyncio.gather(*(request() for _ in range(100)))
    assert claims.count(NEW) == 1
    waiting = [claim.end for claim in claims if claim.state is Claimed.IN_FLIGHT and claim.end is not None]
    assert len(waiting) == 99
    await store.confirm(KEY)
    assert [await end for end in waiting] == [True] * 99


async def test_operations_of_one_turn_keep_their_order(store: Store) -> None:
    """Confirm, repeat, release and repeat in one turn of the loop each see what came before."""
    assert await store.claim(KEY, BODY, WINDOW) == NEW
    assert await store.claim(OTHER_KEY, BODY, WINDOW) == NEW
    turn = [store.confirm(KEY), store.claim(KEY, BODY, WINDOW), store.release(OTHER_KEY), store.claim(OTHER_KEY, BODY, WINDOW)]
    assert [await operation for operation in turn] == [None, DELIVERED, None, NEW]


async def test_many_of_one_turn_are_each_their_own(store: Store, clock: Clock) -> None:
    """However many claims and confirmations a turn of the loop brings, each key has its own answer and its own window."""
    keys = [b"telegram\x00%d" % number for number in range(37)]
    short, lasting = keys[:18], keys[18:]
    first = [store.claim(key, BODY, WINDOW) for key in short] + [store.claim(key, BODY, 1000.0) for key in lasting]
    assert [await claim for claim in first] == [NEW] * 37
    turn = [store.confirm(key) for key in keys[:-1]], [store.claim(b"another %d" % number, BODY, WINDOW) for number in range(5)]
    for confirmed in turn[0]:
        await confirmed
    assert [await each for each in turn[1]] == [NEW] * 5
    assert [await again for again in [store.claim(key, BODY, WINDOW) for key in keys[:-1]]] == [DELIVERED] * 36
    assert (await store.claim(keys[-1], BODY, WINDOW)).state is Claimed.IN_FLIGHT
    assert await counted(store, 42)
    clock.now += WINDOW
    assert [await again for again in [store.claim(key, BODY, WINDOW) for key in short]] == [NEW] * 18
    assert [await again for again in [store.claim(key, BODY, WINDOW) for key in lasting[:-1]]] == [DELIVERED] * 18


async def test_a_repeat_among_new_ones_harms_none(store: Store) -> None:
    """Of claims in one turn of the loop, a delivered key and one that comes twice are told so, and all others are new."""
    await delivered(store)
    keys = [b"1", b"2", KEY, b"3", b"2", b"4"]
    claims = [await claim for claim in [store.claim(key, BODY, WINDOW) for key in keys]]
    states = [claim.state for claim in claims]
    new, known, twice = Claimed.NEW, Claimed.DELIVERED, Claimed.IN_FLIGHT
    assert states == [new, new, known, new, twice, new]
    assert await counted(store, 5)


async def test_entries_counts_what_is_held(store: Store) -> None:
    """The gauge sees reserved and delivered keys, and no released ones."""
    await delivered(store)
    assert await store.claim(OTHER_KEY, BODY, WINDOW) == NEW
    assert await counted(store, 2)
    await store.release(OTHER_KEY)
    assert await counted(store, 1)


async def test_closing_ends_the_wait_for_requests_in_flight(store: Store) -> None:
    """Nobody waits for a store that has been closed."""
    assert await store.claim(KEY, BODY, WINDOW) == NEW
    end = await in_flight(store)
    await store.close()
    assert await end is False


async def test_a_closed_store_refuses(store: Store) -> None:
    """After close, a claim is an error and not a fresh key; closing twice does no harm."""
    await store.close()
    await store.close()
    with pytest.raises(StoreError, match="closed"):
        await store.claim(KEY, BODY, WINDOW)
