"""What a bot can do wrong: 502 or 504 for the sender, the claim gone before the answer, nothing sent twice."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.edge.lines import Line, request
from tests.edge.stages import Stage, policy, staged, update
from tests.gates import free_port, serving, status, until
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


def serve(talk: Talk) -> None:
    """Do what the request's field X-Do says."""
    while (came := talk.request()) is not None:
        wanted = came.partition(b"X-Do: ")[2].partition(b"\r\n")[0].decode()
        if wanted in SAYS:
            talk.send(SAYS[wanted])
            break
        if wanted in TOO_SLOW:
            TOO_SLOW[wanted](talk)
            break
        if wanted.startswith("reset"):
            talk.send(SAYS.get(wanted.partition(" after ")[2], b""))
            time.sleep(0.05 if wanted == "reset later" else 0)
            talk.reset()
            break
        talk.send(OK)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A gate that waits a second for its bot."""
    with staged(tmp_path_factory.mktemp("faults"), serve, timeout="1s") as made:
        yield made


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


def test_a_connection_that_the_bot_closed_is_not_used(tmp_path: Path) -> None:
    """After each answer the bot closes without a word, and no later request fails for it, however soon it follows."""

    def once(talk: Talk) -> None:
        if talk.request() is not None:
            talk.send(OK)

    with staged(tmp_path, once) as stage, Line(stage.gate) as line:
        for _ in range(50):
            assert line.ask(request()).status == 200
            # The gate may not have heard of it yet; its machine has.
            until(lambda: stage.bot.talks[-1].sock.fileno() == -1, "the bot to close")


def test_bytes_nobody_asked_for(tmp_path: Path) -> None:
    """What a bot says after its answer is never the answer of the next request, whether the gate has read it already or not."""

    def chatty(talk: Talk) -> None:
        while talk.request() is not None:
            talk.send(OK)
            with suppress(OSError):
                talk.send(LENGTH + b"false")
            talk.sent += 1

    with staged(tmp_path, chatty) as stage, Line(stage.gate) as line:
        for _ in range(30):
            found = line.ask(request())
            assert (found.status, found.body) in {(200, b""), (502, found.body)}
            assert b"false" not in found.body
            until(lambda: sum(talk.sent for talk in stage.bot.talks) == len(stage.bot.requests), "the bot to say more")


def test_an_answer_before_the_body_is_read(tmp_path: Path) -> None:
    """A bot that answers at the head is relayed, and its connection, full of unread body, carries no other request."""

    def early(talk: Talk) -> None:
        talk.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        if talk.head() is not None:
            talk.send(b"HTTP/1.1 413 Too Much\r\nContent-Length: 2\r\n\r\nno")
            talk.hold()

    with staged(tmp_path, early, limits={"body_bytes": "32MiB"}, largest="32MiB") as stage, Line(stage.gate) as line:
        for number in range(3):
            found = line.ask(request(b"x" * 16_000_000))
            assert (found.status, found.body) == (413, b"no")
            assert len(stage.bot.talks) == number + 1


def test_a_long_answer_that_breaks_off_does_not_look_whole(tmp_path: Path) -> None:
    """When the bot breaks off a long answer the sender's connection is cut: it sees that something is missing."""
    whole = {
        b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n": b"x" * 800_000,
        CHUNKED: b"c3500\r\n" + b"x" * 800_000 + b"\r\n",
    }
    heads = iter(whole.items())

    def breaking(talk: Talk) -> None:
        if talk.request() is not None:
            head, body = next(heads)
            talk.send(head + body)

    with staged(tmp_path, breaking) as stage:
        for _ in range(2):
            with Line(stage.gate) as line, pytest.raises((EOFError, ConnectionResetError)):
                line.ask(request())


def test_a_long_answer_that_stalls_is_cut(tmp_path: Path) -> None:
    """A long answer is held to the same deadline as a short one."""

    def stalling(talk: Talk) -> None:
        if talk.request() is not None:
            talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + b"x" * 800_000)
            talk.hold()

    with staged(tmp_path, stalling, timeout="1s") as stage, Line(stage.gate) as line:
        began = time.monotonic()
        with pytest.raises((EOFError, ConnectionResetError)):
            line.ask(request())
        assert time.monotonic() - began < 10


def test_statuses_that_harm_telegram(tmp_path: Path) -> None:
    """410 and redirects become 503 with Retry-After for Telegram, the claim is released; others see them as they are."""
    for code in (410, 301, 302, 307, 308):
        answer = b"HTTP/1.1 %d Odd\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 3\r\n\r\nodd" % code
        (tmp_path / str(code)).mkdir()
        with staged(tmp_path / str(code), always(answer)) as stage, Line(stage.gate) as line:
            raw = update()
            for _ in range(2):
                found = line.ask(raw)
                assert (found.status, found.field(b"Location")) == (503, None)
                assert int(found.field(b"Retry-After") or 0) > 0
            assert len(stage.bot.requests) == 2
            assert line.ask(request()).status == code
            assert status(stage.gate.send(request(fields=b"Connection: close\r\n"))) == code
