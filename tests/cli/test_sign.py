"""hookgate sign: what it makes is what the sender would make, and every gate takes it."""

import base64
import hashlib
import hmac
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.policy.model import Route
from proxy.policy.presets import PRESETS
from proxy.policy.secrets import Secret
from proxy.policy.values import SelectorKind
from proxy.rules.signing import current, genuine
from tests.cli import senders
from tests.cli.inprocess import SECRET, hookgate, policy
from tests.edge.lines import Line
from tests.gates import PATIENCE, ROOT, Gate, RecordingBot, free_port, recording_bot, serving

NOW = 1_767_225_600
TOKEN: dict[str, Any] = {"rules": {"signature": {"scheme": "token", "header": "X-Token"}}}
HMAC: dict[str, Any] = {"scheme": "hmac", "header": "X-Signature", "template": "{body}"}

Stage = tuple[Gate, RecordingBot, dict[str, Route]]


def fields(raw: bytes) -> dict[str, str]:
    """The fields of a raw request; fails where one stands twice."""
    lines = raw.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    found = dict(line.split(": ", 1) for line in lines)
    assert len(found) == len(lines)
    return found


def made(folder: Path, route: dict[str, Any], body: bytes = b"{}", *words: str, **top: Any) -> dict[str, str]:
    """The fields of a request made for this route."""
    ran = hookgate("sign", policy(folder, route, **top), "bot", "--body", "-", *words, stdin=body)
    assert (ran.code, ran.err) == (0, "")
    return fields(ran.out)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One gate for all senders, and the bot behind it."""
    with recording_bot() as bot:
        file = senders.written(tmp_path_factory.mktemp("senders"), upstream={"url": f"http://127.0.0.1:{bot.port}"})
        with serving(file) as gate:
            yield gate, bot, senders.routes_of(file)


def test_none_is_left_out() -> None:
    """Every preset of a scheme that can be signed is among the senders, and so are those with lists and ids."""
    signed = {f"preset-{name}" for name in PRESETS if senders.scheme_of(name) in senders.SIGNED}
    assert signed - {"preset-meta-verify"} <= senders.ROUTES.keys()
    assert len(signed) >= 50
    assert {
        "vector-stripe",
        "vector-standard-webhooks",
        "vector-slack",
        "vector-square",
        "vector-zendesk",
    } < senders.ROUTES.keys()


def signed_for(name: str, folder: Path, *words: str, body: bytes | None = None) -> tuple[Path, Route, bytes, str]:
    """A policy with one sender, its route, and the request that is made for it with what was said about it."""
    file = senders.written(folder, name)
    route = senders.routes_of(file)[name]
    made_of = senders.body_for(route, time.time()) if body is None else body
    ran = hookgate("sign", file, name, "--body", "-", *senders.key_words(folder, route), *words, stdin=made_of)
    assert ran.code == 0, ran.err
    return file, route, ran.out, ran.err


@pytest.mark.parametrize("name", senders.ROUTES)
def test_explain_takes_it(name: str, tmp_path: Path) -> None:
    """What is signed for a sender's route passes every rule of it when it is explained."""
    file, _, raw, _ = signed_for(name, tmp_path)
    ran = hookgate("explain", file, "-", "--format", "json", stdin=raw)
    assert (ran.code, ran.tree["outcome"], ran.tree["route"]) == (0, "forwarded", name), ran.text
    assert "signature" in {found["rule"] for found in ran.tree["findings"]}
    assert {found["reason"] for found in ran.tree["findings"]} == {"none"}


@pytest.mark.parametrize("name", senders.ROUTES)
def test_a_running_gate_takes_it(name: str, stage: Stage, tmp_path: Path) -> None:
    """What is signed for a sender's route reaches the bot through a running gate; with one byte changed it does not."""
    gate, bot, routes = stage
    body = senders.body_for(routes[name], time.time())
    _, _, raw, told = signed_for(name, tmp_path, body=body)
    in_body = senders.stand_of(routes[name].rules.signature).kind in {SelectorKind.JSON, SelectorKind.FORM}
    assert raw.endswith(b"\r\n\r\n" + body) is not in_body
    assert ("written anew" in told) is in_body
    before = len(bot.requests)
    with Line(gate) as line:
        assert line.ask(_forged(raw, routes[name])).status in {401, 403, 406}
        assert line.ask(raw).status == 200
    (came,) = bot.requests[before:]
    assert came.startswith(raw.partition(b"\r\n\r\n")[0] + b"\r\n")
    assert came.endswith(b"\r\n\r\n" + raw.partition(b"\r\n\r\n")[2])


def _forged(raw: bytes, route: Route) -> bytes:
    """The same request with one of the last characters of its signature changed."""
    stand = senders.stand_of(route.rules.signature)
    head, _, body = raw.partition(b"\r\n\r\n")
    if stand.kind is SelectorKind.JSON:
        found: Any = json.loads(body)
        for token in stand.argument.split("/")[1:]:
            found = found[0 if token in {"*", "0"} else token]
        assert body.count(found.encode()) == 1
        return head + b"\r\n\r\n" + body.replace(found.encode(), found[:-3].encode() + b"000"[: len(found)])
    header = stand.argument.partition("|")[0].encode()
    pattern = rb"(?i)(\r\n" + header + rb": [^\r]*?)([0-9A-Za-z])([0-9A-Za-z=]{0,2})(?=\r|$)"
    changed, count = re.subn(pattern, lambda found: found[1] + (b"0" if found[2] != b"0" else b"1") + found[3], head)
    assert count == 1
    assert changed != head
    return changed + b"\r\n\r\n" + body


@pytest.mark.parametrize("name", ["preset-mattermost", "preset-rocketchat"])
def test_tokens_in_a_body(name: str, tmp_path: Path) -> None:
    """A token that stands in a JSON body is written there over whatever stood there, and a note says so."""
    _, _, raw, told = signed_for(name, tmp_path, body=b'{"token":"old","text":"x"}')
    assert json.loads(raw.partition(b"\r\n\r\n")[2]) == {"token": SECRET, "text": "x"}
    assert "written anew" in told


def test_no_place_for_a_token(tmp_path: Path) -> None:
    """A body in which the credential cannot stand is told, and nothing is made."""
    file = senders.written(tmp_path, "preset-vk")
    ran = hookgate("sign", file, "preset-vk", "--body", "-", stdin=b"no JSON")
    assert (ran.code, ran.out) == (1, b"")
    assert "/secret can stand" in ran.err


@pytest.mark.parametrize("kind", ["twilio", "adyen"])
def test_bodies_of_their_own(kind: str, tmp_path: Path) -> None:
    """Twilio's forms are signed field by field, its other bodies by their hash; of Adyen's items each is signed."""
    if kind == "twilio":
        form = ("--header", "Content-Type: application/x-www-form-urlencoded")
        file, _, raw, _ = signed_for("preset-twilio", tmp_path, *form, body=b"B=2&A=1&B=%2B")
        assert b"bodySHA256" not in raw
        assert hookgate("explain", file, "-", stdin=raw).code == 0
        assert b"?bodySHA256=" in signed_for("preset-twilio", tmp_path, body=b"{}")[2]
    else:
        items = {"notificationItems": [{"NotificationRequestItem": {"pspReference": psp}} for psp in ("1", "2")]}
        file, _, raw, _ = signed_for("preset-adyen", tmp_path, body=json.dumps(items).encode())
        assert raw.count(b"hmacSignature") == 2
        assert hookgate("explain", file, "-", stdin=raw).code == 0
        ran = hookgate("sign", file, "preset-adyen", "--body", "-", stdin=b"{}")
        assert (ran.code, ran.out) == (1, b"")
        assert "notificationItems" in ran.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "give its private key with --key FILE"),
        (["rsa.pem"], "no ed25519 key"),
        (["ecdsa.pem"], "no ed25519 key"),
        (["policy.yaml"], "unencrypted PEM file"),
    ],
    ids=["none", "RSA", "ECDSA", "no key"],
)
def test_private_keys(words: list[str], says: str, tmp_path: Path) -> None:
    """Without the private key, or with one of another kind, nothing is made; the message holds no part of it."""
    name = "preset-discord-interactions"
    file = senders.written(tmp_path, name)
    given = [word for one in words for word in ("--key", tmp_path / one)]
    ran = hookgate("sign", file, name, "--body", "-", *given, stdin=b"{}")
    assert (ran.code, ran.out) == (1, b"")
    assert says in ran.err
    for pem in tmp_path.glob("*.pem"):
        assert not any(line in ran.err for line in pem.read_text().splitlines()[1:-1])


def test_like_stripe(tmp_path: Path) -> None:
    """A list signature has its time, then its signature over time and body, as another implementation computes it."""
    route = {
        "rules": {
            "signature": {
                **HMAC,
                "template": "{timestamp}.{body}",
                "list": {"separator": ",", "pair": "=", "key": "v1"},
            },
            "timestamp": {"source": "list:t"},
        }
    }
    digest = hmac.new(SECRET.encode(), b'%d.{"id":"x"}' % NOW, hashlib.sha256).hexdigest()
    assert made(tmp_path, route, b'{"id":"x"}', "--at", str(NOW))["X-Signature"] == f"t={NOW},v1={digest}"


def test_like_standard_webhooks(tmp_path: Path) -> None:
    """A whsec secret signs a fresh id, the time and the body; an id that is named in two cases of letters stands once."""
    route = {
        "secrets": [{"id": "now", "value": f"whsec_{base64.b64encode(SECRET.encode()).decode()}"}],
        "rules": {
            "signature": {
                **HMAC,
                "header": "webhook-signature",
                "template": "{id}.{timestamp}.{body}",
                "encoding": "base64",
                "key": "whsec",
                "id": "header:webhook-id",
                "list": {"separator": " ", "pair": ",", "key": "v1"},
            },
            "timestamp": {"header": "webhook-timestamp"},
            "replay": {"key": "header:Webhook-Id"},
        },
    }
    first, second = (made(tmp_path, route, b"{}", "--at", str(NOW)) for _ in range(2))
    assert first["webhook-id"] != second["webhook-id"]
    assert first["webhook-timestamp"] == str(NOW)
    signed = f"{first['webhook-id']}.{NOW}.{{}}".encode()
    digest = base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).decode()
    assert first["webhook-signature"] == f"v1,{digest}"


def test_like_slack(tmp_path: Path) -> None:
    """A prefix and literal words of a template stand where the sender has them."""
    rules = {
        "signature": {**HMAC, "template": "v0:{timestamp}:{body}", "prefix": "v0="},
        "timestamp": {"header": "X-Slack-Request-Timestamp"},
    }
    found = made(tmp_path, {"rules": rules}, b"token=a&text=b", "--at", str(NOW))
    digest = hmac.new(SECRET.encode(), b"v0:%d:token=a&text=b" % NOW, hashlib.sha256).hexdigest()
    assert (found["X-Signature"], found["X-Slack-Request-Timestamp"]) == (f"v0={digest}", str(NOW))
    assert found["Content-Type"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("unit", "stamp"), [("s", str(NOW)), ("ms", f"{NOW}250"), ("rfc3339", "2026-01-01T00:00:00.250Z")], ids=["s", "ms", "rfc3339"]
)
def test_units_of_time(unit: str, stamp: str, tmp_path: Path) -> None:
    """A timestamp is written in the unit that the rule reads, whether it is signed or not."""
    rules = {"signature": HMAC, "timestamp": {"header": "X-Time", "unit": unit}}
    assert made(tmp_path, {"rules": rules}, b"{}", "--at", f"{NOW}.25")["X-Time"] == stamp


def test_query(tmp_path: Path) -> None:
    """A timestamp that stands in the query is written there and signed there."""
    rules = {"signature": {**HMAC, "template": "{query}{body}"}, "timestamp": {"source": "query:ts"}}
    file = policy(tmp_path, {"query": "pass", "rules": rules})
    raw = hookgate("sign", file, "bot", "--body", "-", stdin=b"{}").out
    assert re.match(rb"POST /secret-path\?ts=\d{10} HTTP/1.1\r\n", raw)
    assert hookgate("explain", file, "-", stdin=raw).code == 0


def test_current_secret() -> None:
    """The secret is one that is active, of these the one that stays so the longest, of equals the last."""
    old = Secret("old", b"1", not_after=NOW + 10)
    new, newer = Secret("new", b"2"), Secret("newer", b"3")
    later = Secret("later", b"4", not_before=NOW + 10)
    assert current([old, new, newer, later], NOW).id == "newer"
    assert current([old, later], NOW).id == "old"
    assert current([new, old], NOW).id == "new"
    assert current([old, later], NOW + 10).id == "later"


def test_no_secret_is_active(tmp_path: Path) -> None:
    """Without an active secret nothing is made, and the exit code is 1."""
    secrets = [{"id": "later", "value": SECRET, "not_before": "2026-12-01T00:00:00Z"}]
    ran = hookgate("sign", policy(tmp_path, {**TOKEN, "secrets": secrets}), "bot", "--body", "-", "--at", str(NOW))
    assert (ran.code, ran.out) == (1, b"")
    assert "none of the route's secrets is active" in ran.err


def test_what_cannot_be_made(tmp_path: Path) -> None:
    """A signed header that nobody gives is named; with --header it is signed."""
    file = policy(tmp_path, {"rules": {"signature": {**HMAC, "template": "{header:X-Event}{json:/kind}{body}"}}})
    ran = hookgate("sign", file, "bot", "--body", "-", stdin=b"{}")
    assert (ran.code, ran.out) == (1, b"")
    assert "{header:X-Event}, {json:/kind}" in ran.err
    ran = hookgate("sign", file, "bot", "--body", "-", "--header", "x-event: ping", stdin=b'{"kind":"a"}')
    digest = hmac.new(SECRET.encode(), b'pinga{"kind":"a"}', hashlib.sha256).hexdigest()
    assert (fields(ran.out)["x-event"], fields(ran.out)["X-Signature"]) == ("ping", digest)


@pytest.mark.parametrize("text", ["no-colon", ": empty", "X-Empty:", "Host: other", "content-length: 1"])
def test_wrong_header(text: str, tmp_path: Path) -> None:
    """A field that is none, or that is made here, is wrong usage."""
    ran = hookgate("sign", policy(tmp_path, TOKEN), "bot", "--body", "-", "--header", text)
    assert (ran.code, ran.out) == (2, b"")


@pytest.mark.parametrize("text", ["X-A: b\r\nX-C: d", "X A: b", "X-A: b\0"])
def test_no_header_is_smuggled(text: str, tmp_path: Path) -> None:
    """A field with a line end or another character that no field can have is refused."""
    ran = hookgate("sign", policy(tmp_path, TOKEN), "bot", "--body", "-", "--header", text)
    assert (ran.code, ran.out) == (1, b"")


def test_a_secret_that_fits_no_header(tmp_path: Path) -> None:
    """A token with white space at its end, which no header brings over, is told and not shown."""
    ran = hookgate("sign", policy(tmp_path, {**TOKEN, "secrets": [{"id": "s", "value": f"{SECRET} "}]}), "bot", "--body", "-")
    assert (ran.code, ran.out) == (1, b"")
    assert "X-Token" in ran.err
    assert SECRET not in ran.err


def test_a_token_with_a_prefix(tmp_path: Path) -> None:
    """A prefix stands before the token."""
    rules = {"signature": {"scheme": "token", "header": "Authorization", "prefix": "Bearer "}}
    assert made(tmp_path, {"rules": rules})["Authorization"] == f"Bearer {SECRET}"


@pytest.mark.parametrize(
    ("listen", "public", "host"),
    [
        ("127.0.0.1:8443", None, "127.0.0.1:8443"),
        ("0.0.0.0:8443", None, "127.0.0.1:8443"),
        ("[::]:8443", None, "[::1]:8443"),
        ("unix:run/gate.sock", None, "localhost"),
        ("127.0.0.1:8443", "https://bot.example.com:444/a", "bot.example.com:444"),
        ("127.0.0.1:8443", "https://user@bot.example.com", "bot.example.com"),
    ],
)
def test_host(listen: str, public: str | None, host: str, tmp_path: Path) -> None:
    """Host is the public URL's, else the gate's own address as it can be reached."""
    route = {**TOKEN, **({"public_url": public} if public else {})}
    found = made(tmp_path, route, listen={"address": listen})
    assert found["Host"] == host
    assert not any(name.lower().startswith("x-forwarded") for name in found)


@pytest.mark.parametrize(
    ("content", "body", "expected"),
    [
        ({"types": ["text/plain", "application/json"]}, b"{}", "text/plain"),
        ({}, b'{"a":1}', "application/json"),
        (None, b"\xff", "application/octet-stream"),
    ],
    ids=["the first of the rule", "JSON", "bytes"],
)
def test_content_type(content: dict[str, Any] | None, body: bytes, expected: str, tmp_path: Path) -> None:
    """The type is the content rule's first, else what the body is."""
    rules = {**TOKEN["rules"], **({"content": content} if content is not None else {})}
    assert made(tmp_path, {"rules": rules}, body)["Content-Type"] == expected


def test_coded_bodies(tmp_path: Path) -> None:
    """Where only coded bodies pass, the coding is declared and a note says that the body was not coded here."""
    file = policy(tmp_path, {"rules": {**TOKEN["rules"], "content": {"encodings": ["gzip"]}}})
    ran = hookgate("sign", file, "bot", "--body", "-", stdin=b"x")
    assert fields(ran.out)["Content-Encoding"] == "gzip"
    assert "must be coded already" in ran.err


def test_no_signature(tmp_path: Path) -> None:
    """A route without a signature gets a request too, and a note that it proves nothing."""
    file = policy(tmp_path, {"secrets": [], "insecure": True, "methods": ["PUT"]})
    ran = hookgate("sign", file, "bot", "--body", "-", stdin=b"x")
    assert ran.code == 0
    assert ran.out.startswith(b"PUT /secret-path HTTP/1.1\r\n")
    assert "proves nothing" in ran.err


def test_a_time_in_the_body(tmp_path: Path) -> None:
    """A timestamp in the body is left as it is, and a note says so."""
    file = policy(tmp_path, {"rules": {"signature": HMAC, "timestamp": {"source": "json:/time"}}})
    ran = hookgate("sign", file, "bot", "--body", "-", stdin=b'{"time":1}')
    assert ran.out.endswith(b'\r\n\r\n{"time":1}')
    assert "json:/time" in ran.err


def test_unknown_route(tmp_path: Path) -> None:
    """An unknown route is wrong usage; the nearest name is offered, or all are."""
    file = policy(tmp_path, TOKEN)
    ran = hookgate("sign", file, "bott", "--body", "-")
    assert (ran.code, ran.out) == (2, b"")
    assert "did you mean 'bot'?" in ran.err
    assert "the routes are bot" in hookgate("sign", file, "something", "--body", "-").err


def test_no_body(tmp_path: Path) -> None:
    """A body that cannot be read, or none at all, is wrong usage."""
    file = policy(tmp_path, TOKEN)
    assert "no such file" in hookgate("sign", file, "bot", "--body", tmp_path / "none").err
    assert hookgate("sign", file, "bot", "--body", tmp_path / "none").code == 2
    assert hookgate("sign", file, "bot").code == 2


def test_any_body(tmp_path: Path) -> None:
    """The body goes out byte for byte, whatever it is, from a file as from standard input."""
    body = bytes(range(256)) + b"\r\n\n"
    (tmp_path / "body").write_bytes(body)
    file = policy(tmp_path, {"rules": {"signature": HMAC}})
    raw = hookgate("sign", file, "bot", "--body", tmp_path / "body").out
    assert raw == hookgate("sign", file, "bot", "--body", "-", stdin=body).out
    assert raw.endswith(b"\r\n\r\n" + body)
    assert fields(raw)["Content-Length"] == str(len(body))


def test_headers(tmp_path: Path) -> None:
    """As headers, what no client makes by itself comes out, a line each."""
    ran = hookgate("sign", policy(tmp_path, TOKEN), "bot", "--body", "-", "--output", "headers", stdin=b"{}")
    assert ran.out == f"Content-Type: application/json\nX-Token: {SECRET}\n".encode()


def test_unprintable(tmp_path: Path) -> None:
    """A made request shows nothing of itself by accident."""
    file = policy(tmp_path, TOKEN)
    route = senders.routes_of(file)["bot"]
    request = genuine(route, [Secret("first", SECRET.encode())], b"body", host=b"a", at=NOW)
    assert repr(request) == "<genuine POST>"


def test_the_pipe(tmp_path: Path) -> None:
    """The line that the help shows works between real processes."""
    file = policy(tmp_path, {"provider": "telegram"})
    (tmp_path / "body").write_text('{"update_id":1}')
    words = [sys.executable, "-m", "proxy"]
    line = f"{shlex.join([*words, 'sign', str(file), 'bot', '--body', str(tmp_path / 'body')])} | " + shlex.join(
        [*words, "explain", str(file), "-"]
    )
    done = subprocess.run(["/bin/sh", "-c", line], cwd=ROOT, capture_output=True, timeout=PATIENCE, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    assert b"it would be forwarded" in done.stdout


# -- curl


def curl_line(folder: Path, listen: str, secret: str, bot: int = 1) -> tuple[Path, bytes]:
    """A policy, and the curl line for its route, whose path and secret need quoting."""
    (folder / "the body").write_bytes(b"\0\r\nbody\n")
    route = {
        **TOKEN,
        "path": "/a/../[b]{c}'$HOME\"\\",
        "secrets": [{"id": "s", "value": secret}],
    }
    file = policy(folder, route, listen={"address": listen}, upstream={"url": f"http://127.0.0.1:{bot}"})
    ran = hookgate("sign", file, "bot", "--body", folder / "the body", "--output", "curl")
    assert ran.code == 0, ran.err
    return file, ran.out


def test_curl_arguments(tmp_path: Path) -> None:
    """Neither secret nor path is among the arguments that curl is started with: both come through its standard input."""
    recorder = tmp_path / "bin" / "curl"
    recorder.parent.mkdir()
    recorder.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > "$0.arguments"\ncat > "$0.stdin"\n')
    recorder.chmod(0o700)
    _, line = curl_line(tmp_path, "127.0.0.1:8443", SECRET)
    environ = {**os.environ, "PATH": f"{recorder.parent}:{os.environ['PATH']}"}
    subprocess.run(["/bin/sh", "-c", line], env=environ, timeout=PATIENCE, check=True)  # noqa: S603
    assert (recorder.parent / "curl.arguments").read_text() == "--config\n-\n"
    given = (recorder.parent / "curl.stdin").read_text()
    assert SECRET in given
    assert "/a/../[b]{c}'$HOME" in given


@pytest.mark.parametrize("over", ["tcp", "unix"])
def test_curl_sends_it(over: str, tmp_path: Path, bot: RecordingBot) -> None:
    """The curl line, as a shell runs it, gets through a running gate byte for byte."""
    assert shutil.which("curl"), "this test needs curl: install the package curl"
    listen = f"127.0.0.1:{free_port()}" if over == "tcp" else f"unix:{tmp_path}/gate.sock"
    file, line = curl_line(tmp_path, listen, 'it\'s "quoted" \\n $HOME `id` enough', bot.port)
    with serving(file):
        environ = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        done = subprocess.run(["/bin/sh", "-c", line], env=environ, capture_output=True, timeout=PATIENCE, check=True)  # noqa: S603
    assert b"200 OK" in done.stdout
    (came,) = bot.requests
    assert came.startswith(b"POST /a/../[b]{c}'$HOME\"\\ HTTP/1.1\r\n")
    assert b'\r\nX-Token: it\'s "quoted" \\n $HOME `id` enough\r\n' in came
    assert came.endswith(b"\r\n\r\n\0\r\nbody\n")


def test_curl_calls_the_public_url(tmp_path: Path) -> None:
    """A sender calls the URL that is registered with it, and so does curl."""
    (tmp_path / "body").write_bytes(b"{}")
    file = policy(tmp_path, {**TOKEN, "public_url": "https://bot.example.com/outside"})
    assert (
        b'\nurl = "https://bot.example.com/outside"\n'
        in hookgate("sign", file, "bot", "--body", tmp_path / "body", "--output", "curl").out
    )


def test_curl_needs_a_file(tmp_path: Path) -> None:
    """A body from standard input cannot be given to curl, whose standard input is taken: wrong usage."""
    ran = hookgate("sign", policy(tmp_path, TOKEN), "bot", "--body", "-", "--output", "curl", stdin=b"{}")
    assert (ran.code, ran.out) == (2, b"")


def test_help_says_that_it_is_a_credential() -> None:
    """Whoever reads the help learns what the output is worth."""
    assert "credential" in hookgate("sign", "--help").text
