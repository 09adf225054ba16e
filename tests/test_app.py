"""The gate as a whole over its life: what a start, a reload and an end must not lose."""

import signal
import socket
import struct
import threading
from pathlib import Path

from tests.edge.lines import Line
from tests.edge.stages import policy, update
from tests.gates import serving, status, until
from tests.upstream.bots import OK, Talk, scripted


def test_the_end_waits_for_requests_whose_sender_has_left(tmp_path: Path) -> None:
    """A sender that hangs up while the bot works does not take its request from the drain: delivered is remembered as such."""
    answer = threading.Event()

    def slow(talk: Talk) -> None:
        while talk.request() is not None:
            answer.wait(20)
            talk.send(OK)

    file = tmp_path / "policy.yaml"
    with scripted(slow) as bot:
        file.write_text(policy(f"http://127.0.0.1:{bot.port}", store={"url": "sqlite:claims.db"}))
        with serving(file) as gate:
            with Line(gate) as line:
                line.send(update(77))
                until(lambda: bot.requests or None, "the update to reach the bot")
                line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            until(lambda: gate.metric("hookgate_connections") == 0 or None, "the sender to be gone")
            gate.process.send_signal(signal.SIGTERM)
            until(lambda: any(line.get("message") == "draining" for line in gate.lines()) or None, "the drain to begin")
            answer.set()
            assert gate.stop() == 0
        with serving(file) as gate:
            assert status(gate.send(update(77, b"Connection: close\r\n"))) == 200
        assert len(bot.requests) == 1
