"""The PROXY preamble, in process and before a real gate, with HAProxy's own bytes where they are known."""

import contextlib
import socket
import ssl
import struct
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from proxy.edge.proxyprotocol import Preamble, read_preamble
from proxy.networks import parse_address
from tests.conftest import Gates
from tests.edge.lines import Line, request
from tests.edge.stages import staged
from tests.gates import TELEGRAM, TOKEN, TOKEN_FIELD, RecordingBot, post, send, status
from tests.upstream.bots import OK, always

V2 = b"\r\n\r\n\x00\r\nQUIT\n"
SENDER = "149.154.167.220"


def v2(command: int, family: int, payload: bytes) -> bytes:
    """A version 2 preamble."""
    return V2 + struct.pack("!BBH", command, family, len(payload)) + payload


FOUR = socket.inet_aton(SENDER) + socket.inet_aton("192.0.2.9") + struct.pack("!HH", 40000, 443)
SIX = socket.inet_pton(socket.AF_INET6, "2001:db8::7") + socket.inet_pton(socket.AF_INET6, "::1") + struct.pack("!HH", 1, 2)
MAPPED = socket.inet_pton(socket.AF_INET6, f"::ffff:{SENDER}") + bytes(16) + struct.pack("!HH", 1, 2)


@pytest.mark.parametrize(
    ("data", "source"),
    [
        (b"PROXY TCP4 149.154.167.220 192.0.2.9 40000 443\r\n", SENDER),
        (b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n", "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
        (v2(0x21, 0x11, FOUR), SENDER),
        (v2(0x21, 0x11, FOUR + b"\x03\x00\x04abcd"), SENDER),
        (v2(0x21, 0x21, SIX), "2001:db8::7"),
        (v2(0x21, 0x21, MAPPED), SENDER),
        (v2(0x20, 0x00, b""), None),
    ],
)
def test_good(data: bytes, source: str | None) -> None:
    """Each form gives its source, however the bytes are cut, and takes exactly its own bytes."""
    expected = Preamble(len(data), parse_address(source) if source else None)

    assert read_preamble(data + b"POST / HTTP/1.1\r\n") == expected
    assert all(read_preamble(data[:cut]) is None for cut in range(len(data)))


@pytest.mark.parametrize(
    "data",
    [
        b"POST / HTTP/1.1\r\n",
        b"PROXY TCP4 149.154.167.220 192.0.2.9 40000\r\n",
        b"PROXY TCP4 149.154.167.220 192.0.2.9 40000 70000\r\n",
        b"PROXY TCP4 2001:db8::7 ::1 1 2\r\n",
        b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 149.154.167.999 192.0.2.9 1 2\r\n",
        b"PROXY TCP4  149.154.167.220 192.0.2.9 1 2\r\n",
        b"proxy TCP4 149.154.167.220 192.0.2.9 1 2\r\n",
        b"PROXY UNKNOWN " + b"a" * 200 + b"\r\n",
        b"PROXY " + b"a" * 107,
        v2(0x31, 0x11, FOUR),
        v2(0x22, 0x11, FOUR),
        v2(0x21, 0x11, FOUR[:8]),
        v2(0x21, 0x31, bytes(216)),
        v2(0x21, 0x00, b""),
        V2 + struct.pack("!BBH", 0x21, 0x11, 65535),
        b"\r\n\r\n\x00\r\nQUIX",
    ],
)
def test_bad(data: bytes) -> None:
    """What is no preamble, or a wrong or endless one, is refused without waiting for more."""
    with pytest.raises(ValueError, match=r"PROXY"):
        read_preamble(data)


@given(
    st.binary(max_size=700) | st.binary(max_size=100).map(lambda tail: V2 + tail) | st.binary(max_size=60).map(b"PROXY ".__add__)
)
def test_garbage(data: bytes) -> None:
    """Any bytes end in a preamble, in waiting for a bounded number more, or in ``ValueError``."""
    try:
        found = read_preamble(data)
    except ValueError:
        return
    assert found is not None or len(data) < 16 + 536


POLICY = TELEGRAM.replace("127.0.0.1:0}}\nobserve", "127.0.0.1:0, proxy_protocol: true}}\ntrusted_proxies: [{trusted}]\nobserve")
RULES = "    rules: {{ip: {{allow: [telegram]}}}}\n"
GENUINE = post("/telegram", b'{"update_id":1}', {TOKEN_FIELD: TOKEN})


@pytest.mark.parametrize("preamble", [f"PROXY TCP4 {SENDER} 192.0.2.9 1 2\r\n".encode(), v2(0x21, 0x11, FOUR)])
def test_client(gate: Gates, bot: RecordingBot, preamble: bytes) -> None:
    """Behind a trusted balancer the preamble's source is the client: judged by the ip rule, told to the bot."""
    running = gate((POLICY + RULES).format(bot=bot.port, trusted="127.0.0.1/32"))
    with socket.create_connection(("127.0.0.1", running.port)) as line:
        for byte in preamble + GENUINE:
            line.sendall(bytes([byte]))
        answer = b"".join(iter(lambda: line.recv(65536), b""))

    assert status(answer) == 200
    assert f"\r\nX-Forwarded-For: {SENDER}\r\n".encode() in bot.requests[0]
    assert status(send(running.port, b"PROXY TCP4 203.0.113.5 192.0.2.9 1 2\r\n" + GENUINE)) == 403


def test_required(gate: Gates, bot: RecordingBot) -> None:
    """Without a preamble, with two, or from a peer that is not trusted, the connection is closed without an answer."""
    trusting = gate(POLICY.format(bot=bot.port, trusted="127.0.0.1/32"))
    apart = 'admin: {address: "unix:run/strict.sock"}\n'
    strict = gate(apart + POLICY.format(bot=bot.port, trusted="192.0.2.0/24"), name="strict.yaml")
    line = f"PROXY TCP4 {SENDER} 192.0.2.9 1 2\r\n".encode()

    assert send(trusting.port, GENUINE) == b""
    assert status(send(trusting.port, line + line + GENUINE)) == 400
    with contextlib.suppress(ConnectionResetError):  # closed before our bytes were read
        assert send(strict.port, line + GENUINE) == b""
    assert bot.requests == []


def test_untrusted_header(gate: Gates, bot: RecordingBot) -> None:
    """A client that a preamble names is no trusted proxy, so its X-Forwarded-For does not count."""
    running = gate(POLICY.format(bot=bot.port, trusted="127.0.0.1/32"))
    forged = post("/telegram", b'{"update_id":2}', {TOKEN_FIELD: TOKEN, "X-Forwarded-For": "149.154.160.1"})

    assert status(send(running.port, b"PROXY TCP4 203.0.113.5 192.0.2.9 1 2\r\n" + forged)) == 200
    assert b"\r\nX-Forwarded-For: 203.0.113.5\r\n" in bot.requests[0]
    assert b"149.154.160.1" not in bot.requests[0]


class Balancer:
    """A gate with TLS behind a balancer that ends none: it adds its preamble and passes the handshake on."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        issued = authority.issue_cert("gate.test")
        issued.private_key_pem.write_to_path(folder / "tls.key")
        (folder / "tls.crt").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        self.context = ssl.create_default_context()
        authority.configure_trust(self.context)

    def top(self, trusted: str) -> dict[str, Any]:
        """What stands at the top of the policy."""
        tls = {"certificate": "tls.crt", "key": "tls.key"}
        rules = {"transport": {"tls": "required"}, "ip": {"allow": ["telegram"]}}
        return {
            "listen": {"address": "127.0.0.1:0", "tls": tls, "proxy_protocol": True},
            "trusted_proxies": [trusted],
            "store": {"url": "sqlite:claims.db"},
            "routes": [{"name": "w", "path": "/w", "provider": "generic", "methods": ["POST"], "insecure": True, "rules": rules}],
        }

    def connect(self, port: int, *pieces: bytes) -> Line:
        """A sender's connection, with these bytes written before its handshake."""
        line = Line(port)
        for piece in pieces:
            line.send(piece)
        line.sock = self.context.wrap_socket(line.sock, server_hostname="gate.test")
        return line

    def refused(self, port: int, *pieces: bytes) -> None:
        """Nothing but an end of the connection answers these bytes and a handshake after them."""
        with Line(port) as line:
            for piece in pieces:
                line.send(piece)
            hello = ssl.MemoryBIO()
            with pytest.raises(ssl.SSLWantReadError):
                self.context.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="gate.test").do_handshake()
            with contextlib.suppress(ConnectionError):  # it may have been closed before all of that was written
                line.sock.sendall(hello.read())
                assert line.sock.recv(1) == b""


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("preamble", [f"PROXY TCP4 {SENDER} 192.0.2.9 1 2\r\n".encode(), v2(0x21, 0x11, FOUR)])
def test_before_tls(tmp_path: Path, preamble: bytes, workers: int) -> None:
    """A preamble stands before the handshake, whole or in pieces; its source is the client of an encrypted connection."""
    balancer = Balancer(tmp_path)
    with staged(tmp_path, always(OK), workers=workers, **balancer.top("127.0.0.1/32")) as stage:
        for pieces in ([preamble], [bytes([byte]) for byte in preamble]):
            with balancer.connect(stage.gate.port, *pieces) as line:
                assert line.ask(request(b"one")).status == 200
                assert line.ask(request(b"two")).status == 200
        asked = stage.bot.requests[0]
        assert f"\r\nX-Forwarded-For: {SENDER}\r\nX-Forwarded-Proto: https\r\n".encode() in asked
        with balancer.connect(stage.gate.port, b"PROXY TCP4 203.0.113.5 192.0.2.9 1 2\r\n") as line:
            assert line.ask(request(b"one")).status == 403
        with balancer.connect(stage.gate.port, b"PROXY UNKNOWN\r\n") as line:
            assert line.ask(request(b"one")).status == 403


def test_before_tls_or_nothing(tmp_path: Path) -> None:
    """No preamble, a wrong one, one that ends early, or one from a peer that is not trusted: closed before any handshake."""
    balancer = Balancer(tmp_path)
    with staged(tmp_path, always(OK), **balancer.top("127.0.0.1/32")) as stage:
        for pieces in ([], [b"PROXY TCP4 149.154.167.999 192.0.2.9 1 2\r\n"]):
            balancer.refused(stage.gate.port, *pieces)
        with Line(stage.gate.port) as line:
            line.send(b"PROXY TCP4 149.1")
            line.sock.shutdown(socket.SHUT_WR)
            assert line.sock.recv(1) == b""
    with staged(tmp_path, always(OK), **balancer.top("192.0.2.0/24")) as stage:
        balancer.refused(stage.gate.port, f"PROXY TCP4 {SENDER} 192.0.2.9 1 2\r\n".encode())


def test_one_client_of_a_balancer_leaves_places_for_others(tmp_path: Path) -> None:
    """Handshakes that never come count for the client whom the preamble names: others still get through the same balancer."""
    balancer = Balancer(tmp_path)
    top = balancer.top("127.0.0.1/32")
    with (
        staged(tmp_path, always(OK), limits={"connections": 20, "connections_per_client": 5}, **top) as stage,
        ExitStack() as stack,
    ):
        for _ in range(40):
            with contextlib.suppress(ConnectionError):
                stack.enter_context(Line(stage.gate.port)).send(b"PROXY TCP4 203.0.113.5 192.0.2.9 1 2\r\n")
        with balancer.connect(stage.gate.port, f"PROXY TCP4 {SENDER} 192.0.2.9 1 2\r\n".encode()) as line:
            assert line.ask(request(b"one")).status == 200
