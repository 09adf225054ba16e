"""Heads that recur: what is recalled is what would have been read, wherever a request begins, and is judged like the first."""

import asyncio
import random
import time
from contextlib import suppress
from pathlib import Path

import pytest

from proxy.edge.framing import Bounds, HeadReader, Wire
from proxy.edge.intake import request_parser
from proxy.messages import Head
from proxy.networks import NetworkSet, parse_address, parse_network
from proxy.policy.model import Limits
from proxy.verdict import Reason
from tests.edge.lines import TOKEN_LINE, Line, chunked, request
from tests.edge.stages import staged
from tests.upstream.bots import always

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NEIGHBOUR = parse_address("192.0.2.1")
assert NEIGHBOUR is not None
WIRE = Wire(NEIGHBOUR, NEIGHBOUR, True, False, None)
BOUNDS = Bounds(1024, 64, 256, NetworkSet([parse_network("192.0.2.0/24")]), frozenset())
HEADS = (
    b"POST /w HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n",
    b"POST /w?x HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\nX-Forwarded-For: 1.2.3.4\r\nA: \xff\r\nA: 2\r\n\r\n",
    b"PUT /v HTTP/1.1\r\nContent-Length: %d\r\nHost: b:1\r\nX-Note: Content-Length: 7\r\nConnection: keep-alive\r\n\r\n",
    b"POST /w HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nX-Request-Id: abcdefgh\r\n\r\n",
    b"POST /w HTTP/1.1\r\nHost:  a\r\nContent-Length: %d \r\n\r\n",
    b"\r\nPOST /w HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n",
)
_PIECES = (
    b"\r\n",
    b"\r\n\r\n",
    b"Content-Length: ",
    b"\r\nContent-Length: 3",
    b"\r\ncontent-length: 3",
    b"0",
    b"1",
    b" ",
    b"\t",
    b"+",
)


def written(head: bytes, size: int) -> bytes:
    """A request with that many bytes of body."""
    return head % size + b"\r" * size


class Clock:
    """Seconds that pass fast enough for every head to be learnt."""

    now = 0.0

    def tick(self) -> float:
        """One more."""
        self.now += 1.0
        return self.now


CLOCK = Clock()


def read(data: bytes) -> tuple[Head, bytes] | None:
    """What a fresh parser and the walls make of ``data``; ``None`` unless it is one whole request that passes."""
    parser = request_parser(asyncio.get_event_loop(), Limits(header_bytes=BOUNDS.header_bytes))
    try:
        messages = parser.feed_data(data)[0]
        if len(messages) != 1 or not messages[0][1].is_eof() or parser.feed_data(b"")[0]:
            return None
    except Exception:
        return None
    head = HeadReader(BOUNDS).read(messages[0][0], WIRE, 1.0, CLOCK.tick(), b"id")
    return None if isinstance(head, Reason) else (head._replace(started=0.0), messages[0][1].read_nowait())


def learn(heads: HeadReader, data: bytes) -> bool:
    """Have a request's head remembered, if it is one."""
    found = read(data)
    return found is not None and heads.recurring.remember(WIRE.key(), data, found[0]._replace(started=CLOCK.tick()))


def recalled(heads: HeadReader, data: bytes) -> tuple[Head, bytes] | None:
    """What memory makes of it."""
    found = heads.recurring.recall(WIRE.key(), data)
    return found and (heads.again(found, WIRE, 1.0, 0.0, b"id")._replace(kept=None), found.body)


def mutant(data: bytes, chance: random.Random) -> bytes:
    """The same with some bytes dropped, doubled, exchanged or put in."""
    for _ in range(chance.randint(1, 2)):
        at, end = sorted((chance.randint(0, len(data)), chance.randint(0, len(data))))
        end = min(end, at + 20)
        piece = chance.choice((b"", data[at:end] * 2, chance.choice(_PIECES), bytes([chance.randrange(256)])))
        data = data[:at] + piece + data[end if piece not in _PIECES else at :]
    return data


async def test_recalled_is_what_would_be_read() -> None:
    """No bytes at all are recalled as anything but what a fresh parser and the walls read in them."""
    chance = random.Random(7)  # noqa: S311 - a repeatable one
    heads = HeadReader(BOUNDS)
    hits = 0
    for number in range(6_000):
        if number % 1500 == 0:
            heads = HeadReader(BOUNDS)
        data = written(chance.choice(HEADS), chance.choice((0, 1, 2, 9, 10, 99, 100)))
        if chance.random() < 0.7:
            data = mutant(data, chance)
        found, known = read(data), recalled(heads, data)
        assert known is None or known == found, data
        hits += known is not None
        if chance.random() < 0.2:
            learn(heads, data)
    assert hits > 300


@pytest.mark.parametrize("byte", range(256))
async def test_each_byte_of_a_value(byte: int) -> None:
    """A value with any byte in it, first, last or between, is recalled as it would be read, or not at all."""
    heads = HeadReader(BOUNDS)
    head = b"POST /w HTTP/1.1\r\nHost: a\r\nX: %b\r\nContent-Length: 1\r\n\r\n."
    assert learn(heads, head % b"value")
    for value in (b"%b", b"%bx", b"x%b", b"x%bx", b"%b%b"):
        data = head % value.replace(b"%b", bytes([byte]))
        known = recalled(heads, data)
        assert known is None or known == read(data)
    assert recalled(heads, head % b"another") == read(head % b"another") is not None


@pytest.mark.parametrize("head", HEADS[:1] + HEADS[2:3])
async def test_values_differ(head: bytes) -> None:
    """A head is known again with another length and other values, in all its facts."""
    heads = HeadReader(BOUNDS)
    assert learn(heads, written(head, 10))
    for size in (10, 7, 0, 99, 100, 10):
        assert recalled(heads, written(head, size)) == read(written(head, size)) is not None
    for odd in (b"07", b"+7", b"7 ", b" 7", b"-7", b"", b"7,7", b"0x7", b"\xb2"):
        assert recalled(heads, head.replace(b"%d", odd) + b"\r" * 7) is None


async def test_telling_values() -> None:
    """The client is read anew from each request; another host, scheme or connection is another head."""
    heads = HeadReader(BOUNDS)
    head = (
        b"POST /w HTTP/1.1\r\nHost: %b\r\nX-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nConnection: %b\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    assert learn(heads, head % (b"a", b"1.2.3.4", b"https", b"keep-alive"))
    other = head % (b"a", b"9.9.9.9, 5.6.7.8", b"https", b"keep-alive")
    known = recalled(heads, other)
    assert known is not None
    assert known[0].client.text == "5.6.7.8"
    assert known == read(other)
    for values in (
        (b"b", b"1.2.3.4", b"https", b"keep-alive"), (b"a", b"1.2.3.4", b"http", b"keep-alive"),
        (b"a", b"1.2.3.4", b"https", b"close"),
    ):  # fmt: skip
        assert recalled(heads, head % values) is None


async def test_another_wire() -> None:
    """What depends on the wire is not taken over from another one: address, trust, TLS, certificate."""
    heads = HeadReader(BOUNDS)
    data = written(HEADS[0], 3)
    assert learn(heads, data)
    assert heads.recurring.recall(WIRE.key(), data) is not None
    other = parse_address("192.0.2.2")
    assert other is not None
    for wire in (
        WIRE._replace(peer=other), WIRE._replace(origin=other), WIRE._replace(trusted=False), WIRE._replace(tls=True),
        WIRE._replace(certificate=b"x"),
    ):  # fmt: skip
        assert heads.recurring.recall(wire.key(), data) is None


async def test_bounded() -> None:
    """However many heads there are, few are kept, no long one, and none at a pace that would cost the others anything."""
    heads = HeadReader(BOUNDS)
    for number in range(600):
        line = b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nX%d: %b\r\n\r\n."
        learn(heads, line % (number // 9, number, b"x" * (3000 if number % 2 else 3)))
    kept = [known for some in heads.recurring._known.values() for known in some]
    assert 0 < len(kept) <= 128
    assert max(map(len, heads.recurring._known.values())) <= 4
    fresh = HeadReader(BOUNDS)
    for number in range(10):
        found = read(b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" % number)
        assert found is not None
        fresh.recurring.remember(
            WIRE.key(), b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" % number, found[0]._replace(started=9.0)
        )
    assert len(fresh.recurring._known) == 1


async def test_learning_is_paced_by_its_cost() -> None:
    """The more fields a head has that was learnt, the longer no other is."""
    heads = HeadReader(BOUNDS)
    key, line = WIRE.key(), b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n%b\r\n"
    few, many = b"", b"".join(b"a%d: b\r\n" % number for number in range(50))
    learnt = []
    for number, (moment, fields) in enumerate(((1.0, many), (1.05, few), (1.15, few), (1.3, few), (1.35, few))):
        data = line % (number, fields)
        found = read(data)
        assert found is not None
        heads.recurring.remember(key, data, found[0]._replace(started=moment))
        learnt.append(recalled(heads, data) is not None)
    assert learnt == [True, False, False, True, True]


async def test_no_long_look() -> None:
    """A head that is too long to be known is told at once, however much of it has come."""
    heads = HeadReader(BOUNDS)
    head = b"POST /w HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nX: y%b\r\n\r\n"
    assert learn(heads, head % b"")

    def cost(data: bytes) -> float:
        began = time.thread_time()
        for _ in range(20):
            assert recalled(heads, data) is None
        return time.thread_time() - began

    assert cost(head % (b" " * 250_000)) < 20 * cost(head % (b" " * 2_000))


def test_judged_like_the_first(tmp_path: Path) -> None:
    """A known head gives no right to anything: a wrong token is refused on the same connection."""
    with staged(tmp_path, always(OK)) as stage, Line(stage.gate) as line:
        for number in range(3):
            assert line.ask(request(b"%d" % number)).status == 200
        wrong = TOKEN_LINE.replace(TOKEN_LINE[-4:-2], b"zz")
        assert line.ask(request(b"3", token=wrong)).status == 401
        assert line.ask(request(b"4")).status == 200


@pytest.mark.parametrize(
    "begun",
    [
        b"POST /w HTTP/1.1\r\nHost: bot.example.com\r\n" + TOKEN_LINE + b"X-Held: ",
        request(b"one") + b"POST /w HTTP/1.1\r\nHost: bot.example.com\r\n" + TOKEN_LINE + b"X-Held: ",
        b"POST /w HTTP/1.1\r\nX-Held: ",
        b"P",
        b"\r\nP",
        chunked((b"x",))[:-4],
        request(b"xxx")[:-2],
    ],
)
def test_only_where_a_request_begins(begun: bytes, tmp_path: Path) -> None:
    """Bytes that look like a known request are none where the connection is in the midst of another."""
    with staged(tmp_path, always(OK)) as stage, Line(stage.gate) as line:
        known = request(b"ok")
        for _ in range(3):
            assert line.ask(known).status == 200
        came = len(stage.bot.requests)
        line.send(begun)
        if begun.startswith(request(b"one")):
            assert line.answer().status == 200
        with Line(stage.gate) as other:  # a round trip later the gate has read what was begun
            assert other.ask(request(b"another")).status == 200
        line.send(known)
        line.half_close()
        with suppress(ConnectionResetError):
            line.rest()
        assert all(b"X-Held: POST /w HTTP/1.1" in one for one in stage.bot.requests[came:] if one.endswith(b"\r\n\r\nok"))
