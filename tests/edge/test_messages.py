"""One request after the other on one connection: bodies in pieces, invitations, pipelines, half-closes, and those who leave."""

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.edge.lines import TOKEN_LINE, Line, chunked, request
from tests.edge.stages import Stage, staged, update
from tests.gates import PATIENCE, until
from tests.upstream.bots import Talk, always, split

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A gate and a bot that says ok."""
    limits = {"body_bytes": "2MiB", "connections_per_client": 2000}
    with staged(tmp_path_factory.mktemp("edge"), always(OK), limits=limits) as made:
        yield made


@pytest.fixture
def stage(shared: Stage) -> Stage:
    """The same, once nothing of the test before is under way."""
    until(lambda: shared.gate.metric("hookgate_connections") == 0, "the connections of another test to end")
    return shared


def resident(stage: Stage) -> int:
    """Bytes of memory that the gate holds."""
    status = Path(f"/proc/{stage.gate.process.pid}/status").read_text()
    return 1024 * int(status.partition("VmRSS:")[2].split()[0])


def last(stage: Stage) -> bytes:
    """The request that came to the bot last."""
    talk = max((talk for talk in stage.bot.talks if talk.came), key=lambda talk: talk.heard)
    return split(bytes(talk.came))[-1]


def test_trailers_never_reach_the_next_request(stage: Stage) -> None:
    """A trailer of a chunked request is in no other one: the connection ends, and what was pipelined behind is not served."""
    trailer = b"X-Forwarded-For: 149.154.160.1\r\n" + TOKEN_LINE
    before = len(stage.bot.requests)
    with Line(stage.gate) as line:
        line.send(chunked((b"hello",), trailer=trailer) + request(b"behind", token=b""))
        assert line.answer().field(b"Connection") == b"close"
        assert line.closed()
    with Line(stage.gate) as line:
        assert line.ask(chunked((b"hello",), trailer=trailer)).status == 200
        with suppress(OSError):
            line.send(request(b"behind", token=b""))
        assert line.closed()
    with Line(stage.gate) as line:
        assert line.ask(request(b"fresh", token=b"")).status == 401
    came = stage.bot.requests[before:]
    assert sorted(one.rpartition(b"\r\n")[2] for one in came) == [b"hello", b"hello"]
    assert not any(b"149.154.160.1" in one for one in came)


@pytest.mark.parametrize("raw", [request(b"x" * 40), chunked((b"hello", b" ", b"world"))], ids=["length", "chunked"])
def test_one_byte_a_segment(stage: Stage, raw: bytes) -> None:
    """A request that comes byte by byte is the same request."""
    with Line(stage.gate) as line:
        for index in range(len(raw)):
            line.send(raw[index : index + 1])
        assert line.answer().status == 200
    body = b"x" * 40 if raw.endswith(b"x") else b"hello world"
    assert last(stage).endswith(b"\r\n\r\n" + body)


def test_a_body_split_before_a_pipelined_request(stage: Stage) -> None:
    """The end of one body and the whole next request in one segment are two requests."""
    first, second = request(b"a" * 1000), request(b"second")
    with Line(stage.gate) as line:
        line.send(first[:-500])
        until(lambda: stage.gate.metric("hookgate_in_flight_requests") == 1, "the body to be awaited")
        line.send(first[-500:] + second)
        assert [line.answer().status, line.answer().status] == [200, 200]
    assert last(stage).endswith(b"second")


def test_a_body_is_invited_after_the_door_only(stage: Stage) -> None:
    """100 Continue is sent to a genuine head, once; a forged, unknown or too large one gets its answer and no invitation."""
    expect = b"Expect: 100-continue\r\n"
    whole = request(b"x" * 100, fields=expect)
    with Line(stage.gate) as line:
        line.send(whole[:-100])
        assert line.answer(interim=True).status == 100
        line.send(whole[-100:])
        assert line.answer().status == 200
        assert line.ask(request()).status == 200
    assert b"xpect" not in last(stage)
    refused = {
        401: request(b"x", fields=expect, token=b"")[:-1],
        404: request(b"x", path=b"/nowhere", fields=expect)[:-1],
        413: whole[:-100].replace(b"Length: 100", b"Length: 1048577"),
    }
    before = stage.bot.bytes_seen
    for status, raw in refused.items():
        with Line(stage.gate) as line:
            assert line.ask(raw).status == status
            assert line.half_close().closed()
    assert stage.bot.bytes_seen == before


def test_http_1_0_is_not_invited(stage: Stage) -> None:
    """HTTP/1.0 knows no 100, so its expectation is ignored."""
    raw = request(b"xy", fields=b"Expect: 100-continue\r\n").replace(b"HTTP/1.1", b"HTTP/1.0")
    with Line(stage.gate) as line:
        line.send(raw[:-2])
        until(lambda: stage.gate.metric("hookgate_in_flight_requests") == 1, "the body to be awaited")
        assert line.send(b"xy").answer().status == 200


def test_pipelined_requests_are_answered_in_order(stage: Stage) -> None:
    """A hundred requests in one segment get a hundred answers in order, and the bot sees them one at a time in that order."""
    before = len(stage.bot.requests)
    bodies = [b"%d" % number for number in range(100)]
    with Line(stage.gate) as line:
        line.send(b"".join(request(body) if index % 10 else request(body, token=b"") for index, body in enumerate(bodies)))
        assert [line.answer().status for _ in bodies] == [200 if index % 10 else 401 for index in range(100)]
    came = [one.rpartition(b"\r\n\r\n")[2] for one in stage.bot.requests[before:]]
    assert came == [body for index, body in enumerate(bodies) if index % 10]


@pytest.mark.parametrize("token", [TOKEN_LINE, b""], ids=["genuine", "forged"])
def test_a_flood_of_pipelined_requests_stays_small(stage: Stage, token: bytes) -> None:
    """Pipelined requests without end, whose sender reads no answer, cost a few megabytes, and are answered once it reads."""
    before = resident(stage)
    with Line(stage.gate, receive_buffer=4096) as line:
        line.sock.setblocking(False)
        raw, sent = request(token=token) * 200_000, 0
        moved = time.monotonic()
        while sent < len(raw) and time.monotonic() - moved < 0.5:
            with suppress(BlockingIOError):
                sent += line.sock.send(raw[sent : sent + 65536])
                moved = time.monotonic()
        assert resident(stage) - before < 8 * 1024**2
        line.sock.settimeout(PATIENCE)
        assert {line.answer().status for _ in range(300)} == {200 if token else 401}


def test_who_says_no_more_is_answered(stage: Stage) -> None:
    """A half-close behind whole requests, pipelined ones too, does not cost their answers; then the connection ends."""
    with Line(stage.gate) as line:
        line.send(request(b"1") + request(b"2") + request(b"3")).half_close()
        assert [line.answer().status for _ in range(3)] == [200, 200, 200]
        assert line.closed()


@pytest.mark.parametrize("piece", [1, 60, -40], ids=["first byte", "head", "body"])
def test_who_leaves_midway_leaves_nothing_behind(stage: Stage, piece: int) -> None:
    """A request that breaks off brings no byte to the bot and takes no claim: its repeat goes through."""
    raw = update()
    before, claims = stage.bot.bytes_seen, stage.gate.metric("hookgate_store_entries")
    for leave in ("close", "half-close"):
        with Line(stage.gate) as line:
            line.send(raw[:piece])
            if leave == "half-close":
                line.half_close()
                line.rest()
    until(lambda: stage.gate.metric("hookgate_in_flight_requests") == 0, "the broken requests to end")
    assert stage.bot.bytes_seen == before
    assert stage.gate.metric("hookgate_store_entries") == claims
    with Line(stage.gate) as line:
        assert line.ask(raw).status == 200
    assert stage.bot.bytes_seen > before


def test_one_byte_chunks_are_refused_in_time(stage: Stage) -> None:
    """A megabyte in chunks of one byte is refused before it is whole: it costs far more to read than to send."""
    before = stage.bot.bytes_seen
    raw = chunked((b"x",) * 200_000)
    with Line(stage.gate) as line:
        with suppress(OSError):
            line.send(raw)
        assert line.answer().status == 400
    assert stage.bot.bytes_seen == before


@pytest.mark.parametrize(
    "flood", [b"5;" + b"a" * 400_000 + b"\r\n", b"0\r\n" + b"X-Trailer: 1\r\n" * 40_000], ids=["extension", "trailers"]
)
def test_endless_framing_is_refused(stage: Stage, flood: bytes) -> None:
    """Chunk extensions and trailers without end are refused, though not a byte of body comes."""
    before = stage.bot.bytes_seen
    with Line(stage.gate) as line:
        with suppress(OSError):
            line.send(chunked((b"hello",))[:-5] + flood)
        assert line.answer().status in {400, 431}
    assert stage.bot.bytes_seen == before


def test_a_forged_body_without_end_is_not_read(stage: Stage) -> None:
    """A declared body above the limit is answered before it comes; an undeclared one at the limit."""
    before = stage.bot.bytes_seen
    with Line(stage.gate) as line:
        assert line.ask(request(path=b"/w").replace(b"Length: 2\r\n\r\n{}", b"Length: 1048577\r\n\r\n")).status == 413
    with Line(stage.gate) as line:
        with suppress(OSError):
            line.send(chunked((b"x" * 65536,) * 17))
        assert line.answer().status == 413
    assert stage.bot.bytes_seen == before


def test_memory_of_bodies_comes_back(tmp_path: Path) -> None:
    """Bodies in pieces whose long answers break off leave no debt: the budget for bodies is whole again."""
    started = []

    def long(talk: Talk) -> None:
        while talk.request() is not None:
            started.append(talk)
            talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 40000000\r\n\r\n" + b"x" * 40_000_000)

    with staged(tmp_path, long, limits={"body_bytes": "80KiB", "buffered_bytes": "100KiB"}, largest="80KiB") as stage:
        raw = request(b"x" * 60_000)
        for number in range(4):
            with Line(stage.gate) as line:
                line.send(raw[:-1])
                until(lambda: stage.gate.metric("hookgate_in_flight_requests") == 1, "the body to be awaited")
                line.send(raw[-1:])
                assert line.sock.recv(12) == b"HTTP/1.1 200"
            assert len(started) == number + 1
            until(lambda: stage.gate.metric("hookgate_connections") == 0, "the connection to end")
