"""What a Redis adds: claims shared by processes that know nothing of each other, leases, and a server that may forget."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from proxy.errors import StoreError
from proxy.store.base import CONFLICT, DELIVERED, IN_DOUBT, NEW, Claim, Claimed
from proxy.store.redis import RedisStore
from tests.gates import ROOT
from tests.redises import LEASE, Server
from tests.store.conftest import Clock

KEY = b"telegram\x001"
BODY, OTHER_BODY = b"a" * 16, b"b" * 16
WINDOW = 60.0

Opened = Callable[..., Awaitable[RedisStore]]


@pytest.fixture
async def opened(redis: Server) -> AsyncIterator[Opened]:
    """Opens stores on the server, as many as asked for; closes them afterwards."""
    async with AsyncExitStack() as stack:

        async def make(lease: float = LEASE, event: Callable[[str], None] = print, **details: str) -> RedisStore:
            store = RedisStore(redis.access(**details), lease, event)
            await store.open()
            stack.push_async_callback(store.close)
            return store

        yield make


async def wait_for(look: Callable[[], object], what: str) -> None:
    """Until a condition holds."""
    for _ in range(1500):
        if look():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"waited for {what}")


async def eventually(ask: Callable[[], Awaitable[Claim]], expected: Claim) -> None:
    """Until a claim finds this; a server that is away meanwhile is asked again."""
    for _ in range(1500):
        try:
            if await ask() == expected:
                return
        except StoreError:
            pass
        await asyncio.sleep(0.02)
    raise AssertionError(f"waited for {expected}")


async def in_flight(store: RedisStore) -> "asyncio.Future[bool]":
    """Claim the key, which somebody else has reserved; the future of its end."""
    claim = await store.claim(KEY, BODY, WINDOW)
    assert claim.state is Claimed.IN_FLIGHT
    assert claim.end is not None
    return claim.end


# -- one key, two gates


@pytest.mark.parametrize("ends_well", [True, False])
async def test_a_repeat_at_another_gate_learns_the_end(opened: Opened, ends_well: bool) -> None:
    """Whoever repeats elsewhere what is on its way here learns how it ended, all who wait there alike."""
    here, there = await opened(), await opened()
    assert await here.claim(KEY, BODY, WINDOW) == NEW
    waiting = [await in_flight(there) for _ in range(3)]
    assert not any(end.done() for end in waiting)
    await (here.confirm(KEY) if ends_well else here.release(KEY))
    assert [await asyncio.wait_for(end, 5) for end in waiting] == [ends_well] * 3
    assert await there.claim(KEY, BODY, WINDOW) == (DELIVERED if ends_well else NEW)


async def test_another_body_at_another_gate_is_a_conflict(opened: Opened) -> None:
    """The same key with another body is a conflict at every gate, on its way or delivered."""
    here, there = await opened(), await opened()
    assert await here.claim(KEY, BODY, WINDOW) == NEW
    assert await there.claim(KEY, OTHER_BODY, WINDOW) == CONFLICT
    await here.confirm(KEY)
    assert await there.claim(KEY, OTHER_BODY, WINDOW) == CONFLICT


async def test_of_two_hundred_at_once_at_four_gates_one_is_new(opened: Opened) -> None:
    """Of claims of one key in the same moment at several gates exactly one goes through; the others learn its end."""
    stores = [await opened() for _ in range(4)]

    async def one(store: RedisStore) -> Claim:
        return await store.claim(KEY, BODY, WINDOW)

    claims = await asyncio.gather(*(one(store) for _ in range(50) for store in stores))
    assert claims.count(NEW) == 1
    waiting = [claim.end for claim in claims if claim.end is not None]
    assert len(waiting) == 199
    for store in stores:  # only one of them has anything to confirm
        await store.confirm(KEY)
    assert await asyncio.wait_for(asyncio.gather(*waiting), 5) == [True] * 199


async def test_a_repeat_that_comes_in_the_moment_of_the_end_learns_it(opened: Opened) -> None:
    """A repeat elsewhere that is asked about while the first one is being confirmed is a repeat, and no failure."""
    here, there = await opened(), await opened()
    for number in range(100):
        key = b"%d" % number
        assert await here.claim(key, BODY, WINDOW) == NEW
        asked, told = there.claim(key, BODY, WINDOW), here.confirm(key)
        await told
        claim = await asked
        assert claim == DELIVERED or (claim.end is not None and await asyncio.wait_for(claim.end, 5))


async def test_gates_with_other_prefixes_share_nothing(opened: Opened) -> None:
    """Two bots with routes of the same name can use one server, each with a prefix of its own."""
    here, there = await opened(), await opened(prefix="other")
    assert await here.claim(KEY, BODY, WINDOW) == NEW
    assert await there.claim(KEY, OTHER_BODY, WINDOW) == NEW


# -- leases


HOLD = """
import asyncio, sys
from proxy.redis_url import RedisAccess, parse
from proxy.store.redis import RedisStore
async def main():
    store = RedisStore(RedisAccess(parse(sys.argv[1])), float(sys.argv[2]), print)
    await store.open()
    await store.claim(b"delivered", b"a" * 16, 60.0)
    await store.confirm(b"delivered")
    print((await store.claim(bytes.fromhex(sys.argv[3]), b"a" * 16, 60.0)).state.value, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


async def test_a_killed_gate_leaves_its_claims_in_doubt_when_the_lease_is_over(
    opened: Opened, redis: Server, clock: Clock
) -> None:
    """What a killed process had delivered stays delivered; what it had under way is in doubt, but not before its lease ends."""
    store = await opened()
    process = subprocess.Popen(  # noqa: S603, ASYNC220 - our own code; it is killed below
        [sys.executable, "-c", HOLD, redis.url, str(LEASE), KEY.hex()], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert await asyncio.to_thread(process.stdout.readline) == b"new\n"
    os.kill(process.pid, signal.SIGKILL)
    await asyncio.to_thread(process.communicate)
    assert await store.claim(b"delivered", BODY, WINDOW) == DELIVERED
    clock.now += LEASE - 5
    assert not (await in_flight(store)).done()
    clock.now += 5
    assert await store.claim(KEY, OTHER_BODY, WINDOW) == CONFLICT
    assert await store.claim(KEY, BODY, WINDOW) == IN_DOUBT
    await store.confirm(KEY)
    assert await store.claim(KEY, BODY, WINDOW) == DELIVERED


async def test_what_is_in_doubt_is_forgotten_after_its_window(opened: Opened, clock: Clock) -> None:
    """A claim that nobody settled is free again a window after its lease."""
    here, there = await opened(), await opened()
    assert await here.claim(KEY, BODY, WINDOW) == NEW
    await here.close()
    clock.now += WINDOW
    assert await there.claim(KEY, OTHER_BODY, WINDOW) == NEW


async def test_what_is_in_doubt_stays_so_until_it_is_confirmed(opened: Opened, clock: Clock) -> None:
    """Who takes over a claim in doubt and fails leaves it in doubt, for everybody and at once; confirmed, it is none."""
    first, here, there = await opened(), await opened(), await opened()
    assert await first.claim(KEY, BODY, WINDOW) == NEW
    await first.close()
    for one in (here, there, here):
        assert await one.claim(KEY, BODY, WINDOW) == IN_DOUBT
        end = await in_flight(there if one is here else here)
        await one.release(KEY)
        assert await asyncio.wait_for(end, 5) is False
    assert await there.claim(KEY, OTHER_BODY, WINDOW) == CONFLICT
    assert await there.claim(KEY, BODY, WINDOW) == IN_DOUBT
    await there.confirm(KEY)
    assert await here.claim(KEY, BODY, WINDOW) == DELIVERED
    clock.now += WINDOW
    assert await here.claim(KEY, BODY, WINDOW) == NEW
    await here.release(KEY)
    assert await here.claim(KEY, BODY, WINDOW) == NEW


async def test_closing_ends_the_leases_at_once(opened: Opened) -> None:
    """A gate that ends in an orderly way lets nobody wait for its leases."""
    here, there = await opened(), await opened()
    assert await here.claim(KEY, BODY, WINDOW) == NEW
    await here.close()
    assert await there.claim(KEY, BODY, WINDOW) == IN_DOUBT


async def test_a_long_request_renews_its_lease(opened: Opened, redis: Server) -> None:
    """A request that takes longer than the lease is still on its way for all others."""
    here, there = await opened(lease=1.5), await opened(lease=1.5)
    assert await here.claim(KEY, BODY, WINDOW) == NEW
    with redis.client() as client:
        lows: list[int] = []

        def renewed() -> bool:
            left: int = client.pttl(b"hookgate:claim:" + KEY)
            lows.append(left)
            return left > min(lows) + 100

        await wait_for(renewed, "the lease to begin anew")
        lows.clear()
        await wait_for(renewed, "the lease to begin anew once more")
        assert min(lows) > WINDOW * 1000, "never without a lease"
    end = await in_flight(there)
    await here.confirm(KEY)
    assert await asyncio.wait_for(end, 5) is True


async def test_the_wait_ends_with_the_lease(opened: Opened, redis: Server) -> None:
    """Nobody waits longer for a dead gate than its lease lasts."""
    there = await opened()
    with redis.client() as client:
        reserved = b"R" + bytes(8) + bytes(8) + (60_000).to_bytes(8) + BODY
        client.set(b"hookgate:claim:" + KEY, reserved, px=60_000 + 300)
    end = await in_flight(there)
    assert await asyncio.wait_for(end, 5) is False
    await eventually(lambda: there.claim(KEY, BODY, WINDOW), IN_DOUBT)


@pytest.mark.parametrize("ends_well", [True, False])
async def test_a_reservation_that_was_taken_over_is_settled_by_its_new_owner_alone(
    opened: Opened, clock: Clock, ends_well: bool
) -> None:
    """A gate that was away longer than its lease changes nothing of the claim that another one holds now."""
    here, there = await opened(), await opened()
    assert await here.claim(KEY, BODY, WINDOW) == NEW
    clock.now += LEASE
    assert await there.claim(KEY, BODY, WINDOW) == IN_DOUBT
    await (here.confirm(KEY) if ends_well else here.release(KEY))
    assert not (await in_flight(here)).done()
    await there.confirm(KEY)
    assert await here.claim(KEY, BODY, WINDOW) == DELIVERED


async def test_a_waiter_that_gave_up_leaves_no_reservation(opened: Opened) -> None:
    """A claim whose waiter is cancelled before the answer comes is released: nobody could settle it."""
    here, there = await opened(), await opened()
    here.claim(KEY, BODY, WINDOW).cancel()
    await eventually(lambda: there.claim(KEY, BODY, WINDOW), NEW)


# -- a server that forgets


async def test_an_emptied_store_is_noticed(opened: Opened, redis: Server, caplog: pytest.LogCaptureFixture) -> None:
    """A server that was emptied is told once by each gate, counted and logged; a gate that starts later has nothing to tell."""
    events: list[str] = []
    await opened(event=events.append)
    with redis.client() as client:
        client.flushall()
        await wait_for(lambda: events, "the event")
        assert events == ["emptied"]
        assert "it was emptied: what was delivered before may be delivered once more" in caplog.text
        later: list[str] = []
        await opened(event=later.append)
        await wait_for(lambda: client.dbsize(), "the mark to be made again")
        client.flushall()
        await wait_for(lambda: len(events) == 2 and later, "the second event")
    assert (events, later) == (["emptied"] * 2, ["emptied"])


async def test_a_delivery_is_remembered_by_a_server_that_was_emptied_meanwhile(opened: Opened, redis: Server) -> None:
    """What was under way when the server was emptied is known as delivered afterwards."""
    here, there = await opened(), await opened()
    assert await here.claim(KEY, BODY, WINDOW) == NEW
    with redis.client() as client:
        client.flushall()
    await here.confirm(KEY)
    assert await there.claim(KEY, BODY, WINDOW) == DELIVERED


async def test_forgotten_scripts_are_loaded_again(opened: Opened, redis: Server) -> None:
    """A server that forgot its scripts gets them again, and the operation goes through."""
    here, there = await opened(), await opened()
    assert await here.claim(KEY, BODY, WINDOW) == NEW
    with redis.client() as client:
        client.script_flush()
    await here.confirm(KEY)
    assert await there.claim(KEY, BODY, WINDOW) == DELIVERED


async def test_a_full_server_refuses_and_forgets_nothing(opened: Opened, redis: Server) -> None:
    """Without memory a claim is an error, what was delivered stays known, and what could not be told is told later."""
    here, there = await opened(), await opened()
    assert await here.claim(b"old", BODY, WINDOW) == NEW
    await here.confirm(b"old")
    assert await here.claim(KEY, BODY, WINDOW) == NEW
    with redis.client() as client:
        client.config_set("maxmemory", 1)
        try:
            with pytest.raises(StoreError, match="OOM"):
                await here.claim(b"new", BODY, WINDOW)
            with pytest.raises(StoreError, match="OOM"):
                await here.confirm(KEY)
        finally:
            client.config_set("maxmemory", 0)
    assert await here.claim(KEY, BODY, WINDOW) == DELIVERED, "its own gate knows at once"
    await eventually(lambda: there.claim(KEY, BODY, WINDOW), DELIVERED)
    assert await there.claim(b"old", BODY, WINDOW) == DELIVERED
    assert await there.claim(b"new", OTHER_BODY, WINDOW) == NEW


async def test_a_server_that_would_evict_claims_is_told(opened: Opened, redis: Server, caplog: pytest.LogCaptureFixture) -> None:
    """A server that forgets keys when memory is short is named in the log, with the remedy."""
    with redis.client() as client:
        client.config_set("maxmemory", 1 << 30)
        client.config_set("maxmemory-policy", "volatile-lru")
        try:
            await opened()
            await wait_for(lambda: "set it to noeviction" in caplog.text, "the warning")
        finally:
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", 0)
    assert "maxmemory-policy volatile-lru forgets claims when memory is short" in caplog.text


@pytest.mark.parametrize("held", [b"hello", b"R" * 40, b"D" * 18, b""])
async def test_what_others_wrote_is_no_claim(opened: Opened, redis: Server, held: bytes) -> None:
    """A key with somebody else's value is an error that names the remedy, and is left as it is."""
    store = await opened()
    with redis.client() as client:
        client.set(b"hookgate:claim:" + KEY, held)
        with pytest.raises(StoreError, match=r"set store\.prefix to one of its own"):
            await store.claim(KEY, BODY, WINDOW)
        assert client.get(b"hookgate:claim:" + KEY) == held


# -- rates


async def test_rates_are_counted_together(opened: Opened) -> None:
    """Two gates that share a server share a rate: a burst passes, then one in each interval, and what waits is not counted."""
    here, there = await opened(), await opened()
    burst = [await (here, there)[turn % 2].take(b"client", 10.0, 40.0) for turn in range(5)]
    assert burst == [0.0] * 5
    for store in (here, there):
        assert 9.0 < await store.take(b"client", 10.0, 40.0) <= 10.0
    assert await there.take(b"somebody else", 10.0, 0.0) == 0.0


async def test_a_rate_lets_in_again_when_its_time_has_come(opened: Opened, redis: Server) -> None:
    """After the seconds it named, and not before, a rate lets the next one in; then its key is forgotten."""
    store = await opened()
    assert await store.take(b"client", 0.2, 0.0) == 0.0
    wait = await store.take(b"client", 0.2, 0.0)
    assert 0.0 < wait <= 0.2
    await asyncio.sleep(wait + 0.005)
    assert await store.take(b"client", 0.2, 0.0) == 0.0
    with redis.client() as client:
        await wait_for(lambda: not client.exists(b"hookgate:rate:client"), "the key to be forgotten")
