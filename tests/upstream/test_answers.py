"""The bot's answer goes back as it came: status, phrase, fields in order, body byte for byte, however it was framed."""

import hashlib
import os
import time
from collections.abc import Iterator

import pytest

from tests.edge.lines import Answer, Line, request
from tests.edge.stages import Stage, staged
from tests.gates import until
from tests.upstream.bots import Talk

BIG = os.urandom(1 << 20) * 8
FIELDS = b"Server: a-bot/1\r\nx-Odd: 1\r\nSet-Cookie: a=1\r\nX-ODD: 2\r\nset-cookie: b=2\r\nX-Name: caf\xe9 \xff\r\nX-Empty:\r\n"


def framed(head: bytes, body: bytes) -> bytes:
    """An answer with its length."""
    return b"HTTP/1.1 " + head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def in_chunks(body: bytes, size: int) -> bytes:
    """The body in chunks, with what a bot may add to them."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%X;note\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"000\r\nX-Sum: 1\r\n\r\n"


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CLOSE = b"HTTP/1.1 200 OK\r\nX-Bot: 1\r\n\r\n"

SAYS = {
    "fields": framed(b"200 OK\r\n" + FIELDS.rstrip(), b"body"),
    "phrase": framed(b"200 All (is) w\xe9ll", b"body"),
    "no phrase": framed(b"200 ", b"body"),
    "hop by hop": framed(
        b"200 OK\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\nProxy-Authenticate: x\r\nX-Kept: 1",
        b"body",
    ),
    "gzip": framed(b"200 OK\r\nContent-Encoding: gzip", b"\x1f\x8b\x08not really"),
    "chunks": CHUNKED + in_chunks(b"body" * 1000, 7),
    "one chunk": CHUNKED + b"4\r\nbody\r\n0\r\n\r\n",
    "no chunk": CHUNKED + b"0\r\n\r\n",
    "until the close": CLOSE + b"body",
    "until the close, empty": CLOSE,
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nX-Bot: 1\r\n\r\nbody",
    "HTTP/1.0 with length": b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nbody",
    "204": b"HTTP/1.1 204 No Content\r\nX-Bot: 1\r\n\r\n",
    "304": b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nContent-Length: 4\r\n\r\n',
    "hints first": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3 + framed(b"200 OK", b"body"),
    "500": framed(b"500 Broken", b"body"),
    "599": framed(b"599 Odd", b"body"),
    "302": framed(b"302 Found\r\nLocation: http://127.0.0.1:1/", b"body"),
    "401": framed(b"401 Unauthorized\r\nWWW-Authenticate: Basic", b"body"),
    "big": framed(b"200 OK", BIG),
    "big chunks": CHUNKED + in_chunks(BIG, 100_000),
    "big until the close": CLOSE + BIG,
    "big 302": framed(b"302 Found", BIG),
}
CLOSING = {name for name, said in SAYS.items() if said.startswith((CLOSE, b"HTTP/1.0"))}


def serve(talk: Talk) -> None:
    """Say what the request's query asks for; to HEAD only its head."""
    while (came := talk.request()) is not None:
        name = came.partition(b"?")[2].partition(b" HTTP/")[0].replace(b"+", b" ").decode()
        said = SAYS[name]
        talk.send(said.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if came.startswith(b"HEAD") else said)
        if name in CLOSING:
            break


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A gate, and a bot that says anything of the list."""
    with staged(tmp_path_factory.mktemp("answers"), serve) as made:
        yield made


def asking(name: str, method: bytes = b"POST") -> bytes:
    """The request for one of the answers."""
    return request(b"", path=b"/open?" + name.replace(" ", "+").encode(), method=method)


def said(name: str) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    """Status and phrase, fields without a hop's own, and the body of the last answer in the list's bytes."""
    head, _, body = SAYS[name].partition(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 1"):
        head, _, body = body.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    hop = {b"connection", b"keep-alive", b"proxy-authenticate", b"transfer-encoding", b"x-hop"}
    pairs = [(key, value.strip()) for key, _, value in (line.partition(b":") for line in lines) if key.lower() not in hop]
    if b"chunked" in head:
        body = {"chunks": b"body" * 1000, "one chunk": b"body", "no chunk": b"", "big chunks": BIG}[name]
    return first.partition(b" ")[2], pairs, body


def check(found: Answer, name: str, *, body: bool = True) -> None:
    """The answer is the bot's but for how it is framed."""
    first, pairs, whole = said(name)
    assert b"%d %b" % (found.status, found.phrase) == first
    framing = {b"Content-Length", b"Transfer-Encoding", b"Connection"}
    assert [field for field in found.fields if field[0] not in framing] == [one for one in pairs if one[0] not in framing]
    lengths = [one for one in pairs if one[0] == b"Content-Length"]
    assert not lengths or [one for one in found.fields if one[0] == b"Content-Length"] == lengths
    if body:
        assert hashlib.sha256(found.body).digest() == hashlib.sha256(whole).digest()


@pytest.mark.parametrize("name", SAYS)
def test_as_it_came(stage: Stage, name: str) -> None:
    """Status, phrase, fields and body of each answer reach the sender, the first as its repeats, and the connection goes on."""
    with Line(stage.gate) as line:
        for _ in range(4):
            check(line.ask(asking(name)), name)


@pytest.mark.parametrize("name", ["fields", "chunks", "204", "304", "500", "big", "big chunks", "until the close"])
def test_head(stage: Stage, name: str) -> None:
    """The answer to HEAD has the fields and no body, and the next answer on the connection is its own."""
    with Line(stage.gate) as line:
        for _ in range(2):
            check(line.ask(asking(name, b"HEAD"), head=True), name, body=False)
        check(line.ask(asking("fields")), "fields")


@pytest.mark.parametrize("name", ["fields", "chunks", "big", "big chunks", "big until the close"])
def test_http_1_0_senders(stage: Stage, name: str) -> None:
    """To HTTP/1.0 no answer is chunked: where its length is unknown it ends with the connection."""
    with Line(stage.gate) as line:
        found = line.ask(asking(name).replace(b" HTTP/1.1", b" HTTP/1.0"))
        assert found.field(b"Transfer-Encoding") is None
        check(found, name)
        assert line.closed()


def test_head_whose_status_is_mapped(stage: Stage) -> None:
    """A refusal in place of the bot's answer has no body for HEAD either, so the next answer is read where it begins."""
    with Line(stage.gate) as line:
        assert line.ask(request(b"", path=b"/nowhere", method=b"HEAD"), head=True).status == 404
        check(line.ask(asking("fields")), "fields")


@pytest.mark.parametrize("name", ["big", "big chunks", "big until the close"])
def test_a_slow_sender_gets_every_byte(stage: Stage, name: str) -> None:
    """Whoever takes eight megabytes slowly gets all of them, in order."""
    with Line(stage.gate, receive_buffer=32768) as line:
        line.send(asking(name))
        until(lambda: stage.gate.metric("hookgate_in_flight_requests") == 0, "the answer to begin")
        time.sleep(0.3)
        check(line.answer(), name)


def test_long_answers_and_pipelines(stage: Stage) -> None:
    """Requests behind one with a long answer wait for its end, and are answered in order."""
    names = ["big", "fields", "big chunks", "204", "one chunk"]
    with Line(stage.gate) as line:
        line.send(b"".join(map(asking, names)))
        for name in names:
            check(line.answer(), name)
