"""Two gates of two workers each on one real Redis: of many identical requests at once, at either gate, the bot sees one."""

import asyncio
from collections import Counter

import pytest

from tests.conftest import Gates
from tests.gates import TOKEN, TOKEN_FIELD, Gate, RecordingBot
from tests.redises import Server, server
from tests.test_redis_gate import policy

AT_ONCE = 100


def update(number: int) -> bytes:
    """The same bytes for the same number."""
    body = b'{"update_id":%d,"message":{"text":"hello"}}' % number
    head = "POST /telegram HTTP/1.1\r\nHost: bot.example.com\r\nContent-Type: application/json"
    return f"{head}\r\n{TOKEN_FIELD}: {TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def line(gate: Gate, requests: list[bytes], together: asyncio.Barrier, answers: Counter[tuple[int, int]]) -> None:
    """One connection that sends each request at the same moment as all other connections do."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    for number, request in enumerate(requests):
        await together.wait()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(field.partition(b":")[2]) for field in head.split(b"\r\n") if field.lower().startswith(b"content-length")
        )
        await reader.readexactly(length)
        answers[number, int(head.split(b" ", 2)[1])] += 1
    writer.close()
    await writer.wait_closed()


async def storm(gates: list[Gate], requests: list[bytes]) -> Counter[tuple[int, int]]:
    """Each request from ``AT_ONCE`` connections at once, spread over the gates; how often each got which status."""
    answers: Counter[tuple[int, int]] = Counter()
    together = asyncio.Barrier(AT_ONCE)
    await asyncio.gather(*(line(gates[one % len(gates)], requests, together, answers) for one in range(AT_ONCE)))
    return answers


def two(gate: Gates, bot: RecordingBot, redis: Server) -> list[Gate]:
    """Two gates with the same policy, each with a folder of its own."""
    text = policy(redis.url, bot)
    own = "admin: {{address: 'unix:run/{0}.sock'}}\nstate_directory: {0}\nworkers: 2\n"
    return [gate(text + own.format(name), name=f"{name}.yaml") for name in ("first", "second")]


async def race(gates: list[Gate], bot: RecordingBot, ids: int) -> None:
    """All ids, and what came of them."""
    answers = await storm(gates, [update(number) for number in range(ids)])
    assert answers == {(number, 200): AT_ONCE for number in range(ids)}
    seen = Counter(request.partition(b"\r\n\r\n")[2] for request in bot.requests)
    assert len(seen) == ids
    assert set(seen.values()) == {1}
    assert sum(gate.metric("hookgate_requests_total", outcome="forwarded") for gate in gates) == ids
    assert sum(gate.metric("hookgate_requests_total", reason="replay_duplicate") for gate in gates) == ids * (AT_ONCE - 1)


async def test_a_hundred_at_once(gate: Gates, bot: RecordingBot) -> None:
    """A hundred identical requests at once at two gates reach the bot once; all hundred are answered 200."""
    with server() as redis:
        await race(two(gate, bot, redis), bot, 60)


@pytest.mark.long
@pytest.mark.timeout(0)
async def test_a_hundred_at_once_ten_thousand_times(gate: Gates, bot: RecordingBot) -> None:
    """The same for ten thousand ids: no double in a million requests bounds its rate at three in a million (95 %)."""
    with server() as redis:
        await race(two(gate, bot, redis), bot, 10_000)
