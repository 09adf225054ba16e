"""Several workers at one TLS address, and at a unix socket."""

import ssl
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import trustme

from tests.edge.lines import Line
from tests.edge.stages import update
from tests.gates import Gate, until
from tests.upstream.bots import OK, always
from tests.workers.crews import crew, sockets, workers


def shared(gate: Gate, connect: Callable[[], Line]) -> None:
    """Open a dozen connections; each worker has some of them, and all are served."""
    until(lambda: gate.metric("hookgate_workers") == 2 or None, "both workers")
    idle = {pid: sockets(pid) for pid in workers(gate)}
    with ExitStack() as stack:
        lines = [stack.enter_context(connect()) for _ in range(12)]
        assert {line.ask(update()).status for line in lines} == {200}
        assert len(idle) == 2
        assert all(sockets(pid) > before for pid, before in idle.items())


def test_tls_on_all_workers(tmp_path: Path) -> None:
    """Handshakes are shared as connections are; a swapped certificate is what all workers show."""
    authority = trustme.CA()

    def issue() -> None:
        made = authority.issue_cert("gate.test")
        made.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
        made.private_key_pem.write_to_path(tmp_path / "tls.key")

    issue()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    tls = {"certificate": "tls.crt", "key": "tls.key"}
    with crew(tmp_path, 2, always(OK), listen={"address": "127.0.0.1:0", "tls": tls}) as (gate, _):

        def shown() -> set[bytes | None]:
            found = set()
            for _ in range(6):
                with Line(gate, context) as line:
                    assert line.ask(update()).status == 200
                    assert isinstance(line.sock, ssl.SSLSocket)
                    found.add(line.sock.getpeercert(True))
            return found

        shared(gate, lambda: Line(gate, context))
        first = shown()
        assert len(first) == 1
        issue()
        until(lambda: not (shown() & first) or None, "the new certificate on all workers")
        assert len(workers(gate)) == 2


def test_a_unix_socket_for_all_workers(tmp_path: Path) -> None:
    """All workers accept at one unix socket."""
    with crew(tmp_path, 2, always(OK), listen={"address": "unix:gate.sock"}) as (gate, _):
        shared(gate, lambda: Line(str(tmp_path / "gate.sock")))
