"""A running gate tells why a signature was wrong, in log and metric, and a flood of forgeries does not make it work more."""

import asyncio
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from proxy.exchange import Exchange
from proxy.pipeline.gate import Judgement, Plan
from proxy.pipeline.inquiry import BURST, LEAST, SHARE, Inquiry
from proxy.rules.causes import Causes, Subject
from proxy.verdict import Cause, Finding, Mode, Reason, RuleName
from tests.conftest import Gates
from tests.gates import PATIENCE, Gate, RecordingBot, until
from tests.observe.exchanges import exchange
from tests.pipeline.judging import request
from tests.policies import policy_text
from tests.rules.test_causes import BODY, CASES, HMAC, NOW, OLD, OTHER, SECRET, SECRETS, digest, signed

HOOK = {
    "name": "hook",
    "path": "/secret-path",
    "secrets": SECRETS,
    "rules": {"signature": HMAC, "timestamp": {"header": "X-Timestamp", "tolerance": "2999999m", "future": "2999999m"}},
}
NEIGHBOUR = {
    "name": "rest",
    "path": "/rest",
    "secrets": [{"id": "neighbour", "value": OTHER}],
    "rules": {"signature": {"scheme": "token", "header": "X-Token"}},
}


def written(bot: RecordingBot, hook: Mapping[str, object] = HOOK, **top: object) -> str:
    """A policy of two routes."""
    return policy_text([hook, NEIGHBOUR], bot.port, **top)


def exchanges(gate: Gate) -> list[dict[str, object]]:
    """The log's lines of exchanges."""
    return [line for line in gate.lines() if line["event"] == "exchange"]


def closing(raw: bytes) -> bytes:
    """The request as the last of its connection."""
    return raw.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)


def last(gate: Gate, count: int) -> dict[str, object]:
    """The line of the exchange of this number, when it has come."""
    until(lambda: len(exchanges(gate)) == count, f"exchange {count}")
    return exchanges(gate)[-1]


def test_told(gate: Gates, bot: RecordingBot) -> None:
    """Each known change is the cause in the log's line and a count of the metric, for the enforced and for the reported."""
    # One for each line of the log: more of a kind than ten a second would be damped.
    one_each = {cause: make for cause, make in CASES if cause not in {"", "stale_timestamp"}}
    for mode in ("enforce", "report"):
        running = gate(written(bot, mode=mode), name=f"{mode}.yaml")
        for count, (cause, make) in enumerate(one_each.items(), 1):
            answer = running.send(closing(make()))
            assert answer.startswith(b"HTTP/1.1 401" if mode == "enforce" else b"HTTP/1.1 200")
            assert cause.encode() not in answer
            assert last(running, count)["cause"] == cause
            assert running.metric("hookgate_signature_mismatch_total", route="hook", cause=cause, sender="unlisted") == 1
        assert running.metric("hookgate_signature_mismatch_total") == len(one_each)
        assert SECRET not in running.output()
        running.stop()


def test_a_secret_that_was_taken_out(gate: Gates, bot: RecordingBot) -> None:
    """Who sends with a secret that a reload took away is told apart from a forger, and so is who sends with a revoked one."""
    running = gate(written(bot, {**HOOK, "secrets": [{"id": "gone", "value": OLD}, {"id": "now", "value": SECRET}]}))
    running.policy.write_text(written(bot, {**HOOK, "secrets": [{"id": "now", "value": SECRET}]}))
    until(lambda: any(line.get("message") == "policy taken" for line in running.lines()), "the reload")
    assert running.send(closing(signed(BODY, digest(BODY, OLD)))).startswith(b"HTTP/1.1 401")
    until(lambda: exchanges(running), "the line")
    assert exchanges(running)[-1]["cause"] == "previous_secret"


FLOOD = 1500


def test_bounded(gate: Gates, bot: RecordingBot, tmp_path: Path) -> None:
    """In a flood of wrong signatures each is counted and answered, and the number of searches stays below its bound."""
    running = gate(written(bot))
    forged = signed(BODY, digest(BODY, OLD))
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", running.port), timeout=PATIENCE) as sock, sock.makefile("rb") as answers:
        for _ in range(FLOOD // 50):
            sock.sendall(forged * 50)
            for _ in range(50):
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += answers.readline()
                assert head.startswith(b"HTTP/1.1 401")
                answers.read(int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]))

    def counted(**labels: str) -> float:
        return running.metric("hookgate_signature_mismatch_total", route="hook", **labels)

    until(lambda: counted() == FLOOD, "all to be counted")
    searched = counted(cause="previous_secret")
    seconds = time.monotonic() - started
    assert 1 <= searched <= (BURST + seconds * SHARE) / LEAST + 1
    assert counted(cause="unknown") == FLOOD - searched


class Quick(Causes):
    """A search that costs next to nothing, so that its price alone bounds the number of searches."""

    def __init__(self) -> None:
        self.searched = 0

    def search(self, subject: Subject, reason: Reason) -> Iterator[Cause | None]:
        """Find the same each time."""
        self.searched += 1
        yield None
        yield Cause.TRAILING_NEWLINE
        yield Cause.UNKNOWN


async def test_allowance() -> None:
    """However cheap searches are, so many are made at once and so many a second; listed senders have their own allowance."""
    told: list[Exchange] = []
    inquiry, quick = Inquiry(told.append), Quick()
    inquiry.causes = {"bot": quick}
    judgement = Judgement(Plan((), (), Mode.OFF, (), 0, None), 100)
    judgement.suspect = request(b"body")
    finding = Finding(RuleName.SIGNATURE, Reason.SIGNATURE_MISMATCH, Mode.ENFORCE)
    refused = exchange(Reason.SIGNATURE_MISMATCH, findings=(finding,))
    started, taken = time.monotonic(), 0
    while (seconds := time.monotonic() - started) < 1.5:
        inquiry.take(judgement, refused)
        taken += 1
        await asyncio.sleep(0.001)
    assert 1 <= quick.searched <= (BURST + seconds * SHARE) / LEAST + 1
    before = len(told)
    inquiry.take(judgement, refused._replace(listed=True))
    assert len(told) == before, "it waits for its cause"
    inquiry.finish()
    assert len(told) == taken + 1
    assert {one.cause for one in told} == {Cause.TRAILING_NEWLINE, Cause.UNKNOWN}


class Broken(Quick):
    """A search that breaks on its way."""

    def search(self, subject: Subject, reason: Reason) -> Iterator[Cause | None]:
        """Break after a step."""
        yield None
        raise ValueError("of a stranger's making")


async def test_one_that_breaks(caplog: pytest.LogCaptureFixture) -> None:
    """A search that breaks ends with an unknown cause and a line in the log that quotes nothing; those behind it go on."""
    told: list[Exchange] = []
    inquiry = Inquiry(told.append)
    judgement = Judgement(Plan((), (), Mode.OFF, (), 0, None), 100)
    judgement.suspect = request(b"body")
    finding = Finding(RuleName.SIGNATURE, Reason.SIGNATURE_MISMATCH, Mode.ENFORCE)
    for causes in (Broken(), Quick()):
        inquiry.causes = {"bot": causes}
        inquiry.take(judgement, exchange(Reason.SIGNATURE_MISMATCH, findings=(finding,)))
    await inquiry.caught_up()
    assert [one.cause for one in told] == [Cause.UNKNOWN, Cause.TRAILING_NEWLINE]
    assert [record.message for record in caplog.records] == ["a search broke"]
    assert "stranger" not in caplog.text


def test_ends_with_the_gate(gate: Gates, bot: RecordingBot) -> None:
    """What waits for its cause when the gate ends has its line all the same."""
    running = gate(written(bot))
    with socket.create_connection(("127.0.0.1", running.port), timeout=PATIENCE) as sock:
        sock.sendall(signed(BODY, digest(BODY, OLD)) * 5)
        received = b""
        while received.count(b"HTTP/1.1 401") < 5:
            received += sock.recv(65536)
    assert running.stop() == 0
    assert len(exchanges(running)) == 5


def test_stale(gate: Gates, bot: RecordingBot) -> None:
    """A right signature over a time that is past is no mismatch, and its line says why it was refused."""
    running = gate(written(bot, {**HOOK, "rules": {"signature": HMAC, "timestamp": {"header": "X-Timestamp"}}}))
    old = NOW - 10**9
    assert running.send(closing(signed(BODY, digest(BODY, at=old), at=old))).startswith(b"HTTP/1.1 401")
    line = until(lambda: next(iter(exchanges(running)), None), "the line")
    assert (line["reason"], line["cause"]) == ("timestamp_expired", "stale_timestamp")
    assert running.metric("hookgate_signature_mismatch_total") == 0
