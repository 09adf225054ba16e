"""The gate as a whole over its life: what a start, a reload and an end must not lose."""

import json
import signal
import socket
import ssl
import struct
import threading
from pathlib import Path

import trustme

from tests.edge.lines import Line, request
from tests.edge.stages import policy, staged, update
from tests.gates import serving, status, until
from tests.upstream.bots import OK, Talk, always, scripted


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


def test_a_swapped_authority_is_taken(tmp_path: Path) -> None:
    """When the file of the bot's authorities is swapped, requests go by the new ones without a restart."""
    own = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.issue_cert("127.0.0.1").configure_cert(context)
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    file = tmp_path / "policy.yaml"
    with scripted(always(OK), tls=context) as bot:
        text = json.loads(policy("https://127.0.0.1:1"))
        text["upstream"] = {"url": f"https://127.0.0.1:{bot.port}", "ca_file": "ca.pem"}
        file.write_text(json.dumps(text))
        with serving(file) as gate, Line(gate) as line:
            assert line.ask(request()).status == 502
            own.cert_pem.write_to_path(tmp_path / "ca.pem")
            until(lambda: line.ask(request()).status == 200 or None, "the new authority to count")
            trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
            until(lambda: line.ask(request()).status == 502 or None, "the old authority to count no more")


def test_a_proxy_is_trusted_from_the_reload_on(tmp_path: Path) -> None:
    """Who is trusted changes with the policy for connections that are open, too: what is in front keeps them for hours."""
    with staged(tmp_path, always(OK)) as stage, Line(stage.gate) as line:
        text = stage.gate.policy.read_text()

        def client() -> bytes:
            assert line.ask(request(fields=b"X-Forwarded-For: 149.154.160.1\r\n")).status == 200
            return stage.bot.requests[-1].partition(b"\r\nX-Forwarded-For: ")[2].partition(b"\r\n")[0]

        assert client() == b"127.0.0.1"
        stage.gate.policy.write_text(json.dumps({**json.loads(text), "trusted_proxies": ["127.0.0.1/32"]}))
        until(lambda: client() == b"149.154.160.1" or None, "the proxy to be trusted")
        stage.gate.policy.write_text(text)
        until(lambda: client() == b"127.0.0.1" or None, "the proxy to be trusted no more")
