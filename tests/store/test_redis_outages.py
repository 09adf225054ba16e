"""A Redis that is stopped, paused, frozen or silent: every operation is decided in time, and the way back is short."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import pytest

from proxy.errors import StoreError
from proxy.redis_url import RedisAccess, parse
from proxy.store.base import DELIVERED, NEW, Claimed
from proxy.store.redis import RedisStore
from tests.redises import GO, LEASE, STOP, Server, server
from tests.store.outages import BODY, ask, until_refused, until_taken

KEY = b"telegram\x001"


@pytest.fixture
def harmed() -> Iterator[Server]:
    """A server of the test's own."""
    with server() as made:
        yield made


@pytest.fixture
async def store(harmed: Server) -> AsyncIterator[RedisStore]:
    """A store on it."""
    made = RedisStore(harmed.access(), LEASE, print)
    await made.open()
    yield made
    await made.close()


async def test_killed_and_started_again(harmed: Server, store: RedisStore, caplog: pytest.LogCaptureFixture) -> None:
    """Without a server operations fail at once; with it they succeed again; each change is told in one sentence."""
    assert await ask(store)
    harmed.kill()
    await until_refused(store)
    began = time.monotonic()
    assert not any([await ask(store) for _ in range(100)])
    assert time.monotonic() - began < 1.0, "nobody waits for a server that is known to be away"
    harmed.start()
    await until_taken(store)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 3, told
    assert told[0].endswith("it cannot be reached: connection refused; until it answers, requests are decided by on_store_error")
    assert told[1] == f"store redis://127.0.0.1:{harmed.port}: it answers again"
    assert "it was emptied" in told[2], "this one keeps nothing over a restart"


async def test_frozen(harmed: Server, store: RedisStore) -> None:
    """A server that stands still holds nobody up, and is used again as soon as it goes on."""
    assert await ask(store)
    harmed.signal(STOP)
    began = time.monotonic()
    assert not await ask(store)
    assert time.monotonic() - began >= 0.15, "it had its chance"
    assert not any([await ask(store) for _ in range(20)])
    harmed.signal(GO)
    await until_taken(store)


async def test_paused(harmed: Server, store: RedisStore) -> None:
    """``CLIENT PAUSE`` holds nobody up."""
    with harmed.client() as client:
        client.client_pause(1000)
        assert not await ask(store)
        await asyncio.to_thread(client.ping)  # answered when the pause is over
    await until_taken(store)


async def test_hundreds_at_once_are_all_decided(harmed: Server, store: RedisStore) -> None:
    """Whoever waits when the server falls silent is told, all in the same quarter of a second."""
    harmed.signal(STOP)
    assert not any(await asyncio.gather(*(ask(store) for _ in range(500))))


async def test_more_than_enough_waiters_are_refused_at_once(harmed: Server, store: RedisStore) -> None:
    """How many may wait is bounded, the store's own few questions (is it there, how full is it) among them."""
    harmed.signal(STOP)
    claims = [store.claim(b"%d" % number, BODY, 60.0) for number in range(10_500)]
    refused = [claim for claim in claims if claim.settled]
    assert 9_990 <= len(claims) - len(refused) <= 10_000
    with pytest.raises(StoreError, match="10000 operations wait for it already"):
        await refused[0]


async def test_a_claim_that_came_too_late_blocks_nobody(harmed: Server, store: RedisStore) -> None:
    """What a frozen server did after all, when nobody waited for it any more, is undone: the next try is a fresh one."""
    other = RedisStore(harmed.access(), LEASE, print)
    await other.open()
    harmed.signal(STOP)
    with pytest.raises(StoreError):
        await store.claim(KEY, BODY, 60.0)
    harmed.signal(GO)
    await until_taken(store)
    await until_taken(other)
    for _ in range(250):
        if (await other.claim(KEY, BODY, 60.0)).state is Claimed.NEW:
            break
        await asyncio.sleep(0.02)
    else:
        raise AssertionError("the key is blocked")
    await other.close()


@pytest.mark.parametrize("ends_well", [True, False])
async def test_what_ended_during_an_outage_is_told_afterwards(harmed: Server, store: RedisStore, ends_well: bool) -> None:
    """A request that ends while the server is frozen is delivered, or free again, for all gates when the server is back."""
    other = RedisStore(harmed.access(), LEASE, print)
    await other.open()
    assert await store.claim(KEY, BODY, 60.0) == NEW
    harmed.signal(STOP)
    with pytest.raises(StoreError):
        await (store.confirm(KEY) if ends_well else store.release(KEY))
    harmed.signal(GO)
    await until_taken(store)
    await until_taken(other)
    claim = await other.claim(KEY, BODY, 60.0)
    while claim.state is Claimed.IN_FLIGHT and claim.end is not None:
        await asyncio.wait_for(claim.end, 5)
        claim = await other.claim(KEY, BODY, 60.0)
    assert claim == (DELIVERED if ends_well else NEW)
    await other.close()


async def test_a_repeat_elsewhere_is_not_kept_waiting_by_an_outage(harmed: Server, store: RedisStore) -> None:
    """Whoever waits for a request at another gate is let go when the server falls silent."""
    other = RedisStore(harmed.access(), LEASE, print)
    await other.open()
    assert await other.claim(KEY, BODY, 60.0) == NEW
    claim = await store.claim(KEY, BODY, 60.0)
    assert claim.end is not None
    harmed.signal(STOP)
    assert await asyncio.wait_for(claim.end, 2) is False
    harmed.signal(GO)
    await other.close()


async def test_a_connection_that_breaks_is_replaced_at_once(harmed: Server, store: RedisStore) -> None:
    """A server that hangs up on us costs no more than what was under way."""
    assert await ask(store)
    with harmed.client() as client:
        for _ in range(5):
            client.client_kill_filter(_type="normal", skipme=True)
            await until_taken(store, 1.0)


@pytest.mark.parametrize("speech", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+OK\r\n" * 50])
async def test_something_else_at_its_port(speech: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A port that is silent, or speaks otherwise, is an outage like any other, and no crash."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(speech)
        with suppress(ConnectionError):
            await reader.read()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    store = RedisStore(RedisAccess(parse(f"redis://127.0.0.1:{port}")), LEASE, print)
    await store.open()
    assert not await ask(store)
    assert f"store redis://127.0.0.1:{port}: it " in caplog.text
    await store.close()
    listener.close()
