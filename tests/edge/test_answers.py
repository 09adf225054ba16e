"""Our own answers: the same for everybody who gets the status, with nothing of the request in them and nothing of ours."""

import json
import re
from collections.abc import Iterator

import pytest

from tests.edge.lines import TOKEN_LINE, Answer, Line, request
from tests.edge.stages import Stage, staged, update
from tests.gates import free_port, until
from tests.upstream.bots import OK, Talk

MARK = b"mark-of-the-request"
MARKED = b"X-Mark: " + MARK + b"\r\nUser-Agent: " + MARK + b"\r\n"
BODY = b'{"update_id":"' + MARK + b'"}'
JSON = b"Content-Type: application/json\r\n"


def serve(talk: Talk) -> None:
    """Answer each request but those that ask to be kept waiting."""
    while (came := talk.request()) is not None:
        if b"X-Wait: " in came:
            talk.hold()
        talk.send(OK)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A gate that can refuse for many reasons."""
    token = {"scheme": "token", "header": "X-Telegram-Bot-Api-Secret-Token"}
    secrets = [{"id": "first", "value": "a-secret-of-thirty-two-bytes-0123"}]
    nobody = {"url": f"http://127.0.0.1:{free_port()}"}
    routes = [
        {"name": "hook", "path": "/w", "secrets": secrets, "rules": {"size": {"max": "10KiB"}, "signature": token}},
        {"name": "telegram", "path": "/telegram", "provider": "telegram", "secrets": secrets},
        {"name": "few", "path": "/few", "insecure": True, "rules": {"rate": {"limit": "1/h", "burst": 1}}},
        {"name": "far", "path": "/far", "insecure": True, "rules": {"ip": {"allow": ["203.0.113.0/24"]}}},
        {"name": "safe", "path": "/safe", "insecure": True, "rules": {"transport": {"tls": "required"}}},
        {"name": "nobody", "path": "/nobody", "insecure": True, "upstream": nobody},
    ]
    with staged(tmp_path_factory.mktemp("own"), serve, routes=routes, trusted_proxies=["198.51.100.1"]) as made:
        yield made


def plain(path: bytes, fields: bytes = MARKED, body: bytes = BODY) -> bytes:
    """A request with its marks."""
    return request(body, path=path, fields=fields)


REFUSED = {
    "malformed": (400, plain(b"/w", b"X Y: " + MARK + b"\r\n")),
    "framing": (400, plain(b"/w", MARKED + b"Upgrade: " + MARK + b"\r\n")),
    "unknown route": (404, plain(b"/" + MARK)),
    "method": (405, plain(b"/w").replace(b"POST", b"PUT", 1)),
    "length": (411, plain(b"/w").replace(b"Content-Length", b"X-Length")),
    "too large": (413, plain(b"/w", body=MARK * 1000)),
    "type": (415, plain(b"/telegram", MARKED + b"Content-Type: text/" + MARK + b"\r\n")),
    "coding": (415, plain(b"/telegram", JSON + b"Content-Encoding: " + MARK + b"\r\n")),
    "expectation": (417, plain(b"/w", b"Expect: " + MARK + b"\r\n")),
    "header": (431, plain(b"/w", MARKED + b"X-Long: " + MARK * 1000 + b"\r\n")),
    "target": (414, plain(b"/" + MARK * 250)),
    "no token": (401, plain(b"/w").replace(TOKEN_LINE, b"")),
    "wrong token": (401, plain(b"/w").replace(TOKEN_LINE, TOKEN_LINE[:-2] + MARK + b"\r\n")),
    "two tokens": (401, plain(b"/w", MARKED + TOKEN_LINE)),
    "address": (403, plain(b"/far")),
    "not TLS": (403, plain(b"/safe")),
    "no key": (400, plain(b"/telegram", JSON + MARKED)),
    "not JSON": (400, plain(b"/telegram", JSON, b"{" + MARK)),
    "unreachable": (502, plain(b"/nobody")),
}


def sound(found: Answer) -> None:
    """What holds of each answer of our own."""
    names = [name for name, _ in found.fields]
    assert set(names) <= {b"Date", b"Content-Type", b"Content-Length", b"X-Request-Id", b"Connection", b"Retry-After", b"Allow"}
    assert found.status not in range(300, 400) and found.status != 410
    assert MARK not in repr(found).encode()
    identity = found.field(b"X-Request-Id") or b""
    assert re.fullmatch(rb"[0-9a-f]{16}", identity)
    if found.status < 300:
        assert found.body == b"" and found.field(b"Content-Length") == b"0"
    else:
        told = json.loads(found.body)
        assert set(told) == {"error", "request_id"} and told["request_id"].encode() == identity
    if found.status in {429, 503}:
        assert int(found.field(b"Retry-After") or 0) >= 1


def constant(found: Answer) -> str:
    """The answer without what differs from one to the next."""
    return re.sub(r"[0-9a-f]{16}|b'Date', b'[^']*'", "", repr(found))


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(stage: Stage, name: str) -> None:
    """Each refusal has its status, its id and nothing of the request, of a rule's finding or of this program."""
    expected, raw = REFUSED[name]
    with Line(stage.gate) as line:
        found = line.ask(raw)
    assert found.status == expected
    sound(found)


def test_refusals_are_alike(stage: Stage) -> None:
    """Whatever is wrong with a token, and however the request differs, a 401 is the same but for its id and date."""
    forged = ["no token", "wrong token", "two tokens"]
    seen = set()
    for raw in [REFUSED[name][1] for name in forged] + [request(b"", token=b""), request(b"x" * 9000, token=b"")]:
        with Line(stage.gate) as line:
            seen.add(constant(line.ask(raw)))
    assert len(seen) == 1


def test_repeats(stage: Stage) -> None:
    """A repeat of a delivered update gets an empty 200, another body under its id 409."""
    raw = update()
    with Line(stage.gate) as line:
        assert line.ask(raw).status == 200
        duplicate = line.ask(raw)
        conflict = line.ask(raw.replace(b'"text":"x"', b'"text":"y"'))
    assert (duplicate.status, conflict.status) == (200, 409)
    sound(duplicate)
    sound(conflict)


def test_too_many(stage: Stage) -> None:
    """Beyond its rate a client gets 429 and the time to wait."""
    with Line(stage.gate) as line:
        answers = [line.ask(plain(b"/few")) for _ in range(3)]
    assert {found.status for found in answers[1:]} == {429}
    sound(answers[-1])


def test_while_the_first_is_under_way(stage: Stage) -> None:
    """A repeat of an update that is still with the bot waits for its end, and gets 503 and a time to wait when it fails."""
    raw = update(fields=b"X-Wait: 1\r\n")
    with Line(stage.gate) as first, Line(stage.gate) as second:
        first.send(raw)
        until(lambda: any(b"X-Wait" in one for one in stage.bot.requests), "the bot to have it")
        second.send(raw)
        until(lambda: stage.gate.metric("hookgate_in_flight_requests") == 2, "the repeat to wait")
        holding = next(talk for talk in stage.bot.talks if b"X-Wait" in bytes(talk.came))
        holding.reset()
        assert first.answer().status == 502
        found = second.answer()
    assert found.status == 503
    sound(found)
