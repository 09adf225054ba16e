"""Rates that gates on several machines count together in a real Redis, and what each of them does without it."""

import json
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.policy.values import Stance
from proxy.store.redis import RedisStore
from proxy.verdict import Mode, Reason, RuleName
from tests.conftest import Gates
from tests.edge.lines import Line
from tests.gates import Gate, RecordingBot, post, status, until
from tests.pipeline.judging import Compiled, compiled, request
from tests.redises import GO, LEASE, STOP, Server, server
from tests.trickle import BUSY_SECONDS, DECIDED_SECONDS

BURST = 5
FEW: dict[str, Any] = {"limit": "5/h", "burst": BURST}
"""Nobody's time comes again while a test runs."""


@pytest.fixture(scope="module")
def running_redis() -> Iterator[Server]:
    """One server for the tests that do it no harm."""
    with server() as made:
        yield made


@pytest.fixture
def redis(running_redis: Server) -> Server:
    """That server, empty."""
    with running_redis.client() as client:
        client.flushall()
    return running_redis


Counting = Callable[..., Awaitable[Compiled]]


@pytest.fixture
async def counting(tmp_path: Path, redis: Server) -> AsyncIterator[Counting]:
    """``counting(rate)`` compiles a gate with a connection of its own to that server; ``rules`` are the others."""
    stores = []

    async def make(rate: dict[str, Any], name: str = "bot", **rules: Any) -> Compiled:
        stores.append(RedisStore(redis.access(), LEASE, print))
        route = {"name": name, "insecure": True, "rules": {"rate": {**FEW, **rate}, **rules}}
        return await compiled(tmp_path, route, store=stores[-1])

    yield make
    for store in stores:
        await store.close()


def limited(gate: Gates, bot: RecordingBot, redis: Server, name: str = "one", **rate: Any) -> Gate:
    """A gate that knows nothing but a rate, with a folder of its own."""
    policy = {
        "version": 1,
        "listen": {"address": "127.0.0.1:0"},
        "observe": {"address": "127.0.0.1:0"},
        "admin": {"address": f"unix:run/{name}.sock"},
        "state_directory": name,
        "store": {"url": redis.url},
        "upstream": {"url": f"http://127.0.0.1:{bot.port}"},
        "routes": [{"name": "bot", "path": "/hook", "insecure": True, "rules": {"rate": {**FEW, **rate}}}],
    }
    return gate(json.dumps(policy), name=f"{name}.yaml")


HOOK = post("/hook", b"{}")


# -- in one process


async def test_all_who_share_the_store_count_together(counting: Counting) -> None:
    """Of two gates on one store exactly the burst passes; then both say 429 and when to come again."""
    here, there = [await counting({}) for _ in range(2)]
    judged = [await (here, there)[number % 2].judge(request()) for number in range(8)]
    assert [one.reason for one in judged] == [Reason.NONE] * BURST + [Reason.RATE_LIMITED] * 3
    assert judged[-1].ended[1:3] == (429, 720)
    assert here.failed == there.failed == []


@pytest.mark.parametrize(("per", "passes"), [("client", True), ("route", False)])
async def test_whom_it_counts(counting: Counting, per: str, passes: bool) -> None:
    """Clients count apart in the store, or together where the policy says so, and never with those of another route."""
    gate = await counting({"burst": 1, "per": per})
    assert (await gate.judge(request())).reason is Reason.NONE
    assert ((await gate.judge(request(client="192.0.2.9"))).reason is Reason.NONE) is passes
    other = await counting({"burst": 1}, "other")
    assert (await other.judge(request())).reason is Reason.NONE


async def test_reported(counting: Counting) -> None:
    """A rate that only reports names its finding and lets pass."""
    gate = await counting({"burst": 1, "mode": "report"})
    judged = [await gate.judge(request()) for _ in range(2)]
    assert [one.reason for one in judged] == [Reason.NONE] * 2
    assert [(found.rule, found.reason, found.mode) for found in judged[1].findings] == [
        (RuleName.RATE, Reason.RATE_LIMITED, Mode.REPORT)
    ]


@pytest.mark.parametrize(("share", "reason"), [(0, Reason.NONE), (99, Reason.RATE_LIMITED)])
async def test_enforced_for_a_share(counting: Counting, share: int, reason: Reason) -> None:
    """Where a share is enforced, the body decides whether a rate refuses, and it is found either way."""
    gate = await counting({"burst": 1})
    gate.gate.stance = Stance(Mode.ENFORCE, share)
    await gate.judge(request())
    judged = await gate.judge(request())
    assert judged.reason is reason
    assert [found.reason for found in judged.findings] == [Reason.RATE_LIMITED]


async def test_the_order_of_judgement(counting: Counting) -> None:
    """Who may not come at all is not counted: an address that is denied spends nobody's rate."""
    gate = await counting({"burst": 1, "per": "route"}, ip={"allow": ["192.0.2.0/24"]})
    assert {(await gate.judge(request())).reason for _ in range(3)} == {Reason.IP_DENIED}
    assert (await gate.judge(request(client="192.0.2.9"))).reason is Reason.NONE


async def test_a_looser_rate_after_a_reload(counting: Counting) -> None:
    """Nobody waits longer than the rate of today asks for, whatever was counted by a slower one."""
    slow, fast = await counting({"limit": "5/h"}), await counting({"limit": "1/s"})
    assert [(await slow.judge(request())).reason for _ in range(BURST)] == [Reason.NONE] * BURST
    assert (await fast.judge(request())).ended[1:3] == (429, 1)


# -- two gates


def test_two_gates(gate: Gates, bot: RecordingBot, redis: Server) -> None:
    """Of twenty requests at two gates on one Redis exactly the burst reaches the bot."""
    gates = [limited(gate, bot, redis, name) for name in ("one", "two")]
    statuses = [status(gates[number % 2].send(HOOK)) for number in range(20)]
    assert statuses == [200] * BURST + [429] * 15
    assert len(bot.requests) == BURST
    assert sum(one.metric("hookgate_requests_total", route="bot", reason="rate_limited") for one in gates) == 15
    assert sum(one.metric("hookgate_store_errors_total", operation="rate") for one in gates) == 0


def test_refused_before_the_body(gate: Gates, bot: RecordingBot, redis: Server) -> None:
    """Who is over the rate is told so before it has sent a byte of its body."""
    running = limited(gate, bot, redis, burst=1)
    assert status(running.send(HOOK)) == 200
    with Line(running) as line:
        assert line.send(post("/hook", b"x" * 5000)[:-5000]).answer().status == 429


@pytest.mark.parametrize("harm", ["stopped", "frozen"])
def test_without_the_store(gate: Gates, bot: RecordingBot, harm: str) -> None:
    """Each gate goes on by its own count, at once, and the store's errors are counted; what had passed before counts still."""
    with server() as redis:
        running = limited(gate, bot, redis)
        assert [status(running.send(HOOK)) for _ in range(3)] == [200] * 3
        if harm == "stopped":
            redis.kill()
        else:
            redis.signal(STOP)
        statuses = []
        for _ in range(5):
            began = time.monotonic()
            statuses.append(status(running.send(HOOK)))
            assert time.monotonic() - began < DECIDED_SECONDS + BUSY_SECONDS
        assert statuses == [200] * 2 + [429] * 3
        assert running.metric("hookgate_store_errors_total", operation="rate") == 5
        if harm == "frozen":
            redis.signal(GO)


# -- while the store is asked, nothing of the request may be lost


@pytest.fixture
def frozen(gate: Gates, bot: RecordingBot) -> Iterator[Gate]:
    """A gate whose Redis says nothing: each head waits for its deadline, and then counts here."""
    with server() as redis:
        running = limited(gate, bot, redis)
        assert status(running.send(HOOK)) == 200
        redis.signal(STOP)
        yield running
        redis.signal(GO)


BODY = b"0123456789" * 100


def in_pieces(line: Line, *pieces: bytes) -> None:
    """Write them apart from each other, so that most likely each is read by itself while the store is asked."""
    for piece in pieces:
        line.send(piece)
        time.sleep(0.03)


def test_a_body_that_comes_meanwhile(frozen: Gate, bot: RecordingBot) -> None:
    """A body whose bytes come while the store is asked arrives whole, and the next request of the line as well."""
    whole = post("/hook", BODY).replace(b"Connection: close\r\n", b"")
    with Line(frozen) as line:
        in_pieces(line, whole[:-900], whole[-900:-300], whole[-300:] + post("/hook", b"second"))
        assert [line.answer().status for _ in range(2)] == [200, 200]
    assert [one.partition(b"\r\n\r\n")[2] for one in bot.requests[1:]] == [BODY, b"second"]


def test_a_sender_that_says_all_and_half_closes(frozen: Gate, bot: RecordingBot) -> None:
    """Who has said everything and closes its half while the store is asked gets its answer."""
    whole = post("/hook", BODY)
    with Line(frozen) as line:
        in_pieces(line, whole[:-900], whole[-900:])
        line.sock.shutdown(socket.SHUT_WR)
        assert line.answer().status == 200
    assert bot.requests[1].endswith(BODY)


@pytest.mark.parametrize("reset", [False, True])
def test_a_sender_that_leaves(frozen: Gate, bot: RecordingBot, reset: bool) -> None:
    """Who goes away while the store is asked, the body half sent, leaves nothing behind."""
    with Line(frozen) as line:
        line.send(post("/hook", BODY)[:-900])
        # A reset takes away what is not read yet.
        until(lambda: frozen.metric("hookgate_in_flight_requests") == 1, "the head to be read")
        if reset:
            line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    until(lambda: frozen.metric("hookgate_requests_total", reason="client_aborted") == 1, "the request to end")
    assert frozen.metric("hookgate_in_flight_requests") == 0
    assert len(bot.requests) == 1
