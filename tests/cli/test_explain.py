"""hookgate explain: it says what the gate would do, rule by rule, and shows nothing that is nobody's business."""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
import trustme

from proxy.messages import Request
from proxy.pipeline.modes import chosen
from proxy.rules.content import Content
from proxy.verdict import Verdict
from tests.cli.inprocess import SECRET, Ran, hookgate, policy
from tests.gates import RecordingBot
from tests.wire import test_wire
from tests.wire.policy import policy as wire_policy

NOW = 1_767_225_600
"""2026-01-01T00:00:00Z."""

BODY = b'{"update_id":1,"text":"a-word-of-the-body"}'
TOKEN: dict[str, Any] = {"scheme": "token", "header": "X-Token"}
ROUTE: dict[str, Any] = {
    "rules": {
        "size": {"max": "1KiB"},
        "content": {"types": ["application/json"]},
        "signature": {"scheme": "hmac", "header": "X-Signature", "template": "{body}"},
        "replay": {"key": "json:/update_id"},
    }
}


def signature(body: bytes = BODY) -> bytes:
    """The genuine value of X-Signature."""
    return hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest().encode()


def raw(body: bytes = BODY, signed: bytes | None = None, fields: bytes = b"", path: bytes = b"/secret-path") -> bytes:
    """A request for ``ROUTE``; genuine unless another signature is given."""
    return (
        b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nX-Signature: %b\r\n%bContent-Length: %d\r\n\r\n%b"
        % (
            path,
            signature(body) if signed is None else signed,
            fields,
            len(body),
            body,
        )
    )


FORGED = signature(b"another body")


def explained(file: Path, request: bytes, *words: str) -> Ran:
    """As JSON."""
    return hookgate("explain", file, "-", "--format", "json", *words, stdin=request)


def reason(file: Path, request: bytes, *words: str) -> tuple[int, str]:
    """Exit code and reason."""
    ran = explained(file, request, *words)
    return ran.code, ran.tree["reason"]


def findings(ran: Ran) -> list[tuple[str, str, str]]:
    """Rule, reason and mode of each finding."""
    return [(one["rule"], one["reason"], one["mode"]) for one in ran.tree["findings"]]


def test_genuine(tmp_path: Path) -> None:
    """A genuine request would be forwarded: exit 0, and each rule with its pass, mode and time in the order of judgement."""
    ran = explained(policy(tmp_path, ROUTE), raw())
    assert ran.code == 0
    assert list(ran.tree) == ["outcome", "reason", "cause", "route", "findings"]
    assert [ran.tree[key] for key in ("outcome", "reason", "cause", "route")] == ["forwarded", "none", "", "bot"]
    assert findings(ran) == [(rule, "none", "enforce") for rule in ("size", "content", "signature", "replay")]
    assert all(set(one) == {"rule", "reason", "mode", "microseconds"} for one in ran.tree["findings"])
    assert all(0 < one["microseconds"] < 1e7 for one in ran.tree["findings"])


def test_forged(tmp_path: Path) -> None:
    """A forged one would be refused: exit 1, with the cause, and what comes after the enforced failure is not judged."""
    ran = explained(policy(tmp_path, ROUTE), raw(signed=FORGED))
    assert ran.code == 1
    assert [ran.tree[key] for key in ("outcome", "reason", "route")] == ["refused", "signature_mismatch", "bot"]
    assert ran.tree["cause"]
    assert findings(ran)[-1] == ("signature", "signature_mismatch", "enforce")


def test_text(tmp_path: Path) -> None:
    """As text: the rules, those that were not reached too, then how it ends, with which status."""
    file = policy(tmp_path, ROUTE)
    ran = hookgate("explain", file, "-", "--at", str(NOW), stdin=raw(signed=FORGED))
    assert ran.code == 1
    rows = [line.split() for line in ran.text.splitlines()]
    assert "judged as of 2026-01-01T00:00:00Z" in ran.text
    assert ["signature", "signature_mismatch", "enforce"] in [row[:3] for row in rows]
    assert ["replay", "not", "reached", "enforce", "-"] in rows
    assert "\nrefused: signature_mismatch, answered 401; cause: " in ran.text
    ran = hookgate("explain", file, "-", stdin=raw())
    assert ran.code == 0
    assert "pass (secret first)" in ran.text
    assert "\nit would be forwarded\n" in ran.text
    assert "empty store" in ran.text


def test_a_token_is_judged_at_the_door(tmp_path: Path) -> None:
    """Where the credential is a plain token, it stands before the rules that need the body, as the gate judges it."""
    route = {"rules": {**ROUTE["rules"], "signature": TOKEN}}
    ran = explained(policy(tmp_path, route), raw(fields=b"X-Token: %b\r\n" % SECRET.encode()))
    assert [rule for rule, _, _ in findings(ran)] == ["size", "signature", "content", "replay"]


def test_report(tmp_path: Path) -> None:
    """In report mode a forged request would be forwarded: exit 0, every finding told; it claims nothing."""
    ran = explained(policy(tmp_path, ROUTE, mode="report"), raw(signed=FORGED))
    assert (ran.code, ran.tree["outcome"], ran.tree["reason"]) == (0, "forwarded", "none")
    assert ran.tree["cause"]
    assert findings(ran)[-1] == ("signature", "signature_mismatch", "report")
    text = hookgate("explain", policy(tmp_path, ROUTE, mode="report"), "-", stdin=raw(signed=FORGED)).text
    assert "it would be forwarded; 1 reported" in text


def test_modes_of_rules(tmp_path: Path) -> None:
    """A rule's own mode is shown where it is the milder; a rule that is off is not judged."""
    rules = {**ROUTE["rules"], "content": {"types": ["text/plain"], "mode": "report"}, "size": {"mode": "off"}}
    ran = explained(policy(tmp_path, {"rules": rules}), raw())
    assert ran.code == 0
    assert findings(ran)[0] == ("content", "content_type_refused", "report")
    assert "size" not in [rule for rule, _, _ in findings(ran)]
    ran = explained(policy(tmp_path, ROUTE, mode="off"), raw(signed=FORGED))
    assert (ran.code, findings(ran)) == (0, [])


@pytest.mark.parametrize("scheme", ["token", "hmac"])
def test_share(scheme: str, tmp_path: Path) -> None:
    """Of a share, the body decides: a forged request is refused on the one side and reported on the other, as the modes say."""
    route = {"rules": {**ROUTE["rules"], **({"signature": TOKEN} if scheme == "token" else {})}}
    file = policy(tmp_path, route, mode="50%")
    sides = {}
    for number in range(20):
        body = b'{"update_id":%d}' % number
        enforced = chosen(hashlib.sha256(body).digest()[:16], 50)
        ran = explained(file, raw(body, FORGED, fields=b"X-Token: wrong\r\n"))
        assert ran.code == (1 if enforced else 0)
        assert {mode for _, _, mode in findings(ran)} == {"enforce" if enforced else "report"}
        sides[enforced] = hookgate("explain", file, "-", stdin=raw(body, FORGED, fields=b"X-Token: wrong\r\n")).text
    assert "mode 50% (for this body: enforce)" in sides[True]
    assert "mode 50% (for this body: report)" in sides[False]


def test_at(tmp_path: Path) -> None:
    """``--at`` is the clock: for timestamps, and for which secrets are active."""
    rules = {**ROUTE["rules"], "timestamp": {"header": "X-Time"}}
    file = policy(tmp_path, {"rules": rules})
    request = raw(fields=b"X-Time: %d\r\n" % NOW)
    assert reason(file, request, "--at", str(NOW)) == (0, "none")
    assert reason(file, request, "--at", str(NOW + 301)) == (1, "timestamp_expired")
    assert reason(file, request, "--at", str(NOW - 301)) == (1, "timestamp_future")
    assert reason(file, request) == (1, "timestamp_expired")
    secrets = [
        {"id": "old", "value": SECRET, "not_after": "2026-01-01T00:00:00Z"},
        {"id": "new", "value": SECRET[::-1]},
    ]
    file = policy(tmp_path, {**ROUTE, "secrets": secrets})
    assert reason(file, raw(), "--at", str(NOW - 1)) == (0, "none")
    assert reason(file, raw(), "--at", str(NOW)) == (1, "signature_mismatch")
    file = policy(tmp_path, {**ROUTE, "secrets": [{"id": "old", "value": SECRET, "not_after": "2020-01-01T00:00:00Z"}]})
    assert explained(file, raw()).code == 78, "none is left today"
    assert reason(file, raw(), "--at", "1500000000") == (0, "none")


def test_peer(tmp_path: Path) -> None:
    """``--peer`` is who connected; what it forwards for counts where it is trusted, and nowhere else."""
    route = {"rules": {**ROUTE["rules"], "ip": {"allow": ["203.0.113.0/24"]}}}
    file = policy(tmp_path, route, trusted_proxies=["10.0.0.1", "unix"])
    forwarded = raw(fields=b"X-Forwarded-For: 203.0.113.7\r\n")
    assert reason(file, raw()) == (1, "ip_denied")
    assert reason(file, raw(), "--peer", "203.0.113.9") == (0, "none")
    assert reason(file, raw(), "--peer", "::ffff:203.0.113.9") == (0, "none")
    assert reason(file, forwarded, "--peer", "10.0.0.1") == (0, "none")
    assert reason(file, forwarded, "--peer", "unix") == (0, "none")
    assert reason(file, forwarded, "--peer", "10.0.0.2") == (1, "ip_denied")
    text = hookgate("explain", file, "-", "--peer", "10.0.0.1", stdin=forwarded).text
    assert "client 203.0.113.7, peer 10.0.0.1" in text


def test_tls(tmp_path: Path) -> None:
    """With TLS of the policy's own a request counts as having come over it, and without a client certificate."""
    authority = trustme.CA()
    server = authority.issue_cert("bot.example.com")
    (tmp_path / "tls.crt").write_bytes(server.cert_chain_pems[0].bytes())
    (tmp_path / "tls.key").write_bytes(server.private_key_pem.bytes())
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = {"certificate": "tls.crt", "key": "tls.key", "client_ca": "ca.pem"}
    listen = {"address": "127.0.0.1:0", "tls": tls}
    route = {"rules": {**ROUTE["rules"], "transport": {"tls": "required"}}}
    assert reason(policy(tmp_path, route, listen=listen), raw()) == (0, "none")
    file = policy(tmp_path, route, trusted_proxies=["10.0.0.1"])
    assert reason(file, raw(fields=b"X-Forwarded-Proto: https\r\n")) == (1, "tls_required")
    assert reason(file, raw(fields=b"X-Forwarded-Proto: https\r\n"), "--peer", "10.0.0.1") == (0, "none")
    route["rules"]["transport"] = {"client_certificate": "required"}
    assert reason(policy(tmp_path, route, listen=listen), raw()) == (1, "client_certificate_missing")


def test_nothing_is_asked(tmp_path: Path, bot: RecordingBot) -> None:
    """No store is opened and the bot is not called; a repeat looks new each time."""
    store = {"url": "sqlite:state/claims.db"}
    file = policy(tmp_path, ROUTE, store=store, upstream={"url": f"http://127.0.0.1:{bot.port}"})
    for _ in range(2):
        assert reason(file, raw()) == (0, "none")
    assert bot.requests == []
    assert [one.name for one in tmp_path.iterdir()] == ["policy.yaml"]


def test_nothing_is_shown(tmp_path: Path) -> None:
    """Whatever the verdict: no path, secret, field's value or word of the body is shown."""
    route = {"rules": {**ROUTE["rules"], "schema": {"file": "schema.json"}}}
    (tmp_path / "schema.json").write_text('{"properties": {"text": {"const": "other"}}}')
    file = policy(tmp_path, route)
    field = b"X-Private: a-private-value\r\n"
    requests = [
        raw(fields=field),
        raw(signed=FORGED, fields=field),
        raw(path=b"/other-path-of-someone", fields=field),
        raw(fields=field + b"X-Private : a-private-value\r\n"),
        raw(fields=field)[:-3],
        raw(fields=field).replace(b"\r\n", b"\n"),
        raw(fields=field).replace(b"\r\n\r\n", b"\r\n"),
        b"a-private-value",
    ]
    for request in requests:
        for form in ("text", "json"):
            ran = hookgate("explain", file, "-", "--format", form, stdin=request)
            assert ran.code == 1
            said = ran.text + ran.err
            for word in (
                "secret-path",
                "other-path",
                SECRET,
                "a-private-value",
                signature().decode(),
                FORGED.decode(),
                "a-word-of",
            ):
                assert word not in said


def test_a_rule_that_breaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A rule that breaks is told as the gate tells it, without a traceback that may quote the request."""

    def broken(self: Content, request: Request) -> Verdict:
        raise RuntimeError(request.body)

    monkeypatch.setattr(Content, "check", broken)
    ran = explained(policy(tmp_path, ROUTE), raw())
    assert (ran.code, ran.tree["outcome"], ran.err, caplog.records) == (1, "failed", "", [])
    assert findings(ran)[-1] == ("content", "rule_broke", "enforce")


def test_size(tmp_path: Path) -> None:
    """A body above the limit is found by its declared length and, where none is declared, by the real one."""
    file = policy(tmp_path, ROUTE)
    big = b'{"update_id":1,"text":"%b"}' % (b"x" * 1024)
    ran = explained(file, raw(big))
    assert (ran.code, findings(ran)) == (1, [("size", "body_too_large", "enforce")])
    length = b"Content-Length: %d\r\n\r\n%b" % (len(big), big)
    chunked = raw(big).replace(length, b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(big), big))
    assert reason(file, chunked) == (1, "body_too_large")
    ran = explained(policy(tmp_path, ROUTE, mode="report"), raw(big))
    assert (ran.code, findings(ran)[0]) == (0, ("size", "body_too_large", "report"))


# -- what is no request, and the walls


@pytest.mark.parametrize("file", test_wire.REFUSED, ids=lambda file: file.stem)
def test_walls(file: Path, tmp_path: Path) -> None:
    """Each raw request that the edge refuses is explained with the reason that the edge has for it, or is no request at all."""
    (tmp_path / "policy.yaml").write_text(wire_policy(1))
    ran = hookgate("explain", tmp_path / "policy.yaml", file, "--format", "json")
    assert ran.code == 1
    if file.stem in NO_REQUESTS:
        assert (ran.out, len(ran.err.splitlines())) == (b"", 1)
    else:
        assert ran.tree["reason"] == test_wire.expected(file)[1]
        assert ran.err == ""


NO_REQUESTS = {
    "blank-only-then-garbage",
    "p12-lf-lines",
    "p24-http-0.9",
    "p24-version-HTTPS-1.1",
    "p24-version-lower",
    "proxy-line-unasked",
    "t03-method-empty",
    "tls-on-plain-port",
}
"""Their first line is not one of HTTP/1.1, or does not end as one."""


@pytest.mark.parametrize("file", test_wire.OK, ids=lambda file: file.stem)
def test_no_walls(file: Path, tmp_path: Path) -> None:
    """Each raw request that the edge serves would be forwarded."""
    (tmp_path / "policy.yaml").write_text(wire_policy(1))
    ran = hookgate("explain", tmp_path / "policy.yaml", file, "--format", "json")
    assert (ran.code, ran.tree["outcome"]) == ((0, "forwarded") if test_wire.expected(file)[0][0] == 200 else (1, "refused"))


def test_unknown_route(tmp_path: Path) -> None:
    """Without a route there are no findings, and a line says what to look at."""
    file = policy(tmp_path, ROUTE)
    ran = explained(file, raw(path=b"/secret-path/"))
    assert (ran.code, ran.tree["reason"], ran.tree["route"], findings(ran)) == (1, "unknown_route", "-", [])
    assert "no route has exactly this path" in hookgate("explain", file, "-", stdin=raw(path=b"/secret-path/")).text
    assert reason(file, raw(path=b"/secret-path?a")) == (1, "unknown_route")


def test_a_cut_body(tmp_path: Path) -> None:
    """A request that ends before its body does is told apart from a forged one."""
    assert reason(policy(tmp_path, ROUTE), raw()[:-1]) == (1, "client_aborted")


@pytest.mark.parametrize("rest", [b"\n", b"\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"junk"])
def test_something_behind(rest: bytes, tmp_path: Path) -> None:
    """Only the first request of a file is explained; bytes behind it change nothing."""
    assert reason(policy(tmp_path, ROUTE), raw() + rest) == (0, "none")


def test_a_note_about_what_stands_behind(tmp_path: Path) -> None:
    """A body that is longer than declared is seen: the note points at what was left over."""
    ran = hookgate("explain", policy(tmp_path, ROUTE), "-", stdin=raw() + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert "something stands behind the first request" in ran.text


@pytest.mark.parametrize(
    ("request_bytes", "words"),
    [
        (b"", "is no HTTP request"),
        (b"\r\n", "is no HTTP request"),
        (b'{"update_id":1}', "is no HTTP request"),
        (b"POST /secret-path\r\n\r\n", "is no HTTP request"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "is no HTTP request"),
        (raw().replace(b"\r\n", b"\n"), "CRLF"),
        (raw().partition(b"\r\n\r\n")[0], "no end of its head"),
    ],
    ids=["empty", "blank", "a body alone", "no version", "an answer", "LF", "half a head"],
)
def test_no_request(request_bytes: bytes, words: str, tmp_path: Path) -> None:
    """What is no HTTP request, or has the line ends of a text file, is said in one line: exit 1, nothing guessed."""
    ran = explained(policy(tmp_path, ROUTE), request_bytes)
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (1, b"", 1)
    assert words in ran.err


def test_wrong_usage(tmp_path: Path) -> None:
    """A request file that is not there, a time or an address that is none: exit 2."""
    file = policy(tmp_path, ROUTE)
    ran = hookgate("explain", file, tmp_path / "none.http")
    assert (ran.code, ran.out) == (2, b"")
    assert "no such file" in ran.err
    for words in (["--at", "yesterday"], ["--at", "nan"], ["--at", "-1"], ["--peer", "localhost"], ["--peer", ""]):
        assert hookgate("explain", file, "-", *words).code == 2


def test_unsound_policy(tmp_path: Path) -> None:
    """An unsound policy is 78, with its faults."""
    file = policy(tmp_path, ROUTE)
    file.write_text(json.dumps({**json.loads(file.read_text()), "surplus": 1}))
    ran = explained(file, raw())
    assert (ran.code, ran.out) == (78, b"")
    assert "surplus" in ran.err
