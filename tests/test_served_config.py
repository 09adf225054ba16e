"""The policies in ``config/`` served as they are; only ports, and what lies in the machine around them, are changed here."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.policy.reader import read_policy
from proxy.verdict import Mode
from tests.cli.inprocess import hookgate
from tests.cli.senders import body_for
from tests.conftest import Gates
from tests.gates import TOKEN_FIELD, Gate, RecordingBot, post, status
from tests.redises import server
from tests.test_config import ENVIRON

FOLDER = Path(__file__).parents[1] / "config"
FILES = sorted(FOLDER.glob("*.yaml"))
TELEGRAM_ADDRESS = "149.154.167.220"
"""In Telegram's published networks (https://core.telegram.org/bots/webhooks)."""
TOKEN = ENVIRON["TELEGRAM_SECRET"]


def served(gate: Gates, file: Path, bot: RecordingBot, store: str = "") -> tuple[Gate, str]:
    """A gate with this policy and the path of its route; ``store`` is where its Redis is, if it has one."""
    text = file.read_text().replace("127.0.0.1:6379", store)
    path = re.search(r"path: (/telegram/\S+)", text)
    assert path is not None
    text = re.sub(r"127\.0\.0\.1:808[123]", f"127.0.0.1:{bot.port}", text.replace("127.0.0.1:8080", "127.0.0.1:0"))
    text, count = re.subn(r"(?m)^observe: .*$", "observe: {address: 127.0.0.1:0}", text)
    if not count:
        text += "\nobserve: {address: 127.0.0.1:0}\n"
    return gate(text, ENVIRON), path[1]


def update(number: int) -> bytes:
    """A small genuine update."""
    return (
        b'{"update_id":%d,"message":{"message_id":1,"date":1700000000,"chat":{"id":42,"type":"private","first_name":"Ada"},'
        b'"from":{"id":42,"is_bot":false,"first_name":"Ada"},"text":"hello"}}' % number
    )


@pytest.fixture
def store(file: Path) -> Iterator[str]:
    """The store of the policy: what it says, or a Redis with the password that its environment has."""
    if file.stem != "replicas":
        yield ""
        return
    with server(f"requirepass {ENVIRON['REDIS_PASSWORD']}") as made:
        yield f"127.0.0.1:{made.port}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_served(gate: Gates, bot: RecordingBot, file: Path, store: str) -> None:
    """A genuine update passes, once; a forged one is refused, or under report forwarded with its finding named."""
    running, path = served(gate, file, bot, store)
    seen = {"X-Forwarded-For": TELEGRAM_ADDRESS}
    assert status(running.send(post(path, update(1), {TOKEN_FIELD: TOKEN, **seen}))) == 200
    assert len(bot.requests) == 1
    assert b"Hookgate-Findings" not in bot.requests[0]
    assert status(running.send(post(path, update(1), {TOKEN_FIELD: TOKEN, **seen}))) == 200
    report = read_policy(file, ENVIRON).policy.mode.mode is Mode.REPORT
    # In report mode nothing is kept from the bot, a repeat neither; but it is named.
    assert len(bot.requests) == (2 if report else 1)
    assert status(running.send(post(path, update(2), {TOKEN_FIELD: "forged", **seen}))) == (200 if report else 401)
    assert len(bot.requests) == (3 if report else 1)
    if report:
        assert re.search(rb"\r\nHookgate-Findings: [^\r]*replay_duplicate", bot.requests[1])
        assert re.search(rb"\r\nHookgate-Findings: [^\r]*signature_mismatch", bot.requests[2])
    assert running.metric("hookgate_findings_total", reason="signature_mismatch", mode="report" if report else "enforce") == 1
    assert running.get("/readyz") == "ready\n"


def test_every_route(gate: Gates, bot: RecordingBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the policy for many senders each route takes what its sender would send, and not the same with one byte changed."""
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    running, _ = served(gate, FOLDER / "many-senders.yaml", bot)
    for route in read_policy(running.policy, ENVIRON).policy.routes:
        data = body_for(route, time.time())
        (tmp_path / "body").write_bytes(data)
        field = f"X-Forwarded-For: {TELEGRAM_ADDRESS}"
        made = hookgate("sign", running.policy, route.name, "--body", tmp_path / "body", "--header", field)
        assert made.code == 0, made.err
        genuine = made.out.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        forged = genuine
        for secret in (value.encode() for value in ENVIRON.values()):
            forged = forged.replace(secret, secret[::-1])  # where the secret is sent itself, the body is not signed
        before = len(bot.requests)
        expected = 200 if route.mode else 401
        assert status(running.send(forged[:-2] + b" }")) == expected, route.name
        assert status(running.send(genuine)) == 200, route.name
        assert len(bot.requests) - before == (2 if route.mode else 1), route.name
        assert bot.requests[-1].endswith(data)


@pytest.mark.parametrize("name", ["telegram", "report-only"])
def test_foreign_address(gate: Gates, bot: RecordingBot, name: str) -> None:
    """Where the client's address is known, one that is not Telegram's is refused, or under report named."""
    running, path = served(gate, FOLDER / f"{name}.yaml", bot)
    answer = running.send(post(path, update(1), {TOKEN_FIELD: TOKEN, "X-Forwarded-For": "203.0.113.7"}))
    assert status(answer) == (403 if name == "telegram" else 200)
    assert running.metric("hookgate_findings_total", reason="ip_denied") == 1


def test_path_of_the_policy_is_the_only_one(gate: Gates, bot: RecordingBot) -> None:
    """Another path than the policy's is 404, with the secret or without."""
    running, _ = served(gate, FOLDER / "quickstart.yaml", bot)
    assert status(running.send(post("/telegram", update(1), {TOKEN_FIELD: TOKEN}))) == 404
    assert not bot.requests
