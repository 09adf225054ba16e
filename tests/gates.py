"""Real gates for the tests: a policy served by a process of its own on ports that the kernel chose, and raw bytes to it.

Everything waits for a condition with a bound; nothing is left running.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.request import urlopen

Found = TypeVar("Found")

ROOT = Path(__file__).parents[1]

PATIENCE = 30.0
"""Seconds that a test waits for anything at most: a busy machine is slow, not broken."""

TOKEN = "a-secret-of-thirty-two-bytes-0123"  # noqa: S105 - of tests alone
TOKEN_FIELD = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 - a field's name

TOP = """\
version: 1
allow_inline_secrets: true
listen: {{address: 127.0.0.1:0}}
observe: {{address: 127.0.0.1:0}}
store: {{url: "memory:"}}
"""
TELEGRAM = (
    TOP
    + """\
upstream: {{url: "http://127.0.0.1:{bot}"}}
routes:
  - name: telegram
    path: /telegram
    provider: telegram
    secrets: [{{id: first, value: a-secret-of-thirty-two-bytes-0123}}]
"""
)
"""A small policy; ``.format(bot=PORT)`` makes it whole."""


def until(look: Callable[[], Found | None], what: str, seconds: float = PATIENCE) -> Found:
    """The first truthy answer of ``look``; fails with ``what`` when time is up."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.02)
    return found


def free_port() -> int:
    """A port of 127.0.0.1 that nobody had a moment ago; where the kernel can choose, let it."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def post(path: str, body: bytes, fields: Mapping[str, str] | None = None) -> bytes:
    """A POST request that is the last of its connection. ``fields`` stand beside Host, type and length."""
    lines = [f"POST {path} HTTP/1.1", "Host: bot.example.com", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (fields or {}).items()]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


def send(port: int, raw: bytes) -> bytes:
    """Write ``raw`` to a port of 127.0.0.1 and read until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock:
        sock.sendall(raw)
        return b"".join(iter(lambda: sock.recv(65536), b""))


def status(answer: bytes) -> int:
    """The status of a raw answer."""
    return int(answer.split(b" ", 2)[1])


def body(answer: bytes) -> bytes:
    """The body of a raw answer that is not chunked."""
    return answer.partition(b"\r\n\r\n")[2]


class Gate:
    """A running gate."""

    def __init__(self, process: subprocess.Popen[bytes], policy: Path, log: Path) -> None:
        self.process = process
        self.policy = policy
        self._log = log
        facts: dict[str, str] = until(self._listening, "the gate to listen")
        self.address = facts["address"]
        last = self.address.rpartition(":")[2]
        self.port = int(last) if last.isdigit() else 0
        """0 for a unix socket."""
        self.observe = int(facts["observe"].rpartition(":")[2])

    def _listening(self) -> dict[str, str] | None:
        if self.process.poll() is not None:
            raise AssertionError(f"the gate ended with {self.process.returncode}: {self._log.read_text()}")
        return next((line for line in self.lines() if line.get("message") == "listening"), None)

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged so far, one object a line; a line that is still being written is left out."""
        return [json.loads(line) for line in self._log.read_text().split("\n")[:-1] if line.startswith("{")]

    def output(self) -> str:
        """Everything it wrote to stdout and stderr."""
        return self._log.read_text()

    def send(self, raw: bytes) -> bytes:
        """The raw answer to a raw request."""
        return send(self.port, raw)

    def get(self, path: str) -> str:
        """A page of the observe address."""
        with urlopen(f"http://127.0.0.1:{self.observe}{path}", timeout=PATIENCE) as answer:
            text: str = answer.read().decode()
            return text

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the series of ``name`` that have these labels."""
        total = 0.0
        for line in self.get("/metrics").splitlines():
            found = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
            if found and labels.items() <= dict(re.findall(r'(\w+)="([^"]*)"', found[1] or "")).items():
                total += float(found[2])
        return total

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal it and wait for its end; gives the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE)


def end(process: "subprocess.Popen[bytes]") -> None:
    """Ask it to end; make it, where it does not."""
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def serving(policy: Path, environ: Mapping[str, str] | None = None) -> Iterator[Gate]:
    """``python -m proxy serve POLICY`` until the end of the block."""
    log = policy.with_name(f"{policy.name}.{time.monotonic_ns()}.log")
    with log.open("wb") as opened:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "proxy", "serve", str(policy)],
            cwd=ROOT,
            env={**os.environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=opened,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Gate(process, policy, log)
    finally:
        end(process)


class RecordingBot:
    """A bot that keeps every request as it came, byte for byte, and answers each with the same bytes."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self._server = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        held = b""
        with line:
            while True:
                head, end, rest = held.partition(b"\r\n\r\n")
                length = int((re.search(rb"(?i)\r\ncontent-length: *(\d+)", head) or [b"", b"0"])[1])
                if end and len(rest) >= length:
                    self.requests.append(head + end + rest[:length])
                    held = rest[length:]
                    line.sendall(self.answer)
                    continue
                try:
                    came = line.recv(65536)
                except OSError:
                    return
                if not came:
                    return
                held += came

    def close(self) -> None:
        """Accept nothing more."""
        # Closing alone does not wake the thread that accepts.
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


@contextmanager
def recording_bot(answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") -> Iterator[RecordingBot]:
    """A recording bot until the end of the block."""
    bot = RecordingBot(answer)
    try:
        yield bot
    finally:
        bot.close()
