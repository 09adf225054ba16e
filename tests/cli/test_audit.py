"""A gate's audit: what it holds, that it changes nothing for a request, and that ``audit verify`` finds what was done to it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import ENVIRON, run
from tests.cli.inprocess import hookgate
from tests.conftest import Gates
from tests.gates import TELEGRAM, TOKEN, TOKEN_FIELD, Gate, RecordingBot, post, status, until

KEY = "a-key-of-more-than-sixteen-bytes"
WRONG = "a-guess-that-is-long-enough-too"


def told(folder: Path) -> list[dict[str, Any]]:
    """The lines of the audit."""
    path = folder / "kept" / "audit.log"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def events(folder: Path) -> list[str]:
    """Their events."""
    return [line["event"] for line in told(folder)]


def update(gate: Gate, number: int, secret: str = TOKEN) -> int:
    """The status of an update."""
    return status(gate.send(post("/telegram", b'{"update_id":%d}' % number, {TOKEN_FIELD: secret})))


def audited(bot: RecordingBot, key: str = "") -> str:
    """A policy with an audit."""
    second = TELEGRAM.format(bot=bot.port).replace(
        "secrets: [{id: first", "secrets: [{id: second, value: another-secret-of-thirty-two-byte}, {id: first"
    )
    return second + f"audit: {{file: kept/audit.log{key}}}\n"


def test_what_it_holds(gate: Gates, bot: RecordingBot, tmp_path: Path) -> None:
    """Start, refusals, turns of the switch, reloads, secrets, the end; and nothing that is nobody's business."""
    running = gate(audited(bot))
    assert [update(running, 1), update(running, 2, WRONG), update(running, 1, WRONG)] == [200, 401, 401]
    assert run("mode", "policy.yaml", "report", cwd=tmp_path).code == 0
    assert run("mode", "policy.yaml", "policy", cwd=tmp_path).code == 0
    assert run("secret", "revoke", "policy.yaml", "telegram", "second", cwd=tmp_path).code == 0
    text = running.policy.read_text()
    running.policy.write_text(text.replace("routes:", "routes: nothing\n# routes:"))
    until(lambda: events(tmp_path).count("reload") == 1, "the refused reload")
    running.policy.write_text(text.replace("id: second", "id: third"))
    until(lambda: "secrets" in events(tmp_path), "the reload")
    assert running.stop() == 0
    lines = told(tmp_path)
    order = [line["event"] for line in lines if line["event"] != "refusal"]
    assert order == ["start", "mode", "mode", "revoke", "reload", "reload", "secrets", "stop"]
    refusals = [line for line in lines if line["event"] == "refusal"]
    assert [line["reason"] for line in refusals] == ["signature_mismatch"] * 2
    assert {"request_id", "client", "peer", "route", "status", "time"} <= refusals[0].keys()
    by = {line["event"]: line for line in lines}
    assert (by["revoke"]["route"], by["revoke"]["secret"], by["revoke"]["active"]) == ("telegram", "second", 1)
    assert (by["secrets"]["added"], by["secrets"]["removed"]) == (["third"], ["second"])
    assert [line["taken"] for line in lines if line["event"] == "reload"] == [False, True]
    raw = (tmp_path / "kept" / "audit.log").read_text()
    for hidden in (TOKEN, WRONG, "/telegram", "update_id", "another-secret"):
        assert hidden not in raw
    assert run("audit", "verify", "kept/audit.log", cwd=tmp_path).code == 0


@pytest.mark.parametrize("key", ["", ", key: {from_env: KEY}"])
def test_verify(key: str, gate: Gates, bot: RecordingBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole file is exit 0 with its last digest, over a restart too; a changed, removed or moved line is exit 1."""
    monkeypatch.setenv("KEY", KEY)
    monkeypatch.chdir(tmp_path)
    given = ("--key-env", "KEY") if key else ()

    def verify(*words: str) -> tuple[int, str]:
        ran = hookgate("audit", "verify", *words, *given)
        return ran.code, ran.text

    for _ in range(2):
        running = gate(audited(bot, key))
        assert update(running, 1, WRONG) == 401
        assert running.stop() == 0
    path = tmp_path / "kept" / "audit.log"
    lines = path.read_text().splitlines(keepends=True)
    last = json.loads(lines[-1])["mac" if key else "hash"]
    assert verify("kept/audit.log") == (0, f"6 lines, whole; last {last}\n")
    assert verify("kept/audit.log", "--last", last)[0] == 0
    for broken, number in (
        ([*lines[:1], lines[1].replace('"time":"2', '"time":"3'), *lines[2:]], 2),
        ([*lines[:2], *lines[3:]], 3),
        ([lines[0], lines[2], lines[1], *lines[3:]], 2),
        (lines[1:], 1),
    ):
        path.write_text("".join(broken))
        code, out = verify("kept/audit.log")
        assert code == 1
        assert out.startswith(f"line {number} ")
        assert "broken in " in out
    path.write_text("".join(lines[:-1]))
    assert verify("kept/audit.log")[0] == 0
    code, out = verify("kept/audit.log", "--last", last)
    assert code == 1
    assert "removed at the end" in out
    if key:
        without = hookgate("audit", "verify", "kept/audit.log")
        assert without.code == 1
        assert "was made with a key" in without.text


def test_files_of_a_rotation(gate: Gates, bot: RecordingBot, tmp_path: Path) -> None:
    """A running gate goes on in a new file; both together are one chain, the second alone needs the first one's digest."""
    running = gate(audited(bot))
    until(lambda: told(tmp_path), "the first line")
    (tmp_path / "kept" / "audit.log").rename(tmp_path / "kept" / "old")
    assert update(running, 1, WRONG) == 401
    until(lambda: told(tmp_path), "the new file")
    assert running.stop() == 0
    assert run("audit", "verify", "kept/old", "kept/audit.log", cwd=tmp_path).code == 0
    alone = run("audit", "verify", "kept/audit.log", cwd=tmp_path)
    assert alone.code == 1
    assert "--after" in alone.out
    digest = json.loads((tmp_path / "kept" / "old").read_text().splitlines()[-1])["hash"]
    assert run("audit", "verify", "kept/audit.log", "--after", digest, cwd=tmp_path).code == 0


def test_workers(gate: Gates, bot: RecordingBot, tmp_path: Path) -> None:
    """Parent and workers write one chain, and a revocation is in force on all of them at once."""
    policy = audited(bot).replace('"memory:"', '"sqlite:state/claims.db"') + "workers: 2\n"
    running = gate(policy)
    second = "another-secret-of-thirty-two-byte"
    assert {update(running, number, second) for number in range(20)} == {200}
    assert run("secret", "revoke", "policy.yaml", "telegram", "second", cwd=tmp_path).code == 0
    assert {update(running, number, second) for number in range(100, 130)} == {401}
    assert {update(running, number) for number in range(200, 220)} == {200}
    told_of = json.loads(run("secret", "status", "policy.yaml", "--format", "json", cwd=tmp_path).out)["secrets"]
    assert {one["id"]: (one["state"], one["matches"]) for one in told_of} == {"second": ("revoked", 20), "first": ("active", 20)}
    assert running.stop() == 0
    assert events(tmp_path).count("refusal") + sum(line.get("count", 0) for line in told(tmp_path)) == 30
    verified = run("audit", "verify", "kept/audit.log", cwd=tmp_path)
    assert verified.code == 0, verified.out


def test_unusable(tmp_path: Path) -> None:
    """A weak key is a fault of the policy; a file that is no audit ends the start, and a missing one the verifying."""
    small = TELEGRAM.format(bot=9)
    (tmp_path / "policy.yaml").write_text(small + "audit: {file: policy.yaml, key: {from_env: KEY}}\n")
    weak = run("check", "policy.yaml", cwd=tmp_path, environ={**ENVIRON, "KEY": "short"})
    assert weak.code == 78
    assert "audit.key: the key is shorter than 16 bytes" in weak.out + weak.err
    started = run("serve", "policy.yaml", cwd=tmp_path, environ={**ENVIRON, "KEY": KEY})
    assert started.code == 1
    assert "does not end in a line of its chain" in started.out + started.err
    missing = run("audit", "verify", "nothing", cwd=tmp_path)
    assert missing.code == 1
    assert "nothing cannot be read" in missing.sentence()
