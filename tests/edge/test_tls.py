"""TLS in: versions, client certificates and pins, swapped certificates, and those who speak something else on its port."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.edge.lines import Line, request
from tests.edge.stages import Stage, staged
from tests.gates import PATIENCE, Gate, until
from tests.upstream.bots import OK, always
from tests.upstream.certificates import of_yesterday, pin

NAME = "gate.test"


class Trust:
    """The authorities and certificates of one test, and the listener's files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.clients = trustme.CA()
        self.pinned = self.clients.issue_cert("pinned.example")
        self.other = self.clients.issue_cert("other.example")
        self.stranger = trustme.CA().issue_cert("pinned.example")
        self.clients.cert_pem.write_to_path(folder / "clients.pem")
        self.swap(self.authority.issue_cert(NAME))

    def swap(self, certificate: trustme.LeafCert) -> None:
        """Put this pair into the listener's files."""
        self.swap_certificate(certificate)
        certificate.private_key_pem.write_to_path(self.folder / "tls.key")

    def swap_certificate(self, certificate: trustme.LeafCert) -> None:
        """Put its certificate there, and leave the key."""
        (self.folder / "tls.crt").write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))

    def sender(self, certificate: trustme.LeafCert | None = None) -> ssl.SSLContext:
        """How a sender connects."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        if certificate is not None:
            certificate.configure_cert(context)
        return context


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    """The authorities of this file's tests."""
    return Trust(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def stage(trust: Trust) -> Iterator[Stage]:
    """A gate with TLS: /w as ever, /mutual for the pinned client."""
    with staged(trust.folder, always(OK), **mutual(trust)) as made:
        yield made


def mutual(trust: Trust) -> dict[str, Any]:
    """What stands at the top of its policy."""
    tls = {"certificate": "tls.crt", "key": "tls.key", "client_ca": "clients.pem", "client_pins": [pin(trust.pinned)]}
    plain = {"methods": ["POST"], "insecure": True}
    return {
        "listen": {"address": "127.0.0.1:0", "tls": tls},
        "routes": [
            {"name": "hook", "path": "/w", "rules": {"transport": {"tls": "required"}}, **plain},
            {"name": "mutual", "path": "/mutual", "rules": {"transport": {"client_certificate": "required"}}, **plain},
        ],
    }


def shown(gate: Gate, context: ssl.SSLContext) -> bytes:
    """The certificate that a new connection is shown."""
    with Line(gate, context) as line:
        assert isinstance(line.sock, ssl.SSLSocket)
        return line.sock.getpeercert(True) or b""


def der(certificate: trustme.LeafCert) -> bytes:
    """A certificate as it is shown."""
    return ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_served(stage: Stage, trust: Trust, version: ssl.TLSVersion) -> None:
    """TLS 1.2 and 1.3 are served, request after request, large bodies too; the bot hears that it was https."""
    context = trust.sender()
    context.minimum_version = context.maximum_version = version
    with Line(stage.gate, context) as line:
        for size in (0, 1, 100_000, 900_000):
            assert line.ask(request(b"x" * size)).status == 200
            assert stage.bot.requests[-1].endswith(b"\r\n\r\n" + b"x" * size)
    assert b"\r\nX-Forwarded-Proto: https\r\n" in stage.bot.requests[-1]


def test_versions_of_yesterday(stage: Stage, trust: Trust) -> None:
    """TLS 1.1 is refused in the handshake, even where the sender's library still has it."""
    with pytest.raises((ssl.SSLError, ConnectionError)):
        Line(stage.gate, of_yesterday(trust.sender()))


def test_ciphers_without_forward_secrecy(stage: Stage, trust: Trust) -> None:
    """A sender with no forward-secret AEAD cipher is refused."""
    context = trust.sender()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA:AES128-GCM-SHA256:ECDHE-RSA-AES128-SHA")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        Line(stage.gate, context)


def test_client_certificates(stage: Stage, trust: Trust) -> None:
    """The pinned client is served; one of the same authority or none at all is refused; a stranger's never gets to HTTP."""
    raw, before = request(path=b"/mutual"), len(stage.bot.requests)
    expected = {trust.pinned: 200, trust.other: 403, None: 403}
    for certificate, status in expected.items():
        with Line(stage.gate, trust.sender(certificate)) as line:
            assert line.ask(raw).status == status
    with pytest.raises((ssl.SSLError, ConnectionError, EOFError)), Line(stage.gate, trust.sender(trust.stranger)) as line:
        line.ask(raw)
    assert len(stage.bot.requests) == before + 1


def test_a_swapped_certificate(stage: Stage, trust: Trust) -> None:
    """A new pair is shown to new connections, and no old connection feels it; a pair that is none leaves the last one in use."""
    context = trust.sender()
    before = shown(stage.gate, context)
    renewed, torn = trust.authority.issue_cert(NAME), trust.authority.issue_cert(NAME)
    with Line(stage.gate, context) as line:
        assert line.ask(request()).status == 200
        trust.swap(renewed)
        until(lambda: shown(stage.gate, context) != before, "the new certificate")
        assert shown(stage.gate, context) == der(renewed)
        trust.swap_certificate(torn)
        until(lambda: stage.gate.metric("hookgate_policy_last_reload_successful") == 0, "the torn pair to be noticed")
        assert shown(stage.gate, context) == der(renewed)
        trust.swap(torn)
        until(lambda: shown(stage.gate, context) == der(torn), "the mended pair")
        assert stage.gate.metric("hookgate_policy_last_reload_successful") == 1
        assert line.ask(request()).status == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_swapped_authority(version: ssl.TLSVersion, tmp_path: Path) -> None:
    """Once the clients' authority is swapped, certificates of the former one are worth nothing, remembered sessions included."""
    trust = Trust(tmp_path)
    newcomers = trustme.CA()
    policy = mutual(trust)
    del policy["listen"]["tls"]["client_pins"]
    known, newcomer = trust.sender(trust.pinned), trust.sender(newcomers.issue_cert("pinned.example"))
    known.maximum_version = version
    with staged(tmp_path, always(OK), **policy) as stage:
        raw = request(path=b"/mutual")
        with Line(stage.gate, known) as line:
            assert line.ask(raw).status == 200
            assert isinstance(line.sock, ssl.SSLSocket)
            session = line.sock.session
        newcomers.cert_pem.write_to_path(tmp_path / "clients.pem")
        until(lambda: asked(stage.gate, newcomer, raw) == 200, "the new authority")
        assert asked(stage.gate, known, raw) is None
        assert asked(stage.gate, known, raw, session) is None


def asked(gate: Gate, context: ssl.SSLContext, raw: bytes, session: ssl.SSLSession | None = None) -> int | None:
    """The status that a new connection gets, or ``None`` where its handshake fails."""
    try:
        with (
            socket.create_connection(("127.0.0.1", gate.port), timeout=PATIENCE) as sock,
            context.wrap_socket(sock, server_hostname=NAME, session=session) as line,
        ):
            line.sendall(raw)
            return int(line.recv(65536).split()[1])
    except (ssl.SSLError, ConnectionError, IndexError):
        return None


def test_plain_http_on_its_port(stage: Stage) -> None:
    """HTTP, garbage and silence on the TLS port get no HTTP answer, reach nothing, and leave no traceback in the log."""
    before = stage.bot.bytes_seen
    for said in (request(), b"\x16\x03\x01garbage" * 10, b""):
        with Line(stage.gate) as line:
            line.send(said).half_close()
            with suppress(ConnectionError):
                assert b"HTTP" not in line.rest()
    assert stage.bot.bytes_seen == before
    assert "Traceback" not in stage.gate.output()
    assert all("error" not in line for line in stage.gate.lines())


def test_a_handshake_that_never_ends(stage: Stage, trust: Trust) -> None:
    """A connection that never ends its handshake is cut off in time, and others are served meanwhile."""
    with socket.create_connection(("127.0.0.1", stage.gate.port), timeout=PATIENCE) as sock:
        sock.sendall(b"\x16\x03\x01")
        with Line(stage.gate, trust.sender()) as line:
            assert line.ask(request()).status == 200
        with suppress(ConnectionError):
            assert sock.recv(1) == b""


def test_handshakes_of_one_client(tmp_path: Path) -> None:
    """Whoever begins handshakes and never ends them takes a client's share of the connections, and nobody else's place."""
    trust = Trust(tmp_path)
    limits = {"connections": 8, "connections_per_client": 4}
    with staged(tmp_path, always(OK), limits=limits, **mutual(trust)) as stage, ExitStack() as held:
        for _ in range(8):
            held.enter_context(socket.create_connection(("127.0.0.1", stage.gate.port), timeout=PATIENCE))
        other = socket.create_connection(("127.0.0.1", stage.gate.port), timeout=PATIENCE, source_address=("127.0.0.2", 0))
        with other, trust.sender().wrap_socket(other, server_hostname=NAME) as line:
            line.sendall(request())
            assert line.recv(65536).split()[1] == b"200"
