"""Who guesses for long is told 429; nobody whose request may be genuine ever is, whatever others do from the same address."""

import hmac
import re
from pathlib import Path

import pytest

from tests.edge.lines import Line, request
from tests.edge.stages import staged
from tests.gates import until
from tests.upstream.bots import OK, always

FORGER = b"203.0.113.9"
WRONG = b"X-Telegram-Bot-Api-Secret-Token: not-the-secret-of-thirty-two-b\r\n"
TELEGRAM = b"149.154.160.7"
SIGNED = {"scheme": "hmac", "header": "X-Signature", "template": "{body}", "encoding": "hex"}
TOP = {"trusted_proxies": ["127.0.0.1/32"]}
FEW = {"wrong_credentials": {"limit": "6/min", "burst": 3}}


def of(client: bytes) -> bytes:
    """A field with which the trusted proxy in front names a client."""
    return b"X-Forwarded-For: %b\r\n" % client


def forged(client: bytes = FORGER, path: bytes = b"/w") -> bytes:
    """A request with a wrong token."""
    return request(path=path, fields=of(client), token=WRONG)


def test_guessing_is_slowed_down(tmp_path: Path) -> None:
    """Once a client's budget is empty it gets 429 with Retry-After, the same for wrong secrets and for unknown paths."""
    with staged(tmp_path, always(OK), limits=FEW, **TOP) as stage, Line(stage.gate) as line:
        assert [line.ask(forged()).status for _ in range(5)] == [401, 401, 401, 429, 429]
        refused = line.ask(forged(path=b"/nowhere"))
        assert refused.status == 429
        assert 1 <= int(refused.field(b"Retry-After") or 0) <= 10
        assert line.ask(request(method=b"PUT", fields=of(FORGER))).status == 429
        # Others have budgets of their own.
        assert line.ask(forged(b"203.0.113.10")).status == 401
        until(lambda: stage.gate.metric("hookgate_findings_total", rule="rate", reason="rate_limited") == 2 or None, "findings")
        assert stage.gate.metric("hookgate_requests_total", reason="rate_limited") == 4
        assert not stage.bot.requests


def test_enumeration_counts(tmp_path: Path) -> None:
    """Unknown paths and methods take from the same budget."""
    with staged(tmp_path, always(OK), limits=FEW, **TOP) as stage, Line(stage.gate) as line:
        assert [line.ask(forged(path=b"/%d" % number)).status for number in range(5)] == [404, 404, 404, 429, 429]
        assert line.ask(forged()).status == 429


def test_an_ipv6_network_is_one_client(tmp_path: Path) -> None:
    """A forger that has a whole /64 has one budget."""
    with staged(tmp_path, always(OK), limits=FEW, **TOP) as stage, Line(stage.gate) as line:
        found = [line.ask(forged(b"2001:db8::%d" % number)).status for number in range(1, 6)]
        assert found == [401, 401, 401, 429, 429]


def test_its_series_exist_from_the_start(tmp_path: Path) -> None:
    """What the budget may refuse and find is counted from zero, for unknown paths and for each route, before anybody guesses."""
    with staged(tmp_path, always(OK)) as stage:
        told = [set(re.findall(r'(\w+)="([^"]*)"', line)) for line in stage.gate.get("/metrics").splitlines()]
        assert {("route", "-"), ("outcome", "refused"), ("reason", "rate_limited")} in told
        for route in ("hook", "open", "telegram"):
            assert {("route", route), ("rule", "rate"), ("reason", "rate_limited"), ("mode", "enforce")} in told


def test_the_genuine_is_never_locked_out(tmp_path: Path) -> None:
    """A right secret passes from the very address whose budget a forger has emptied, again and again."""
    with staged(tmp_path, always(OK), limits=FEW, **TOP) as stage, Line(stage.gate) as line:
        for _ in range(5):
            line.ask(forged())
        for _ in range(10):
            assert line.ask(forged()).status == 429
            assert line.ask(request(fields=of(FORGER))).status == 200


def test_an_exact_answer_stays(tmp_path: Path) -> None:
    """A sender that is owed its very own status for a wrong signature gets it, however often: its probes are no guessing."""
    rules = {"signature": {**SIGNED, "answer": {"status": 406}}}
    exact = {"name": "exact", "path": "/exact", "secrets": [{"id": "s", "value": "k" * 16 + "-secret"}], "rules": rules}
    probed = {"name": "probed", "path": "/probed", "provider": "discord", "secrets": [{"id": "k", "value": "d7" * 32}]}
    signature = b"X-Signature: %b\r\n" % (b"ab" * 32)
    probe = b"X-Signature-Ed25519: %b\r\nX-Signature-Timestamp: 1720000000\r\n" % (b"00" * 64)
    with staged(tmp_path, always(OK), limits=FEW, routes=[exact, probed], **TOP) as stage, Line(stage.gate) as line:
        for path, fields, status in ((b"/exact", signature, 406), (b"/probed", probe, 401)):
            asked = request(path=path, fields=of(FORGER) + fields, token=b"")
            assert [line.ask(asked).status for _ in range(6)] == [status] * 6
        assert line.ask(forged(path=b"/nowhere")).status == 429


def test_a_listed_sender_has_no_budget(tmp_path: Path) -> None:
    """From the networks that the sender publishes a wrong secret stays 401: that is how a rotation gone wrong is seen."""
    with staged(tmp_path, always(OK), limits=FEW, **TOP) as stage, Line(stage.gate) as line:
        assert {line.ask(forged(TELEGRAM, b"/telegram")).status for _ in range(10)} == {401}


def test_an_unnamed_proxy_is_nobodys_address(tmp_path: Path) -> None:
    """Behind a terminator on a private network that the policy does not name, nobody's guesses count for all."""
    with staged(tmp_path, always(OK), limits=FEW) as stage, Line(stage.gate) as line:
        assert {line.ask(forged()).status for _ in range(10)} == {401}


def test_what_is_signed_over_the_body_is_judged_each_time(tmp_path: Path) -> None:
    """With an empty budget a request without any signature is refused before its body; one that has a signature is judged."""
    route = {"name": "signed", "path": "/signed", "secrets": [{"id": "s", "value": "a-secret-of-thirty-two-bytes-0123"}]}
    routes = [{**route, "rules": {"signature": SIGNED}}]
    with staged(tmp_path, always(OK), limits=FEW, routes=routes, **TOP) as stage:
        with Line(stage.gate) as line:
            bare = request(b"{}", path=b"/signed", fields=of(FORGER), token=b"")
            assert [line.ask(bare).status for _ in range(4)] == [401, 401, 401, 429]
            # The body never comes, and is not waited for.
            unfinished = bare.replace(b"Content-Length: 2", b"Content-Length: 900")
            assert line.ask(unfinished).status == 429
        with Line(stage.gate) as line:
            genuine = b"X-Signature: 5a30a4b4ea8f7a0d9a1ff39ce1bb5d3ee4bd5a3eb9e94f1a9d6be0f6c0a9f5f0\r\n"
            answer = line.ask(request(b"{}", path=b"/signed", fields=of(FORGER) + genuine, token=b""))
            assert answer.status == 429  # judged, found wrong, and out of budget
            right = b"X-Signature: %b\r\n" % _signature(b"{}")
            assert line.ask(request(b"{}", path=b"/signed", fields=of(FORGER) + right, token=b"")).status == 200


def _signature(body: bytes) -> bytes:
    return hmac.new(b"a-secret-of-thirty-two-bytes-0123", body, "sha256").hexdigest().encode()


@pytest.mark.parametrize("mode", ["report", "off"])
def test_it_refuses_nothing_in_report_mode(tmp_path: Path, mode: str) -> None:
    """Where nothing is refused for a wrong secret, nothing is refused for many; an unknown path stays 404."""
    with staged(tmp_path, always(OK), limits=FEW, mode=mode, **TOP) as stage, Line(stage.gate) as line:
        assert {line.ask(forged()).status for _ in range(6)} == {200}
        assert {line.ask(forged(path=b"/nowhere")).status for _ in range(6)} == {404}
