"""The Bot API is told of the gate with the policy's own secret; the bot token, the secret and the path are shown to nobody."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import ENVIRON, Ran, run
from tests.gates import TOKEN as SECRET

BOT_TOKEN = "123456:AAE-the_bots_own_token_that_nobody_sees"  # noqa: S105 - of tests alone
PATH = "/telegram/8f3a2b1c-secret-path"

POLICY = f"""\
version: 1
allow_inline_secrets: true
listen: {{address: 127.0.0.1:0}}
upstream: {{url: "http://127.0.0.1:9"}}
routes:
  - name: telegram
    path: {PATH}
    public_url: https://bot.example.com{PATH}
    provider: telegram
    secrets:
      - {{id: "2026-08", value: an-older-secret-of-long-standing, not_after: 2999-01-01T00:00:00Z}}
      - {{id: "2026-11", value: {SECRET}}}
  - name: hub
    path: /hub
    provider: github
    secrets: [{{id: first, value: another-secret-of-thirty-two-byte}}]
"""


class Api(ThreadingHTTPServer):
    """Plays the Bot API: keeps what it was asked, answers what it was told to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.status = 200
        self.answer: object = {"ok": True, "result": True}

    @property
    def base(self) -> str:
        """For ``--api``."""
        return f"http://127.0.0.1:{self.server_address[1]}/base"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        api = self.server
        assert isinstance(api, Api)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        api.asked.append((self.path, json.loads(body)))
        data = api.answer if isinstance(api.answer, bytes) else json.dumps(api.answer).encode()
        self.send_response(api.status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def api() -> Iterator[Api]:
    """A Bot API on a port of its own."""
    server = Api()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A policy and the token in a file."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "token").write_text(f"{BOT_TOKEN}\n")
    return tmp_path


def telegram(folder: Path, api: Api, *words: str) -> Ran:
    """``hookgate telegram WORDS``; fails where it shows what nobody may see."""
    ran = run("telegram", *words, "--api", api.base, "--token-file", "token", cwd=folder)
    for hidden in (BOT_TOKEN, SECRET, PATH):
        assert hidden not in ran.out + ran.err
    return ran


def test_set(api: Api, folder: Path) -> None:
    """The route's public URL and its longest-lived secret are registered, and what else was asked for."""
    ran = telegram(folder, api, "set-webhook", "policy.yaml")
    assert (ran.code, ran.out) == (0, "telegram: the webhook at bot.example.com is set, with secret 2026-11\n")
    asked = {"url": f"https://bot.example.com{PATH}", "secret_token": SECRET}
    assert api.asked == [(f"/base/bot{BOT_TOKEN}/setWebhook", asked)]
    more = ("--max-connections", "80", "--allowed-updates", "message, callback_query", "--drop-pending-updates")
    assert telegram(folder, api, "set-webhook", "policy.yaml", *more).code == 0
    given = {"max_connections": 80, "allowed_updates": ["message", "callback_query"], "drop_pending_updates": True}
    assert api.asked[1][1] == {**asked, **given}


def test_not_with_a_revoked_secret(api: Api, folder: Path) -> None:
    """A secret that was taken out of service is not registered."""
    (folder / "state").mkdir()
    (folder / "state" / "revoked.json").write_text('{"telegram": {"2026-11": 1800000000.0}}')
    assert "with secret 2026-08" in telegram(folder, api, "set-webhook", "policy.yaml").out


def test_environment(api: Api, folder: Path) -> None:
    """Without a file the token comes from the environment."""
    ran = run("telegram", "delete-webhook", "--api", api.base, cwd=folder, environ={**ENVIRON, "TELEGRAM_BOT_TOKEN": BOT_TOKEN})
    assert ran.code == 0
    assert api.asked == [(f"/base/bot{BOT_TOKEN}/deleteWebhook", {})]


def test_info(api: Api, folder: Path) -> None:
    """What Telegram knows is shown without the path; an address that is not the route's own is exit 1."""
    known = {
        "url": f"https://bot.example.com{PATH}",
        "pending_update_count": 3,
        "max_connections": 40,
        "allowed_updates": ["message"],
        "last_error_date": 1800000000,
        "last_error_message": f"Wrong response from the webhook: 401 Unauthorized {PATH}\x1b[31m",
    }
    api.answer = {"ok": True, "result": known}
    ran = telegram(folder, api, "info", "policy.yaml")
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "webhook: bot.example.com",
        "address: the route's public_url",
        "pending_update_count: 3",
        "max_connections: 40",
        "allowed_updates: message",
        "last_error: 2027-01-15T08:00:00Z Wrong response from the webhook: 401 Unauthorized /...?[31m",
    ]
    api.answer = {"ok": True, "result": {"url": ""}}
    ran = telegram(folder, api, "info", "policy.yaml")
    assert (ran.code, ran.out) == (1, "webhook: none\naddress: NOT the route's public_url\n")
    assert telegram(folder, api, "info").code == 0


REFUSALS: list[tuple[int, object, str]] = [
    (401, {"ok": False, "error_code": 401, "description": "Unauthorized"}, "(401): Unauthorized: is the token right?"),
    (400, {"ok": False, "description": f"Bad Request: /bot{BOT_TOKEN}\x1b"}, "(400): Bad Request: /bot(token)?"),
    (200, b"<html>a portal", "is no Bot API (status 200)"),
    (302, b"", "is no Bot API (status 302)"),
    (200, [], "is no Bot API"),
    (200, {"ok": True}, "is no Bot API"),
]


@pytest.mark.parametrize(("status", "answer", "told"), REFUSALS, ids=[told for _, _, told in REFUSALS])
def test_refused(status: int, answer: object, told: str, api: Api, folder: Path) -> None:
    """Whatever the other side says ends in one sentence that holds neither token nor escape."""
    api.status, api.answer = status, answer
    ran = telegram(folder, api, "set-webhook", "policy.yaml")
    assert ran.code == 1
    assert told in ran.sentence()


def test_unreachable(api: Api, folder: Path) -> None:
    """Where nobody answers, the host is named and no URL is."""
    ran = run("telegram", "info", "--api", "http://127.0.0.1:1", "--token-file", "token", cwd=folder)
    assert ran.code == 1
    assert ran.sentence() == "hookgate: the Bot API at 127.0.0.1 does not answer: Connection refused"


def test_bad_input(folder: Path) -> None:
    """Each thing that is missing or wrong is one clear sentence, before anybody is called."""
    nobody = ("--api", "http://127.0.0.1:1")
    (folder / "wrong").write_text("not/a token")
    (folder / "hub.yaml").write_text(POLICY.replace("provider: telegram", "provider: gitlab").replace("value: an", "value: bn"))
    (folder / "plain.yaml").write_text(POLICY.replace("public_url: https", "public_url: http"))
    for words, told in [
        (("info", *nobody), "no bot token: give --token-file"),
        (("info", *nobody, "--token-file", "none"), "cannot be read from none"),
        (("info", *nobody, "--token-file", "wrong"), "is no bot token"),
        (("info", "--api", "ftp://x", "--token-file", "token"), "--api must be"),
        (("set-webhook", "plain.yaml", *nobody, "--token-file", "token"), "needs public_url: https://"),
        (("set-webhook", "hub.yaml", *nobody, "--token-file", "token"), "no route of this policy has Telegram's token header"),
        (("set-webhook", "policy.yaml", "--route", "hub", *nobody, "--token-file", "token"), "no route 'hub' has Telegram's"),
    ]:
        ran = run("telegram", *words, cwd=folder)
        assert ran.code == 1, words
        assert told in ran.sentence()
        assert "not/a token" not in ran.err
