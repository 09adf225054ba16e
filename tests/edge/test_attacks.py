"""What a hostile sender, or a bot at its worst, tried against the gate: each test is an attack that once worked."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge.lines import Line, request
from tests.edge.stages import Stage, staged
from tests.upstream.bots import OK, always


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A gate of usual limits; its bot agrees to everything."""
    with staged(tmp_path, always(OK)) as made:
        yield made


@contextlib.contextmanager
def _flooded(port: int, raw: bytes) -> Iterator[None]:
    """One connection that says ``raw`` again and again, and reads what is answered."""
    stopped = threading.Event()

    def say(line: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not stopped.is_set():
                line.sendall(raw)

    def hear(line: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while line.recv(1 << 20):
                pass

    with socket.create_connection(("127.0.0.1", port)) as line:
        threads = [threading.Thread(target=one, args=(line,)) for one in (say, hear)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stopped.set()
            line.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


def test_one_flood_of_pipelined_requests_keeps_nobody_out(stage: Stage) -> None:
    """A connection that pipelines tiny requests without end gets its share of the loop, and no more: others are answered."""
    with Line(stage.gate) as line, _flooded(stage.gate.port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 20_000):
        for _ in range(20):
            asked = time.monotonic()
            assert line.ask(request()).status == 200
            assert time.monotonic() - asked < 3.0
