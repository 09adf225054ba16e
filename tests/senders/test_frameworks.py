"""Slack's Bolt, Discord's decorator and LINE's sample, unmodified, behind a running gate: they receive, check again, answer.

grammY on Node.js is the long form. Each bot checks signatures itself, so that it is seen that nothing of a request was changed.
"""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest

from proxy.messages import Field
from proxy.policy.reader import Loaded, read_policy
from proxy.rules.signing import genuine
from tests.edge.lines import Answer, Line
from tests.gates import PATIENCE, Gate, serving, until
from tests.policies import policy_text
from tests.rules.made_keys import made_key
from tests.senders.libraries import HERE, NODE, PYTHON

SECRET = "0123456789abcdef0123456789abcdef"  # noqa: S105 - of tests alone
KEY = made_key("ed25519")
FORM = (b"Content-Type", b"application/x-www-form-urlencoded")
PROVIDERS = {"slack": "slack", "discord": "discord-interactions", "line": "line", "grammy": "telegram"}


class Bot(NamedTuple):
    """A bot in a process of its own."""

    port: int
    folder: Path

    def done(self) -> list[str]:
        """What it has done so far."""
        journal = self.folder / "journal"
        return [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []


@contextmanager
def bot(folder: Path, secret: str, *command: str | Path) -> Iterator[Bot]:
    """A bot until the end of the block."""
    folder.mkdir()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [str(word) for word in (*command, folder)],
            env={**os.environ, "BOT_SECRET": secret},
            cwd=NODE,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: (folder / "port").exists() or process.poll() is not None, f"{folder.name} to listen")
        assert process.poll() is None, (folder / "log").read_text()
        yield Bot(int((folder / "port").read_text()), folder)
    finally:
        process.kill()
        process.wait(PATIENCE)


class Stage(NamedTuple):
    """The gate, its policy, and the bots by their routes."""

    gate: Gate
    loaded: Loaded
    bots: dict[str, Bot]

    def raw(self, name: str, body: bytes, *given: Field) -> bytes:
        """A genuine request for a route."""
        route = next(route for route in self.loaded.policy.routes if route.name == name)
        made = genuine(route, self.loaded.secrets[name], body, host=b"bot.example.com", at=time.time(), given=given, key=KEY.key)
        return made.raw()

    def ask(self, name: str, body: bytes, *given: Field) -> Answer:
        """What a genuine request is answered."""
        with Line(self.gate) as line:
            return line.ask(self.raw(name, body, *given))

    def forge(self, name: str, body: bytes, *given: Field) -> Answer:
        """What the same request is answered with its body's last byte changed, or for a token, with the token's."""
        raw = self.raw(name, body, *given)
        forged = (
            raw.replace(SECRET.encode(), SECRET[:-1].encode() + b"0") if PROVIDERS.get(name) == "telegram" else raw[:-1] + b" "
        )
        with Line(self.gate) as line:
            return line.ask(forged)


def route(name: str, port: int, **more: Any) -> dict[str, Any]:
    """A route with nothing but its preset, its secret and its bot."""
    value = KEY.public("hex") if "discord" in name else SECRET
    return {
        "name": name,
        "path": f"/{name}",
        "provider": PROVIDERS[name.partition("-")[0]],
        "secrets": [{"id": "s", "value": value}],
        "upstream": {"url": f"http://127.0.0.1:{port}"},
        **more,
    }


@contextmanager
def stage_of(folder: Path, bots: dict[str, Bot], *more: dict[str, Any], **top: Any) -> Iterator[Stage]:
    """A gate in front of these bots."""
    routes = [*(route(name, one.port) for name, one in bots.items()), *more]
    (folder / "policy.json").write_text(policy_text(routes, **top))
    with serving(folder / "policy.json") as gate:
        yield Stage(gate, read_policy(folder / "policy.json", {}), bots)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The three bots on Python."""
    assert PYTHON.exists(), f"the senders' libraries are not in {PYTHON.parent.parent}: make senders"
    folder = tmp_path_factory.mktemp("frameworks")
    script = HERE / "framework_bots.py"
    with ExitStack() as stack:
        secrets = {"slack": SECRET, "discord": KEY.public("hex"), "line": SECRET}
        bots = {name: stack.enter_context(bot(folder / name, secret, PYTHON, script, name)) for name, secret in secrets.items()}
        lenient = [route(f"discord-{mode}", bots["discord"].port, mode=mode) for mode in ("report", "off")]
        yield stack.enter_context(stage_of(folder, bots, *lenient))


def test_slack(stage: Stage) -> None:
    """Bolt answers the check of the address and a command, handles an event once, and never sees what is forged."""
    bolt = stage.bots["slack"]
    check = stage.ask("slack", b'{"type":"url_verification","challenge":"c-1"}')
    assert (check.status, json.loads(check.body)["challenge"]) == (200, "c-1")
    command = urlencode(
        {"command": "/weather", "text": "Zürich ☀", "team_id": "T1", "user_id": "U1", "trigger_id": "1.1"}
    ).encode()
    answer = stage.ask("slack", command, FORM)
    assert (answer.status, "sunny in Zürich ☀" in answer.body.decode()) == (200, True), answer
    event = {
        "type": "event_callback",
        "event_id": "Ev1",
        "team_id": "T1",
        "event": {"type": "app_mention", "text": "hi 👋", "user": "U1"},
    }
    body = json.dumps(event, ensure_ascii=False).encode()
    assert [stage.ask("slack", body).status for _ in range(2)] == [200, 200]
    assert stage.forge("slack", body.replace(b"Ev1", b"Ev2")).status == 401
    assert bolt.done() == ["command Zürich ☀", "mention hi 👋"]


PING = b'{"id":"1","type":1,"version":1}'


def test_discord(stage: Stage) -> None:
    """The decorator answers a PING, a command is answered by the bot, and neither sees what is forged."""
    ping = stage.ask("discord", PING)
    assert (ping.status, json.loads(ping.body)) == (200, {"type": 1})
    body = '{"id":"2","type":2,"version":1,"data":{"id":"3","name":"grüße"}}'.encode()
    answer = stage.ask("discord", body)
    assert (answer.status, json.loads(answer.body)) == (200, {"type": 4, "data": {"content": "you ran grüße"}})
    assert stage.forge("discord", body.replace(b'"2"', b'"9"', 1)).status == 401
    assert stage.bots["discord"].done() == ["command grüße"]


@pytest.mark.parametrize("name", ["discord", "discord-report", "discord-off"])
def test_discord_probes(name: str, stage: Stage) -> None:
    """A probe with a bad signature, or none, is answered 401 by the gate in every mode: it never comes to the bot."""
    assert stage.forge(name, PING).status == 401
    bare = b"POST /%b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (name.encode(), len(PING), PING)
    with Line(stage.gate) as line:
        answer = line.ask(bare)
    assert (answer.status, b"unauthorized" in answer.body) == (401, True)


def test_line(stage: Stage) -> None:
    """The sample answers the button of the console, handles a message once although it is sent twice, and no forged one."""
    assert stage.ask("line", b'{"destination":"U1","events":[]}').body == b"OK"
    event = {
        "type": "message",
        "mode": "active",
        "timestamp": 1767225600000,
        "source": {"type": "user", "userId": "U1"},
        "webhookEventId": "01HWEBHOOKEVENTID0000000001",
        "deliveryContext": {"isRedelivery": False},
        "replyToken": "r",
        "message": {"id": "1", "type": "text", "text": "こんにちは 👋", "quoteToken": "q"},
    }
    body = json.dumps({"destination": "U1", "events": [event]}, ensure_ascii=False).encode()
    assert [stage.ask("line", body).status for _ in range(2)] == [200, 200]
    assert stage.forge("line", body).status == 401
    assert stage.bots["line"].done() == ["message こんにちは 👋"]


@pytest.mark.long
def test_grammy(tmp_path: Path) -> None:
    """grammY answers in its reply to the webhook, each update once, and sees nothing that is forged."""
    with bot(tmp_path / "grammy", SECRET, "node", NODE / "grammy_bot.mjs") as made, stage_of(tmp_path, {"grammy": made}) as stage:
        chat = {"id": 7, "type": "private", "first_name": "A"}
        message = {"message_id": 1, "date": 1767225600, "chat": chat, "from": {**chat, "is_bot": False}, "text": "grüße 👋"}
        body = json.dumps({"update_id": 5, "message": message}).encode()
        answer = stage.ask("grammy", body)
        assert (answer.status, json.loads(answer.body)["text"]) == (200, "you said: grüße 👋")
        again = stage.ask("grammy", body)
        assert (again.status, again.body) == (200, b"")
        assert stage.forge("grammy", body.replace(b"5", b"6", 1)).status == 401
        assert made.done() == ["message grüße 👋"]
