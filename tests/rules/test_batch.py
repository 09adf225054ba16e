"""Several events in one request: each is claimed by itself, and the request is forwarded while one of them is new."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from proxy.messages import Request
from proxy.rules.batch import MOST_EVENTS
from proxy.store.base import IN_DOUBT, Claim, Claimed
from proxy.verdict import Reason
from tests.pipeline.judging import Compiled, compiled, request

OK, DUPLICATE, IN_FLIGHT, KEYLESS = Reason.NONE, Reason.REPLAY_DUPLICATE, Reason.REPLAY_IN_FLIGHT, Reason.REPLAY_KEY_MISSING

ROUTE: dict[str, Any] = {"insecure": True, "rules": {"replay": {"key": "json:/events/*/id", "window": "60s"}}}
OTHERWISE: dict[str, Any] = {"insecure": True, "rules": {"replay": {"key": "json:/events/*/id", "otherwise": "body:sha256"}}}


def batch(*ids: object, **more: object) -> Request:
    """A request with an event for each id."""
    return request(json.dumps({"events": [{"id": one} for one in ids], **more}).encode())


async def test_all_delivered(tmp_path: Path) -> None:
    """What holds delivered events alone is a repeat, in whatever order and grouping and with whatever beside them."""
    gate = await compiled(tmp_path, ROUTE)
    assert (await gate.deliver(batch("a", "b"))).reason is OK
    for again in (batch("a", "b"), batch("b", "a", redelivery=True), batch("a"), batch("b", "b")):
        found = await gate.deliver(again)
        assert (found.reason, found.status) == (DUPLICATE, 200)


async def test_one_is_new(tmp_path: Path) -> None:
    """One new event takes the whole request to the bot, and is then known as well."""
    gate = await compiled(tmp_path, ROUTE)
    assert (await gate.deliver(batch("a"))).reason is OK
    assert (await gate.deliver(batch("a", "c"))).reason is OK
    assert (await gate.deliver(batch("c"))).reason is DUPLICATE


async def test_not_delivered(tmp_path: Path) -> None:
    """What failed leaves no claim behind, but what was delivered before stays known."""
    gate = await compiled(tmp_path, ROUTE)
    assert (await gate.deliver(batch("a"))).reason is OK
    assert (await gate.deliver(batch("a", "b"), delivered=False)).reason is OK
    assert (await gate.deliver(batch("b"))).reason is OK
    assert (await gate.deliver(batch("a"))).reason is DUPLICATE
    assert gate.store.entries() == 2


async def in_flight(gate: Compiled, first: Request, second: Request, *, delivered: bool) -> Reason:
    """What the second is told when it comes while the first is on its way, and the first then ends."""
    held = await gate.judge(first)
    waiting = asyncio.ensure_future(gate.judge(second))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not waiting.done()
    await gate.gate.settle(held.permit.reserved, delivered=delivered)
    return (await waiting).reason


async def test_in_flight(tmp_path: Path) -> None:
    """A request whose events are all on their way waits for their end and shares it."""
    gate = await compiled(tmp_path, ROUTE)
    assert await in_flight(gate, batch("a", "b"), batch("b", "a"), delivered=True) is DUPLICATE
    assert await in_flight(gate, batch("c"), batch("c"), delivered=False) is IN_FLIGHT


async def test_overlap(tmp_path: Path) -> None:
    """A request that shares events with one on its way holds none while it waits: no two can wait for each other."""
    gate = await compiled(tmp_path, ROUTE)
    assert await in_flight(gate, batch("a", "b"), batch("b", "c"), delivered=True) is IN_FLIGHT
    assert gate.store.entries() == 2
    assert (await gate.deliver(batch("b", "c"))).reason is OK


@pytest.mark.parametrize(
    "body",
    [
        b'{"events":[]}',
        b'{"events":[{"id":"a"},{}]}',
        b'{"events":[{"id":"a"},{"id":null}]}',
        b'{"events":[{"id":"a","id":"b"}]}',
        b'{"events":[{"id":"a"}],"events":[{"id":"c"}]}',
        b'{"events":[{"id":"a"},{"id":"b","\\u0069d":"c"}]}',
        b'{"events":{"id":"a"}}',
        b"{}",
    ],
)
async def test_unnamed(body: bytes, tmp_path: Path) -> None:
    """An event without one id of its own makes the request nameless; with ``otherwise`` that names it."""
    assert (await (await compiled(tmp_path, ROUTE)).deliver(request(body))).reason is KEYLESS
    gate = await compiled(tmp_path, OTHERWISE)
    assert (await gate.deliver(request(body))).reason is OK
    assert (await gate.deliver(request(body))).reason is DUPLICATE
    assert gate.store.entries() == 1


async def test_too_many(tmp_path: Path) -> None:
    """A request cannot make claims without bound."""
    gate = await compiled(tmp_path, OTHERWISE)
    assert (await gate.deliver(batch(*range(MOST_EVENTS)))).reason is OK
    assert gate.store.entries() == MOST_EVENTS
    assert (await gate.deliver(batch(*range(1000, 1001 + MOST_EVENTS)))).reason is OK
    assert gate.store.entries() == MOST_EVENTS + 1


async def test_once_each(tmp_path: Path) -> None:
    """Many requests at once over the same events: each that reaches the bot has a new one, and no two share one on its way."""
    gate = await compiled(tmp_path, ROUTE)
    seen: list[str] = []
    under_way: set[str] = set()

    async def send(*ids: str) -> None:
        found = await gate.judge(batch(*ids))
        if found.reason is IN_FLIGHT:
            await send(*ids)
        if found.reason is OK:
            new = [one for one in ids if one not in seen]
            assert new
            assert not under_way.intersection(new)
            under_way.update(new)
            await asyncio.sleep(0)
            under_way.difference_update(new)
            seen.extend(new)
            await gate.gate.settle(found.permit.reserved, delivered=True)

    await asyncio.gather(*(send(f"{n % 7}", f"{(n + 1) % 7}") for n in range(50)))
    assert sorted(seen) == [f"{n}" for n in range(7)]
    assert (await gate.deliver(batch(*(f"{n}" for n in range(7))))).reason is DUPLICATE


async def test_dropped_where_in_doubt_and_another_is_in_flight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``in_doubt: drop`` an event that may have reached the bot never does again, whatever else was in its request."""
    rules = {"replay": {"key": "json:/events/*/id", "in_doubt": "drop"}}
    gate = await compiled(tmp_path, {"insecure": True, "rules": rules})
    doubted = {b'bot\0"a'}
    claim = gate.store.claim

    async def claim_of_the_dead(key: bytes, digest: bytes, window: float) -> Claim:
        """The store, where a gate that died held some of the keys."""
        found = await claim(key, digest, window)
        known = found.state is Claimed.NEW and key in doubted
        doubted.discard(key)
        return IN_DOUBT if known else found

    monkeypatch.setattr(gate.store, "claim", claim_of_the_dead)
    assert await in_flight(gate, batch("b"), batch("a", "b"), delivered=False) is IN_FLIGHT
    assert (await gate.deliver(batch("a"))).reason is DUPLICATE
