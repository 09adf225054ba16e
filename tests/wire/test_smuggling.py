"""A transfer coding that only some readers would see: none gets past the gate in any spelling."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge.lines import TOKEN_LINE, Line
from tests.gates import Gate, serving
from tests.upstream.bots import OK, ScriptedBot, always, scripted, split
from tests.wire.policy import policy

LONG = bool(os.environ.get("HOOKGATE_LONG"))
ODD = [bytes([code]) for code in (*range(0x21), 0x22, 0x2C, 0x3A, 0x3B, 0x5F, 0x7F, 0x80, 0x85, 0xA0, 0xC2, 0xFF)]
ODD += [b"\r\n ", b"\r\n\t", b"\r\r\n", b"\n\n", b"\r\n\r", b"\xc2\xa0", b"\xe2\x80\x8b", b"X:X\n", b"X:X\r\n", b"\0\r\n"]
VALUES = [
    b"chunked",
    b"identity",
    b"xchunked",
    b"chunked x",
    b"x chunked",
    b"chunked, identity",
    b"identity, chunked",
    b"CHUNKED",
]
VALUES += [
    b"'chunked'",
    b'"chunked"',
    b"chunked;q=0",
    b"chunked;chunked",
    b"cow",
    b"chu\tnked",
    b"chunked,chunked",
    b", chunked",
    b"gzip",
]
NAMES = [
    b"Transfer-Encoding",
    b"transfer-encoding",
    b"TRANSFER-ENCODING",
    b"Transfer Encoding",
    b"Transfer_Encoding",
    b"TransferEncoding",
]
NAMES += [b"Transfer-Encodin", b"Transfer-Encoding-", b"Transfer--Encoding", b"Transfer.Encoding", b"X-Transfer-Encoding", b"TE"]


def lines() -> Iterator[bytes]:
    """Every line of a head that could pass for a transfer coding, each once."""
    seen = set()
    for name, value in [(name, VALUES[0]) for name in NAMES] + [(NAMES[0], value) for value in VALUES]:
        places = (b"%b", b""), (name, b": " + value), (name + b":", value), (name + b": ", value), (name + b": " + value, b"")
        plain = (name, value) == (NAMES[0], VALUES[0])
        for odd in [b"", *(ODD if plain or LONG else ODD[::4])]:
            for before, after in (*places[1:], (b"", name + b": " + value), (name[:8], name[8:] + b": " + value)):
                line = before + odd + after
                if line not in seen:
                    seen.add(line)
                    yield line


@pytest.fixture(scope="module")
def gate_and_bot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gate, ScriptedBot]]:
    """A gate and its bot."""
    file = tmp_path_factory.mktemp("smuggling") / "policy.yaml"
    with scripted(always(OK)) as bot:
        file.write_text(policy(bot.port))
        with serving(file) as gate:
            yield gate, bot


def test_no_second_framing(gate_and_bot: tuple[Gate, ScriptedBot]) -> None:
    """Beside a length, each of some thousand odd codings is refused without a byte for the bot, or is plainly none."""
    gate, bot = gate_and_bot
    tried = passed = 0
    for line in lines():
        tried += 1
        before = bot.bytes_seen
        raw = b"POST /w HTTP/1.1\r\nHost: a\r\n" + TOKEN_LINE + line + b"\r\nContent-Length: 6\r\n\r\n0\r\n\r\nG"
        with Line(gate) as sender:
            found = sender.ask(raw)
            if found.status != 200:
                assert found.status in {400, 411}, line
                sender.half_close().closed()
                assert bot.bytes_seen == before, line
                continue
        passed += 1
        talk = max(bot.talks, key=lambda one: one.heard)
        (came,) = split(bytes(talk.came[before - bot.bytes_seen :]))
        head = came.partition(b"\r\n\r\n")[0]
        # As CGI-like bots read them.
        names = [one.partition(b":")[0].lower().replace(b"_", b"-") for one in head.split(b"\r\n")[1:]]
        assert came.endswith(b"\r\n\r\n0\r\n\r\nG"), line
        assert names.count(b"content-length") == 1, line
        assert b"transfer-encoding" not in names and b"te" not in names, line
    assert tried > 1700
    assert 0 < passed < tried / 4


def test_no_second_request(gate_and_bot: tuple[Gate, ScriptedBot]) -> None:
    """What stands where a body ends is a request of its own or nothing: the bot never gets it unjudged."""
    gate, bot = gate_and_bot
    smuggled = b"POST /w HTTP/1.1\r\nHost: a\r\nX-Smuggled: 1\r\nContent-Length: 0\r\n\r\n"
    for fields in (
        b"Content-Length: %d" % len(smuggled),
        b"Content-Length: 0",
        b"Transfer-Encoding: chunked",
        b"Content-Length: 0\r\nTransfer-Encoding: chunked",
        b"Content-Length: 0\r\nContent-Length: %d" % len(smuggled),
        b"Expect: 100-continue\r\nContent-Length: 0",
        b"Expect: y 100-continue\r\nContent-Length: %d" % len(smuggled),
        b"Upgrade: x\r\nConnection: upgrade\r\nContent-Length: 0",
    ):
        with Line(gate) as sender:
            sender.send(b"POST /w HTTP/1.1\r\nHost: a\r\n" + TOKEN_LINE + fields + b"\r\n\r\n" + smuggled).half_close()
            sender.rest()
    heads = [one.partition(b"\r\n\r\n")[0] for one in bot.requests]
    assert not any(b"X-Smuggled" in head for head in heads)


def test_the_collection_is_whole() -> None:
    """Each raw request of this folder has its outcome beside it, and each outcome its request."""
    for folder in (Path(__file__).parent / "ok", Path(__file__).parent / "refused"):
        assert {one.stem for one in folder.glob("*.http")} == {one.stem for one in folder.glob("*.txt")}
