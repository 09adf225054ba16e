"""A bot that knows one secret alone: whichever of the route's matched is replaced by it, and nothing else is touched."""

import re
import time
from pathlib import Path
from socket import create_connection

import pytest

from proxy.errors import PolicyError
from proxy.policy.reader import read_policy
from tests.conftest import Gates
from tests.gates import TOKEN, TOKEN_FIELD, TOP, Gate, RecordingBot, send, status, until

KNOWN = "what-the-bot-has-always-known-01"
SECOND = "another-secret-of-thirty-two-byte"

POLICY = (
    TOP
    + """\
mode: {mode}
upstream: {{url: "http://127.0.0.1:{bot}", secret: {{from_file: known}}}}
routes:
  - name: telegram
    path: /telegram
    provider: telegram
    secrets: [{{id: first, value: {token}}}, {{id: second, value: {second}}}]
    rules: {{replay: {{mode: "off", key: "json:/update_id"}}}}
  - name: bearer
    path: /bearer
    upstream: {{url: "http://127.0.0.1:{bot}", secret: {{from_env: KNOWN}}}}
    secrets: [{{id: first, value: {token}}}]
    rules: {{signature: {{scheme: token, header: Authorization, prefix: "Bearer "}}}}
  - name: untranslated
    path: /untranslated
    upstream: {{url: "http://127.0.0.1:{bot}"}}
    secrets: [{{id: first, value: {token}}}]
    rules: {{signature: {{scheme: token, header: X-Token}}}}
"""
)


def serve(gate: Gates, folder: Path, bot: RecordingBot, mode: str = "enforce") -> Gate:
    """A gate before a bot that knows one secret."""
    (folder / "known").write_text(f"{KNOWN}\n")
    return gate(POLICY.format(bot=bot.port, mode=mode, token=TOKEN, second=SECOND), {"KNOWN": KNOWN + "-too"})


def request(path: str, *lines: str) -> bytes:
    """A request with these lines among its fields, the last of its connection."""
    fields = ["Host: bot.example.com", *lines, "Content-Length: 15", "Content-Type: application/json", "Connection: close"]
    return "\r\n".join([f"POST {path} HTTP/1.1", *fields, "", '{"update_id":1}']).encode()


def own(came: bytes) -> list[str]:
    """The lines of a request that stood between Host and Content-Length when it was sent."""
    found = re.search(r"(?s)Host: bot\.example\.com\r\n(.*?)\r\nContent-Length", came.decode())
    assert found
    return found[1].split("\r\n")


def test_replaced(gate: Gates, bot: RecordingBot, tmp_path: Path) -> None:
    """Each of the route's secrets becomes the bot's; order, case, position and every other byte stay."""
    running = serve(gate, tmp_path, bot)
    for secret in (TOKEN, SECOND):
        lines = ["X-First: 1", f"x-telegram-BOT-api-secret-token: {secret}", f"X-Last: {secret}"]
        assert status(running.send(request("/telegram", *lines))) == 200
        assert own(bot.requests[-1]) == [lines[0], f"x-telegram-BOT-api-secret-token: {KNOWN}", lines[2]]
    assert status(running.send(request("/bearer", f"Authorization: Bearer {TOKEN}"))) == 200
    assert own(bot.requests[-1]) == [f"Authorization: Bearer {KNOWN}-too"]
    assert status(running.send(request("/untranslated", f"X-Token: {TOKEN}"))) == 200
    assert own(bot.requests[-1]) == [f"X-Token: {TOKEN}"]
    assert KNOWN not in running.output()


def test_heads_that_recur(gate: Gates, bot: RecordingBot, tmp_path: Path) -> None:
    """The third request of a connection is translated like the first, though its head was known."""
    running = serve(gate, tmp_path, bot)
    alike = request("/telegram", f"{TOKEN_FIELD}: {TOKEN}").replace(b"Connection: close\r\n", b"")
    last = request("/telegram", f"{TOKEN_FIELD}: {SECOND}")
    with create_connection(("127.0.0.1", running.port), timeout=30) as sock:
        for number in range(1, 5):
            sock.sendall(alike)
            assert sock.recv(65536).startswith(b"HTTP/1.1 200")
            assert len(bot.requests) == number
    send(running.port, last)
    assert [own(came) for came in bot.requests] == [[f"{TOKEN_FIELD}: {KNOWN}"]] * 5


@pytest.mark.parametrize("mode", ["report", "off"])
def test_only_what_matched(mode: str, gate: Gates, bot: RecordingBot, tmp_path: Path) -> None:
    """Where nothing is enforced a wrong token, a doubled one and none reach the bot as they came: it is given to nobody."""
    running = serve(gate, tmp_path, bot, mode)
    wrong = [f"{TOKEN_FIELD}: {TOKEN}x"]
    doubled = [f"{TOKEN_FIELD}: {TOKEN}", f"{TOKEN_FIELD}: {TOKEN}"]
    for lines in (wrong, doubled, ["X-Nothing: 1"], [f"{TOKEN_FIELD}: {KNOWN}"]):
        assert status(running.send(request("/telegram", *lines))) == 200
        assert own(bot.requests[-1]) == lines
    assert status(running.send(request("/telegram", f"{TOKEN_FIELD}: {TOKEN}"))) == 200
    assert own(bot.requests[-1]) == [f"{TOKEN_FIELD}: {KNOWN}"]


def test_swapped_file(gate: Gates, bot: RecordingBot, tmp_path: Path) -> None:
    """A changed file of the bot's secret is taken by itself."""
    running = serve(gate, tmp_path, bot)
    (tmp_path / "known").write_text("what-the-bot-has-learnt-since-02")

    def changed() -> bool:
        running.send(request("/telegram", f"{TOKEN_FIELD}: {TOKEN}"))
        return own(bot.requests[-1]) == [f"{TOKEN_FIELD}: what-the-bot-has-learnt-since-02"]

    started = time.monotonic()
    until(changed, "the changed secret")
    assert time.monotonic() - started < 30


SMALL = """\
version: 1
allow_inline_secrets: true
listen: {{address: 127.0.0.1:0}}
upstream: {{url: "http://127.0.0.1:9", secret: {{from_env: KNOWN}}}}
routes:
  - {{name: hook, path: /hook, secrets: [{{id: first, value: a-secret-of-thirty-two-bytes-0123}}], {rest}}}
"""

REFUSED = [
    ("provider: github", KNOWN, "stands in for a token in one header, and route 'hook' has scheme: hmac"),
    (
        'query: pass, rules: {signature: {scheme: token, source: "query:key"}}',
        KNOWN,
        "route 'hook' has scheme: token in another place",
    ),
    ("provider: telegram", "brief-one", "the bot's secret is shorter than 16 bytes"),
    ("provider: telegram", "", "the bot's secret is empty"),
    ("provider: telegram", f"{KNOWN}\nX-Admin: yes", "the bot's secret cannot stand in a header"),
    ("provider: telegram", f" {KNOWN}", "the bot's secret cannot stand in a header"),
    ("provider: telegram", None, "environment variable KNOWN is not set"),
]


@pytest.mark.parametrize(("rest", "value", "told"), REFUSED, ids=[told for _, _, told in REFUSED])
def test_refused(rest: str, value: str | None, told: str, tmp_path: Path) -> None:
    """Where it could not work, or would be weak, the policy is refused at its place, and the value is never shown."""
    (tmp_path / "policy.yaml").write_text(SMALL.format(rest=rest))
    with pytest.raises(PolicyError) as refused:
        read_policy(tmp_path / "policy.yaml", {"KNOWN": value} if value is not None else {})
    (fault,) = refused.value.faults
    assert fault.path == "upstream.secret"
    assert told in fault.message
    assert not value or value.strip() not in str(refused.value)
