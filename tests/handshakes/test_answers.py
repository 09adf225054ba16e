"""Every sender's check of the address, on a socket, through a running gate: answered by it, or let through to the bot."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.gates import PATIENCE, Gate, RecordingBot, body, recording_bot, serving, status, until
from tests.handshakes.senders import Check, checks, route
from tests.policies import policy_text

NAMES = sorted(checks())
PROVIDERS = sorted({one.provider for one in checks().values()})
UNSIGNED = [name for name in NAMES if not checks()[name].signed]
SIGNED = [name for name in NAMES if checks()[name].signed and not name.startswith("meta-verify")]


class Stage(NamedTuple):
    """One gate with a route of each mode for each sender, and the bot behind it."""

    gate: Gate
    bot: RecordingBot

    def ask(self, check: Check, mode: str) -> bytes:
        """The raw answer."""
        return self.gate.send(check.raw(f"/{check.provider}-{mode}"))

    def seen(self, check: Check, mode: str) -> list[bytes]:
        """What the bot got on that route."""
        return [one for one in self.bot.requests if f" /{check.provider}-{mode}".encode() in one.split(b"\r\n")[0]]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Served once for the whole file."""
    file: Path = tmp_path_factory.mktemp("stage") / "policy.yaml"
    with recording_bot() as bot:
        file.write_text(policy_text([route(name, mode) for name in PROVIDERS for mode in ("answer", "forward")], bot.port))
        with serving(file) as gate:
            yield Stage(gate, bot)


def fields(answer: bytes) -> dict[str, str]:
    """The fields of a raw answer."""
    lines = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


@pytest.mark.parametrize("name", NAMES)
def test_answered(name: str, stage: Stage) -> None:
    """With ``handshake: answer`` the sender gets exactly what it wants to see, as often as it asks, and the bot sees nothing."""
    before = len(stage.bot.requests)
    for _ in range(2):
        check = checks()[name]
        answer = stage.ask(check, "answer")
        assert status(answer) == check.status, answer
        assert fields(answer).get("content-type", "") == check.type
        if check.answer is not None:
            assert body(answer) == check.answer
    assert len(stage.bot.requests) == before


def test_fields(stage: Stage) -> None:
    """What repeats a text says that it must not be sniffed; CloudEvents' permission names the origin, a rate and the method."""
    answer = fields(stage.ask(checks()["dropbox: challenge"], "answer"))
    assert answer["x-content-type-options"] == "nosniff" and answer["content-length"] == "6" and answer["x-request-id"]
    answer = fields(stage.ask(checks()["cloudevents-webhook: permission"], "answer"))
    assert answer["webhook-allowed-origin"] == "eventemitter.example.com"
    assert (answer["webhook-allowed-rate"], answer["allow"]) == ("*", "POST")


def test_a_ping_has_no_length(stage: Stage) -> None:
    """A 204 has neither body nor length, and the connection goes on after it."""
    raw = checks()["discord-webhook-events: ping"].raw("/discord-webhook-events-answer").replace(b"Connection: close\r\n", b"")
    with socket.create_connection(("127.0.0.1", stage.gate.port), timeout=PATIENCE) as line:
        for _ in range(2):
            line.sendall(raw)
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += line.recv(65536)
            assert status(answer) == 204 and "content-length" not in fields(answer)
            assert answer.endswith(b"\r\n\r\n")


def test_the_bound_is_a_series_from_the_start(stage: Stage) -> None:
    """That unsigned checks are bounded shows before the first is told to wait."""
    assert (
        'hookgate_findings_total{mode="enforce",reason="rate_limited",route="dropbox-answer",rule="rate"} 0.0'
        in stage.gate.get("/metrics")
    )


@pytest.mark.parametrize("name", NAMES)
def test_forwarded(name: str, stage: Stage) -> None:
    """By default the bot gets the check, its query and its body byte for byte."""
    check = checks()[name]
    # The senders' own ids and signatures must differ from those of the other tests: a repeat would not be forwarded.
    before = len(stage.seen(check, "forward"))
    answer = stage.ask(check, "forward")
    assert status(answer) == 200, answer
    seen = stage.seen(check, "forward")
    if len(seen) > before:
        target = f"/{check.provider}-forward" + (f"?{check.query}" if check.query else "")
        assert seen[-1].startswith(f"{check.method} {target} HTTP/1.1\r\n".encode())
        assert seen[-1].partition(b"\r\n\r\n")[2] == check.body
    assert seen


@pytest.mark.parametrize("name", ["slack: url_verification", "dropbox: challenge", "dingtalk: check_url"])
def test_counted(name: str, stage: Stage) -> None:
    """An answered check is a line of the log and a count of its own, never taken for a forwarded request or a refused one."""
    check = checks()[name]
    route_name = f"{check.provider}-answer"
    before = stage.gate.metric("hookgate_requests_total", route=route_name, outcome="answered", reason="handshake")
    stage.ask(check, "answer")
    assert stage.gate.metric("hookgate_requests_total", route=route_name, outcome="answered", reason="handshake") == before + 1
    until(
        lambda: [one for one in stage.gate.lines() if one.get("route") == route_name and one["outcome"] == "answered"], "a line"
    )
    assert not check.query or check.query not in stage.gate.output()
