"""Where a bot can be: a unix socket, or behind TLS; what cannot be verified gets no byte of a request."""

import base64
import json
import ssl
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import trustme

from tests.edge.lines import Line, request
from tests.edge.stages import policy, update
from tests.gates import serving
from tests.upstream.bots import OK, always, scripted
from tests.upstream.certificates import of_yesterday, pin

FOREIGN = "sha256/" + base64.b64encode(bytes(32)).decode()


def test_a_unix_socket(tmp_path: Path) -> None:
    """A bot on a unix socket is served like any other; without it the answer is 502, and the repeat is delivered."""
    file = tmp_path / "policy.yaml"
    file.write_text(policy(f"unix:{tmp_path}/bot.sock"))
    raw = update()
    with serving(file) as gate, Line(gate) as line:
        assert line.ask(raw).status == 502
        with scripted(always(OK), path=f"{tmp_path}/bot.sock") as bot:
            assert line.ask(raw).status == 200
            assert len(bot.requests) == 1


BEHIND_TLS = [
    ("127.0.0.1", "own", "none", 200),
    ("127.0.0.1", "own", "right", 200),
    ("127.0.0.1", "own", "wrong", 502),
    ("127.0.0.1", "other", "none", 502),
    ("127.0.0.1", "other", "right", 502),
    ("other.example", "own", "none", 502),
    ("other.example", "own", "right", 502),
]
"""The name in the bot's certificate, the authority that the policy trusts, its pins, and the status."""


def test_tls(tmp_path: Path) -> None:
    """A bot behind TLS is verified by authority, by name and by pin; where one fails, it gets not one byte of a request."""
    own = trustme.CA()
    own.cert_pem.write_to_path(tmp_path / "own.pem")
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    with ExitStack() as stack:
        routes, bots = [], []
        for number, (name, authority, pinned, _) in enumerate(BEHIND_TLS):
            certificate = own.issue_cert(name)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(context)
            bots.append(stack.enter_context(scripted(always(OK), tls=context)))
            pins = {"none": [], "right": [FOREIGN, pin(certificate)], "wrong": [FOREIGN]}[pinned]
            upstream = {"url": f"https://127.0.0.1:{bots[-1].port}", "ca_file": f"{authority}.pem", "pins": pins}
            routes.append({"name": f"to-{number}", "path": f"/{number}", "insecure": True, "upstream": upstream})
        file = tmp_path / "policy.yaml"
        file.write_text(policy("http://127.0.0.1:1", routes=routes))
        gate = stack.enter_context(serving(file))
        line = stack.enter_context(Line(gate))
        for number, (bot, (*_, expected)) in enumerate(zip(bots, BEHIND_TLS, strict=True)):
            found = [line.ask(request(path=b"/%d" % number)).status for _ in range(3)]
            assert found == [expected] * 3, BEHIND_TLS[number]
            assert len(bot.requests) == (3 if expected == 200 else 0)
            assert expected == 200 or bot.bytes_seen == 0
        assert "Traceback" not in gate.output()


def test_tls_of_yesterday(tmp_path: Path) -> None:
    """A bot that speaks TLS 1.1 at most is not spoken to."""
    authority = trustme.CA()
    context = of_yesterday(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with scripted(always(OK), tls=context) as bot:
        written: dict[str, Any] = json.loads(policy(f"https://127.0.0.1:{bot.port}"))
        written["upstream"]["ca_file"] = str(tmp_path / "ca.pem")
        file = tmp_path / "policy.yaml"
        file.write_text(json.dumps(written))
        with serving(file) as gate, Line(gate) as line:
            assert line.ask(request()).status == 502
            assert bot.bytes_seen == 0
