"""A service that Sentinels watch, and a Cluster: the store finds the servers, follows a failover, and follows keys that move."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from redis.crc import key_slot

from proxy.redis_url import RedisAccess, parse
from proxy.store.base import DELIVERED, NEW
from proxy.store.redis import RedisStore
from tests.redises import GO, LEASE, STOP, Clustered, Watched, asked
from tests.store.outages import BODY, ask, until_refused, until_taken


@pytest.fixture
def watched() -> Iterator[Watched]:
    """A master, a replica and three Sentinels."""
    with ExitStack() as stack:
        yield Watched(stack, 3)


@pytest.mark.parametrize("way", ["killed", "frozen"])
async def test_failover(watched: Watched, way: str) -> None:
    """When the master dies the store refuses in time, and serves within two seconds of the Sentinels naming the new one."""
    store = RedisStore(RedisAccess(parse(watched.url)), LEASE, print)
    await store.open()
    assert await store.claim(b"before", BODY, 60.0) == NEW
    await store.confirm(b"before")
    with watched.master.client() as client:
        client.wait(1, 5000)
    old = watched.master.port
    if way == "killed":
        watched.master.kill()
    else:
        watched.master.signal(STOP)
    await until_refused(store)
    deadline = time.monotonic() + 30
    while await asyncio.to_thread(watched.announced) == old:
        assert not await ask(store)
        assert time.monotonic() < deadline, "no failover"
    await until_taken(store)
    assert await store.claim(b"before", BODY, 60.0) == DELIVERED, "the replica had it"
    if way == "frozen":
        watched.master.signal(GO)  # it comes back as a replica; whoever still talks to it is sent away
        assert all([await ask(store) for _ in range(50)])
    await store.close()


async def test_a_sentinel_that_is_away(watched: Watched) -> None:
    """One Sentinel that answers is enough to find the master."""
    for one in watched.sentinels[:2]:
        one.kill()
    store = RedisStore(RedisAccess(parse(watched.url)), LEASE, print)
    await store.open()
    assert await ask(store)
    await store.close()


async def test_a_service_that_the_sentinels_do_not_know(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    """A wrong name of the service is told."""
    store = RedisStore(RedisAccess(parse(watched.url.replace("/hookgate/", "/other/"))), LEASE, print)
    await store.open()
    assert not await ask(store)
    await store.close()
    assert "no Sentinel knows a master of 'other'" in caplog.text


# -- Clusters


async def test_a_cluster_shares_the_claims_out(cluster: Clustered) -> None:
    """Claims lie on all masters, and those of one turn of the loop all get their answers."""
    for one in cluster.masters:
        one.client().flushall()
    store = RedisStore(RedisAccess(parse(cluster.url)), LEASE, print)
    await store.open()
    assert all(await asyncio.gather(*(ask(store) for _ in range(300))))
    for one in cluster.masters:
        with one.client() as client:
            assert client.dbsize() > 50
    await store.close()


async def test_a_slot_that_moves(cluster: Clustered) -> None:
    """A key whose slot has moved is followed within the same operation; the map is made anew."""
    store = RedisStore(RedisAccess(parse(cluster.url)), LEASE, print)
    await store.open()
    slot = key_slot(b"hookgate:claim:moving")
    clients = [one.client() for one in cluster.masters]
    ids = [asked(client, "CLUSTER", "MYID") for client in clients]
    owner = slot // (16384 // 3)
    for new in ((owner + 1) % 3, owner):
        clients[new].flushall()
        for client in (clients[new], clients[owner], clients[3 - owner - new] if new != owner else clients[(owner + 1) % 3]):
            client.flushall()
            asked(client, "CLUSTER", "SETSLOT", slot, "NODE", ids[new])
        assert await store.claim(b"moving", BODY, 60.0) == NEW
        await store.confirm(b"moving")
        assert await store.claim(b"moving", BODY, 60.0) == DELIVERED
        assert clients[new].exists(b"hookgate:claim:moving")
    await store.close()


async def test_a_master_that_dies_takes_its_own_share_alone() -> None:
    """Keys on the other masters go on as before, and the dead one's as soon as it is back."""
    with ExitStack() as stack:
        cluster = Clustered(stack)
        store = RedisStore(RedisAccess(parse(cluster.url)), LEASE, print)
        await store.open()
        cluster.masters[2].signal(STOP)
        taken = await asyncio.gather(*(ask(store) for _ in range(300)))
        assert 100 < sum(taken) < 300
        assert sum(await asyncio.gather(*(ask(store) for _ in range(300)))) > 100
        cluster.masters[2].signal(GO)
        for _ in range(200):
            if all(await asyncio.gather(*(ask(store) for _ in range(100)))):
                break
            await asyncio.sleep(0.02)
        else:
            raise AssertionError("no recovery")
        await store.close()


async def test_a_lone_server_is_no_cluster(cluster: Clustered, caplog: pytest.LogCaptureFixture) -> None:
    """``redis://`` to a node of a Cluster, which has only a part of the keys, is told and refused, not half served."""
    store = RedisStore(RedisAccess(parse(f"redis://127.0.0.1:{cluster.masters[0].port}")), LEASE, print)
    await store.open()
    assert not all([await ask(store) for _ in range(30)])
    await store.close()
    assert "it is a part of a Cluster: use redis+cluster://" in caplog.text
