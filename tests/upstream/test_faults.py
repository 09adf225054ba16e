"""What a bot can do wrong: 502 or 504 for the sender, the claim gone before the answer, nothing sent twice."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tests.edge.lines import Line, request
from tests.edge.stages import Stage, policy, staged, update
from tests.gates import free_port, serving, until
from tests.upstream.bots import OK, Talk, always, scripted

CANARY = b"what-the-bot-said"
LENGTH = b"HTTP/1.1 200 OK\r\nX-Canary: " + CANARY + b"\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nX-Canary: " + CANARY + b"\r\nTransfer-Encoding: chunked\r\n\r\n"

SAYS = {
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "half a body": LENGTH + b"abc",
    "half a chunk": CHUNKED + b"5\r\nabc",
    "no last chunk": CHUNKED + b"5\r\nabcde\r\n",
    "more than its length": LENGTH + b"abcdefgh",
    "another answer behind": LENGTH + b"abcde" + LENGTH + b"abcde",
    "length beside chunked": CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n") + b"5\r\nabcde\r\n0\r\n\r\n",
    "chunked beside length": LENGTH.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n") + b"5\r\nabcde\r\n0\r\n\r\n",
    "two lengths": LENGTH.replace(b"\r\n\r\n", b"\r\nContent-Length: 6\r\n\r\n") + b"abcdef",
    "no length": LENGTH.replace(b": 5", b": five") + b"abcde",
    "negative length": LENGTH.replace(b": 5", b": -5") + b"abcde",
    "huge length": LENGTH.replace(b": 5", b": 99999999999999999999999") + b"abcde",
    "no chunk size": CHUNKED + b"five\r\nabcde\r\n0\r\n\r\n",
    "another coding": CHUNKED.replace(b"chunked\r\n", b"gzip, chunked\r\n") + b"5\r\nabcde\r\n0\r\n\r\n",
    "a coding without end": CHUNKED.replace(b"chunked\r\n", b"gzip\r\n") + b"abcde",
    "a NUL in a field": LENGTH.replace(CANARY, b"a\0b") + b"abcde",
    "a CR in a field": LENGTH.replace(CANARY, b"a\rb") + b"abcde",
    "a CR in its phrase": LENGTH.replace(b"OK", b"O\rK") + b"abcde",
    "garbage": b"\x00\x01\x02" + CANARY + b"\r\n\r\n",
    "TLS": bytes.fromhex("15030100020228"),
    "status 99": LENGTH.replace(b"200", b"99") + b"abcde",
    "status 099": LENGTH.replace(b"200", b"099") + b"abcde",
    "status 600": LENGTH.replace(b"200", b"600") + b"abcde",
    "status 999": LENGTH.replace(b"200", b"999") + b"abcde",
    "status 2000": LENGTH.replace(b"200", b"2000") + b"abcde",
    "HTTP/2.0": LENGTH.replace(b"/1.1", b"/2.0") + b"abcde",
    "HTTP/0.9": CANARY + b" without a head",
    "another protocol": LENGTH.replace(b"HTTP/", b"ICAP/") + b"abcde",
    "switching protocols": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "nine interim answers": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 9 + LENGTH + b"abcde",
    "a thousand interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 1000 + LENGTH + b"abcde",
    "a body behind 204": b"HTTP/1.1 204 No Content\r\n\r\n" + CANARY,
    "a body behind 304": b"HTTP/1.1 304 Not Modified\r\n\r\n" + CANARY,
    "a very long field": b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n",
    "very many fields": b"HTTP/1.1 200 OK\r\n" + b"X-Many: 1\r\n" * 10_000 + b"Content-Length: 0\r\n\r\n",
    "a head without end": b"HTTP/1.1 200 OK\r\n" + b"X-Many: 1\r\n" * 10_000,
}


def slowly(data: bytes) -> Callable[[Talk], None]:
    """Say it byte by byte, too slowly for the deadline."""

    def dribble(talk: Talk) -> None:
        for index in range(len(data)):
            talk.send(data[index : index + 1])
            if talk.stopped.wait(0.05):
                return

    return dribble


TOO_SLOW = {
    "never": Talk.hold,
    "a dribbled head": slowly(LENGTH + b"a" * 100),
    "a dribbled body": slowly(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"a" * 100),
    "dribbled interim answers": slowly(b"HTTP/1.1 100 Continue\r\n\r\n" * 8),
}


def breaking(head: bytes, body: bytes) -> Callable[[Talk], None]:
    """Begin a long answer and close."""

    def begin(talk: Talk) -> None:
        talk.send(head + body)

    return begin


def stalling(talk: Talk) -> None:
    """Begin a long answer and say no more."""
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + b"x" * 800_000)
    talk.hold()


def chatty(talk: Talk) -> None:
    """Answer, and say more that nobody asked for."""
    talk.send(OK)
    with suppress(OSError):
        talk.send(LENGTH + b"false")
        talk.arrived()
    talk.sent += 1


def hang_up(talk: Talk) -> None:
    """Answer and close without a word."""
    talk.send(OK)
    talk.sock.shutdown(socket.SHUT_WR)
    talk.arrived()
    talk.sent += 1


def early(talk: Talk) -> None:
    """Answer without reading the body."""
    talk.send(b"HTTP/1.1 413 Too Much\r\nContent-Length: 2\r\n\r\nno")
    talk.hold()


def odd(code: int) -> Callable[[Talk], None]:
    """Answer with this status."""

    def answer(talk: Talk) -> None:
        talk.send(b"HTTP/1.1 %d Odd\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 3\r\n\r\nodd" % code)

    return answer


DOES: dict[str, Callable[[Talk], None]] = {
    "close after it": hang_up,
    "chat": chatty,
    "stall": stalling,
    "break by length": breaking(b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n", b"x" * 800_000),
    "break by chunks": breaking(CHUNKED, b"c3500\r\n" + b"x" * 800_000 + b"\r\n"),
    **TOO_SLOW,
}
KEEPS = {f"status {code}": odd(code) for code in (410, 301, 302, 307, 308)}


def serve(talk: Talk) -> None:
    """Do what the request's field X-Do says."""
    while (head := talk.head()) is not None:
        wanted = head.partition(b"X-Do: ")[2].partition(b"\r\n")[0].decode()
        if wanted == "answer early":
            early(talk)
            break
        if talk.request() is None:
            break
        if wanted in SAYS:
            talk.send(SAYS[wanted])
            break
        if wanted in DOES:
            DOES[wanted](talk)
            if wanted != "chat":
                break
        elif wanted.startswith("reset"):
            talk.send(SAYS.get(wanted.partition(" after ")[2], b""))
            time.sleep(0.05 if wanted == "reset later" else 0)
            talk.reset()
            break
        elif wanted in KEEPS:
            KEEPS[wanted](talk)
        else:
            talk.send(OK)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A gate that waits a second for its bot."""
    limits = {"body_bytes": "32MiB"}
    with staged(tmp_path_factory.mktemp("faults"), serve, timeout="1s", limits=limits, largest="32MiB") as made:
        yield made


def doing(wanted: str, body: bytes = b"{}") -> bytes:
    """A request on which the bot does this."""
    return request(body, fields=b"X-Do: " + wanted.encode() + b"\r\n")


def fails(stage: Stage, wanted: str, expected: int) -> None:
    """An update meets the fault: this status, nothing of the bot's, sent once; its repeat on the same connection is delivered."""
    raw = update(fields=b"X-Do: " + wanted.encode() + b"\r\n")
    before = len(stage.bot.requests)
    with Line(stage.gate) as line:
        found = line.ask(raw)
        assert found.status == expected
        assert CANARY not in repr(found).encode()
        assert len(stage.bot.requests) == before + 1
        assert line.ask(raw.replace(b"X-Do: " + wanted.encode(), b"X-Do: well")).status == 200
    assert len(stage.bot.requests) == before + 2


@pytest.mark.parametrize("wanted", SAYS)
def test_what_is_not_http(stage: Stage, wanted: str) -> None:
    """A bot that speaks no sound HTTP is answered for with 502, and the sender's next try goes through."""
    fails(stage, wanted, 502)


@pytest.mark.parametrize("wanted", ["reset", "reset later", "reset after half a head", "reset after half a body"])
def test_resets(stage: Stage, wanted: str) -> None:
    """A bot that resets its connection, before its answer or within it, is answered for with 502."""
    fails(stage, wanted, 502)


@pytest.mark.parametrize("wanted", TOO_SLOW)
def test_too_slow(stage: Stage, wanted: str) -> None:
    """A bot that does not end its answer in time is answered for with 504, however alive it looks."""
    began = time.monotonic()
    fails(stage, wanted, 504)
    assert time.monotonic() - began < 10


def test_nobody_there(tmp_path: Path) -> None:
    """Where no bot listens the answer is 502 at once; as soon as one does, the repeat is delivered."""
    port = free_port()
    (tmp_path / "policy.yaml").write_text(policy(f"http://127.0.0.1:{port}"))
    raw = update()
    with serving(tmp_path / "policy.yaml") as gate, Line(gate) as line:
        assert line.ask(raw).status == 502
        with scripted(always(OK), port=port) as bot:
            assert line.ask(raw).status == 200
            assert len(bot.requests) == 1


def done(stage: Stage) -> int:
    """How often the bot has chatted or hung up."""
    return sum(talk.sent for talk in stage.bot.talks)


@pytest.mark.parametrize("wanted", ["close after it", "chat"])
def test_a_connection_that_is_not_silent_is_not_used(stage: Stage, wanted: str) -> None:
    """After its answer the bot closes or says more: no later request fails for it or gets it, however soon it follows."""
    before = done(stage)
    with Line(stage.gate) as line:
        for number in range(1, 31):
            found = line.ask(doing(wanted))
            # More in the same breath as the answer makes it no answer.
            assert (found.status, found.body) == (200, b"") or (found.status == 502 and wanted == "chat")
            until(partial(all_done, stage, before + number), "the bot to say more")
        assert line.ask(doing("well")).body == b""


def all_done(stage: Stage, count: int) -> bool:
    """It has done so as often."""
    return done(stage) == count


def test_an_answer_before_the_body_is_read(stage: Stage) -> None:
    """A bot that answers at the head is relayed, and its connection, full of unread body, carries no other request."""
    with Line(stage.gate) as line:
        used = set()
        for number in range(1, 4):
            found = line.ask(doing("answer early", b"x" * 16_000_000))
            assert (found.status, found.body) == (413, b"no")
            used.add(max(stage.bot.talks, key=lambda talk: talk.heard).number)
            assert len(used) == number


@pytest.mark.parametrize("wanted", ["break by length", "break by chunks", "stall"])
def test_a_long_answer_that_breaks_off_does_not_look_whole(stage: Stage, wanted: str) -> None:
    """When the bot breaks off a long answer, or stalls in it, the sender's connection is cut: it sees so."""
    began = time.monotonic()
    with Line(stage.gate) as line, pytest.raises((EOFError, ConnectionResetError)):
        line.ask(doing(wanted))
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("wanted", KEEPS)
def test_statuses_that_harm_telegram(stage: Stage, wanted: str) -> None:
    """410 and redirects become 503 with Retry-After for Telegram, the claim is released; others see them as they are."""
    raw = update(fields=b"X-Do: " + wanted.encode() + b"\r\n")
    before = len(stage.bot.requests)
    with Line(stage.gate) as line:
        for _ in range(2):
            found = line.ask(raw)
            assert (found.status, found.field(b"Location")) == (503, None)
            assert int(found.field(b"Retry-After") or 0) > 0
        assert len(stage.bot.requests) == before + 2
        assert line.ask(doing(wanted)).status == int(wanted[7:])
