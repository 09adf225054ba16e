"""Who is slow, silent or too many: each is cut off in time, and nobody else feels it."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.edge.lines import TOKEN_LINE, Line, chunked, request
from tests.edge.stages import Stage, staged
from tests.gates import until
from tests.upstream.bots import Talk

LIMITS = {
    "header_timeout": "500ms",
    "body_timeout": "3s",
    "body_idle_timeout": "700ms",
    "body_rate": "1KiB",
    "idle_timeout": "1s",
    "write_timeout": "1s",
    "connections": 40,
    "connections_per_client": 12,
}
LONG = b"HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n"


def serve(talk: Talk) -> None:
    """A short answer, or 64 MiB to whoever asks for /open?long."""
    while (came := talk.request()) is not None:
        if came.startswith(b"GET /open?long"):
            talk.send(LONG)
            for _ in range(1024):
                talk.send(b"x" * 65536)
                talk.sent += 65536
        else:
            talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A gate with short limits."""
    with staged(tmp_path_factory.mktemp("limits"), serve, limits=LIMITS) as made:
        yield made


@pytest.fixture
def stage(shared: Stage) -> Stage:
    """The same, once nothing of the test before is under way."""
    until(lambda: shared.gate.metric("hookgate_connections") == 0, "the connections of another test to end")
    return shared


def trickle(line: Line, raw: bytes, pause: float) -> None:
    """Send it byte by byte, slower than the gate accepts, until it hangs up."""
    with suppress(OSError):
        for index in range(len(raw)):
            line.send(raw[index : index + 1])
            time.sleep(pause)


@pytest.mark.parametrize("said", [b"P", b"POST /w HTTP/1.1\r\nHost: a\r\n"], ids=["a byte", "half a head"])
def test_a_head_that_never_ends(stage: Stage, said: bytes) -> None:
    """A head that stops halfway is answered 408 and the connection ends."""
    with Line(stage.gate) as line:
        found = line.ask(said)
        assert (found.status, found.field(b"Connection")) == (408, b"close")
        assert line.closed()


def test_a_connection_that_says_nothing(stage: Stage) -> None:
    """A connection without a byte ends with nothing said."""
    with Line(stage.gate) as line:
        assert line.closed()


def test_a_head_that_trickles(stage: Stage) -> None:
    """A head that comes byte by byte ends at its deadline, however alive the connection looks."""
    with Line(stage.gate) as line:
        began = time.monotonic()
        sender = threading.Thread(target=trickle, args=(line, b"POST /w HTTP/1.1\r\nX: " + b"a" * 4000, 0.01))
        sender.start()
        assert line.answer().status == 408
        assert line.closed()
        sender.join()
        assert time.monotonic() - began < 20


@pytest.mark.parametrize("raw", [request(b"x" * 5000)[:-4000], chunked((b"x" * 1000,))[:-4]], ids=["length", "chunked"])
def test_a_body_that_stops(stage: Stage, raw: bytes) -> None:
    """A body that stops coming is answered 408, and not one byte reaches the bot."""
    before = stage.bot.bytes_seen
    with Line(stage.gate) as line:
        assert line.ask(raw).status == 408
        assert line.closed()
    assert stage.bot.bytes_seen == before


@pytest.mark.parametrize(
    "rest", [b"x" * 90_000, b"1;" + b"a" * 4000], ids=["body", "extension"]
)  # fmt: skip
def test_a_body_that_trickles(stage: Stage, rest: bytes) -> None:
    """A body below the least rate is answered 408, chunk extensions included, though bytes keep coming."""
    before = stage.bot.bytes_seen
    head = request(b"x" * 90_000)[:-90_000] if rest.startswith(b"x") else chunked(())[:-5]
    with Line(stage.gate) as line:
        sender = threading.Thread(target=trickle, args=(line, head + rest, 0.01))
        line.send(head)
        sender = threading.Thread(target=trickle, args=(line, rest, 0.01))
        sender.start()
        assert line.answer().status == 408
        sender.join()
    assert stage.bot.bytes_seen == before


def test_an_idle_connection_ends_quietly(stage: Stage) -> None:
    """After an answer, a connection that stays unused is closed without a word."""
    with Line(stage.gate) as line:
        assert line.ask(request()).status == 200
        assert line.closed()


def test_an_answer_that_is_not_taken(stage: Stage) -> None:
    """A sender that stops reading holds back the bot and not memory, and is cut off in time; the bot's connection ends too."""
    raw = request(b"", path=b"/open?long", method=b"GET")
    with Line(stage.gate, receive_buffer=16384) as line:
        line.send(raw)
        assert line.sock.recv(12) == b"HTTP/1.1 200"
        until(lambda: stage.gate.metric("hookgate_connections") == 0, "the gate to give up on it")
    # What is not here is in the kernel's buffers of two sockets.
    assert max(talk.sent for talk in stage.bot.talks) < 32 * 1024**2


def test_an_answer_that_is_stuck_from_its_first_write(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where the first part of a long answer is not taken already, the bot is held back as well."""
    limits = {"answer_buffer": "12MiB", "write_timeout": "1s"}
    with staged(tmp_path_factory.mktemp("stuck"), serve, limits=limits) as stage:
        with Line(stage.gate, receive_buffer=16384) as line:
            line.send(request(b"", path=b"/open?long", method=b"GET"))
            assert line.sock.recv(12) == b"HTTP/1.1 200"
            until(lambda: stage.gate.metric("hookgate_connections") == 0, "the gate to give up on it")
        assert stage.bot.talks[0].sent < 32 * 1024**2


def test_too_many_connections_of_one(stage: Stage) -> None:
    """Beyond its cap a client's new connections are closed at once; the old ones go on, and a free place is taken again."""
    with ExitStack() as stack:
        lines = [stack.enter_context(Line(stage.gate)) for _ in range(12)]
        assert {line.ask(request()).status for line in lines} == {200}
        with Line(stage.gate) as more:
            with suppress(OSError):
                more.send(request())
            assert more.closed()
        assert lines[0].ask(request()).status == 200
    until(lambda: stage.gate.metric("hookgate_connections") == 0, "the places to be free")
    with Line(stage.gate) as line:
        assert line.ask(request()).status == 200


def test_slow_ones_do_not_slow_others(stage: Stage) -> None:
    """While slow connections hold their places, a genuine request is answered as ever."""
    with ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(Line(stage.gate)).send(b"POST /w HTTP/1.1\r\n" + TOKEN_LINE)
        with Line(stage.gate) as line:
            assert [line.ask(request()).status for _ in range(50)] == [200] * 50


def test_the_cap_on_all_connections(tmp_path_factory: pytest.TempPathFactory) -> None:
    """At the cap on all connections idle ones make room; where none is idle, a new one is closed at once."""
    limits = {"connections": 8, "connections_per_client": 8, "header_timeout": "60s"}
    # A trusted peer has no cap of its own.
    trusted = ["127.0.0.1"]
    folder = tmp_path_factory.mktemp("cap")
    with staged(folder, serve, limits=limits, trusted_proxies=trusted) as stage, ExitStack() as stack:
        idle = [stack.enter_context(Line(stage.gate)) for _ in range(8)]
        assert {line.ask(request()).status for line in idle} == {200}
        with Line(stage.gate) as line:
            assert line.ask(request()).status == 200
        assert all(line.closed() for line in idle)
        until(lambda: stage.gate.metric("hookgate_connections") == 0, "the connections to end")
        for _ in range(8):
            stack.enter_context(Line(stage.gate)).send(b"POST /w HTTP/1.1\r\n")
        until(lambda: stage.gate.metric("hookgate_connections") == 8, "the connections to be known")
        with Line(stage.gate) as line:
            with suppress(OSError):
                line.send(request())
            assert line.closed()
