"""The byte proof: what the bot's socket receives is what the sender sent, for every request of a random many."""

import asyncio
import hashlib
import os
import queue
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpRequestParser

import proxy.edge.proof
from proxy.edge.proof import prove
from proxy.errors import StartError
from proxy.policy.model import Limits
from tests.edge.lines import Line
from tests.gates import PATIENCE, ROOT, Gate, serving
from tests.upstream.bots import OK, Talk, scripted
from tests.wire.generated import Made, make
from tests.wire.policy import policy

SEED = int(os.environ.get("HOOKGATE_SEED", "1"))
SET = 4
"""Fields that the gate adds at the end."""

Came = tuple[bytes, int, bytes]
"""A head, and its body's length and digest."""


class Proof:
    """A bot that keeps of each request its head and its body's digest."""

    def __init__(self) -> None:
        self.came: queue.Queue[Came] = queue.Queue()

    def serve(self, talk: Talk) -> None:
        """Take one request after the other."""
        while (raw := talk.request()) is not None:
            head, _, body = raw.partition(b"\r\n\r\n")
            self.came.put((head, len(body), hashlib.sha256(body).digest()))
            talk.forget()
            talk.send(OK)

    def run(self, gate: Gate, numbers: range) -> int:
        """Send these requests one after the other; how many bytes of bodies came through. Fails at the first difference."""
        line, total = Line(gate), 0
        try:
            for number in numbers:
                made = make(number, SEED)
                for segment in made.segments:
                    line.send(segment)
                found = line.answer()
                assert found.status == 200, f"request {number} of seed {SEED}: {found.status}"
                same(made, self.came.get(timeout=PATIENCE), f"request {number} of seed {SEED}")
                total += made.length
                if found.field(b"Connection") == b"close":
                    line.sock.close()
                    line = Line(gate)
        finally:
            line.sock.close()
        assert self.came.empty(), "the bot got more than was sent"
        return total


def same(made: Made, came: Came, what: str) -> None:
    """The bot got this request: its line, its fields in order, its body; and one length."""
    head, length, digest = came
    first, *lines = head.split(b"\r\n")
    fields = [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]
    assert first == made.first_line, what
    assert fields[:-SET] == made.fields, what
    assert (length, digest) == (made.length, made.digest), what


@contextmanager
def decoding(file: Path) -> Iterator[Gate]:
    """A gate whose parser decodes bodies, and whose proof at the start was taken out."""
    code = (
        "import sys, functools, proxy.edge.intake as intake, proxy.app as app\n"
        "real = intake.HttpRequestParser\n"
        "intake.HttpRequestParser = lambda *a, **k: real(*a, **{**k, 'auto_decompress': True})\n"
        "app.prove = lambda *a: None\n"
        "from proxy.cli import main\n"
        "sys.exit(main(['serve', sys.argv[1]]))\n"
    )
    log = file.with_suffix(".log")
    with log.open("wb") as opened:
        command = [sys.executable, "-c", code, str(file)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=opened, stderr=subprocess.STDOUT)  # noqa: S603 - our own code
    try:
        yield Gate(process, file, log)
    finally:
        process.terminate()
        process.wait(PATIENCE)


def proven(file: Path, numbers: range, *, decodes: bool = False) -> int:
    """Run the proof against a gate of its own."""
    proof = Proof()
    with scripted(proof.serve) as bot:
        text = policy(bot.port).replace("routes:", "log: {level: error}\nroutes:", 1)
        file.write_text(text.replace("timeout: 5s", "timeout: 1s") if decodes else text)
        with decoding(file) if decodes else serving(file) as gate:
            return proof.run(gate, numbers)


def test_three_thousand_requests(tmp_path: Path) -> None:
    """Three thousand random requests: line, fields in order and case, body by SHA-256, whatever their segments and codings."""
    assert proven(tmp_path / "policy.yaml", range(3000)) > 50_000_000


@pytest.mark.long
@pytest.mark.timeout(0)
def test_a_hundred_thousand_requests(tmp_path: Path) -> None:
    """The same for a hundred thousand."""
    assert proven(tmp_path / "policy.yaml", range(3000, 103_000)) > 1_000_000_000


def test_a_gate_that_decodes_fails_the_proof(tmp_path: Path) -> None:
    """With decoding switched on and the check at the start taken out, the proof goes red within a few requests."""
    with pytest.raises(AssertionError, match=r"request \d+ of seed"):
        proven(tmp_path / "policy.yaml", range(100), decodes=True)


def test_the_other_parser_is_not_served_with(tmp_path: Path) -> None:
    """With aiohttp's parser in Python, which is less strict, the gate does not start, and says what to do."""
    file = tmp_path / "policy.yaml"
    file.write_text(policy(1))
    environ = {**os.environ, "AIOHTTP_NO_EXTENSIONS": "1"}
    command = [sys.executable, "-m", "proxy", "serve", str(file)]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False)  # noqa: S603 - our own
    assert done.returncode not in {0, 78}
    assert "pure-Python" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


async def test_a_gate_that_decodes_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """With decoding switched on the check at the start refuses; as things are it does not."""
    loop = asyncio.get_running_loop()

    def decoder(loop: asyncio.AbstractEventLoop, limits: Limits) -> HttpRequestParser:
        return HttpRequestParser(BaseProtocol(loop), loop, 2**16, auto_decompress=True)

    prove(loop, Limits())
    monkeypatch.setattr(proxy.edge.proof, "request_parser", decoder)
    with pytest.raises(StartError, match="decodes request bodies"):
        prove(loop, Limits())
