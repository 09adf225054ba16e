"""Secrets of a running gate: shown, and taken out of service at once and for good."""

import json
import shutil
import time
from pathlib import Path

from tests.cli.commands import run
from tests.conftest import Gates
from tests.gates import TOKEN, TOKEN_FIELD, TOP, Gate, RecordingBot, post, status, until

OLD, NEW = TOKEN, "another-secret-of-thirty-two-byte"

POLICY = (
    TOP
    + """\
upstream: {{url: "http://127.0.0.1:{bot}"}}
routes:
  - name: telegram
    path: /telegram
    provider: telegram
    secrets:
      - {{id: "2026-08", value: {old}}}
      - {{id: "2026-11", from_file: new}}
      - {{id: "2027-02", value: {new}-yet-to-come, not_before: 2999-01-01T00:00:00Z}}
"""
)


def serve(gate: Gates, folder: Path, bot: RecordingBot) -> Gate:
    """A gate with three secrets, one of them from a file."""
    (folder / "new").write_text(f"{NEW}\n")
    return gate(POLICY.format(bot=bot.port, old=OLD, new=NEW))


def update(gate: Gate, number: int, secret: str) -> int:
    """The status of an update with this secret."""
    return status(gate.send(post("/telegram", b'{"update_id":%d}' % number, {TOKEN_FIELD: secret})))


def states(folder: Path) -> dict[str, dict[str, object]]:
    """What ``secret status`` tells, by id."""
    said = run("secret", "status", "policy.yaml", "--format", "json", cwd=folder)
    assert said.code == 0, said.err
    assert OLD not in said.out
    assert NEW not in said.out
    return {one["id"]: one for one in json.loads(said.out)["secrets"]}


def test_status(gate: Gates, bot: RecordingBot, tmp_path: Path) -> None:
    """State, age, window, matches and last use of each secret; its value never."""
    running = serve(gate, tmp_path, bot)
    before = time.time()
    assert [update(running, number, OLD) for number in range(3)] == [200] * 3
    assert update(running, 9, NEW) == 200
    told = states(tmp_path)
    assert {id: one["state"] for id, one in told.items()} == {"2026-08": "active", "2026-11": "active", "2027-02": "pending"}
    assert [told[id]["matches"] for id in ("2026-08", "2026-11", "2027-02")] == [3, 1, 0]
    last = told["2026-08"]["last_match"]
    assert isinstance(last, float)
    assert before - 1 < last < time.time() + 1
    assert told["2026-11"]["created"] == (tmp_path / "new").stat().st_mtime
    text = run("secret", "status", "policy.yaml", cwd=tmp_path).out
    assert [line.split()[:3] for line in text.splitlines()[1:]] == [
        ["telegram", "2026-08", "active"],
        ["telegram", "2026-11", "active"],
        ["telegram", "2027-02", "pending"],
    ]
    assert "never" in text
    assert "2999-01-01T00:00:00Z" in text
    assert running.metric("hookgate_secret_matches_total", route="telegram", secret="2026-08") == 3  # noqa: S106 - an id
    assert running.metric("hookgate_secret_last_match_timestamp_seconds", secret="2026-08") == last  # noqa: S106 - an id
    created = running.metric("hookgate_secret_created_timestamp_seconds", secret="2026-11")  # noqa: S106 - an id
    assert created == (tmp_path / "new").stat().st_mtime


def test_revoke(gate: Gates, bot: RecordingBot, tmp_path: Path) -> None:
    """A revoked secret is refused from the next request on, after a reload and after a restart; the others go on."""
    running = serve(gate, tmp_path, bot)
    assert update(running, 1, OLD) == 200
    said = run("secret", "revoke", "policy.yaml", "telegram", "2026-08", cwd=tmp_path)
    assert (said.code, said.out, said.err) == (0, "telegram: secret 2026-08 is revoked; 1 active left\n", "")
    assert (update(running, 2, OLD), update(running, 3, NEW)) == (401, 200)
    text = running.policy.read_text()
    running.policy.write_text(text + "# touched\n")
    until(lambda: any(line.get("message") == "policy taken" for line in running.lines()), "the reload")
    assert (update(running, 4, OLD), update(running, 5, NEW)) == (401, 200)
    assert states(tmp_path)["2026-08"]["state"] == "revoked"
    assert running.stop() == 0
    again = gate(text)
    assert (update(again, 6, OLD), update(again, 7, NEW)) == (401, 200)
    warned = [line["message"] for line in again.lines() if line["level"] == "warning" and "revoked" in line.get("message", "")]
    assert len(warned) == 1
    assert "'2026-08' of route 'telegram'" in warned[0]


def test_the_last_one(gate: Gates, bot: RecordingBot, tmp_path: Path) -> None:
    """The last active secret can be revoked too, and then it is said loudly what that means."""
    running = serve(gate, tmp_path, bot)
    run("secret", "revoke", "policy.yaml", "telegram", "2026-08", cwd=tmp_path)
    said = run("secret", "revoke", "policy.yaml", "telegram", "2026-11", cwd=tmp_path)
    assert said.code == 0
    assert "0 active left" in said.out
    assert "no active secret left: every request to it is refused" in said.err
    assert (update(running, 1, OLD), update(running, 2, NEW)) == (401, 401)


def test_unknown(gate: Gates, bot: RecordingBot, tmp_path: Path) -> None:
    """A route or an id that is none is told, and nothing is revoked."""
    running = serve(gate, tmp_path, bot)
    for words in (("telegram", "2025"), ("telegramm", "2026-08")):
        said = run("secret", "revoke", "policy.yaml", *words, cwd=tmp_path)
        assert said.code == 1
        assert "see hookgate secret status" in said.sentence()
    assert update(running, 1, OLD) == 200
    assert not (tmp_path / "state" / "revoked.json").exists()


def test_no_gate(tmp_path: Path) -> None:
    """Where no gate runs, one sentence says so."""
    (tmp_path / "policy.yaml").write_text(POLICY.format(bot=9, old=OLD, new=NEW))
    for words in (("status", "policy.yaml"), ("revoke", "policy.yaml", "telegram", "2026-08")):
        said = run("secret", *words, cwd=tmp_path)
        assert said.code == 1
        assert "no gate answers" in said.sentence()


def test_not_kept(gate: Gates, bot: RecordingBot, tmp_path: Path) -> None:
    """Where the revocation cannot be kept the secret is dead all the same, and the answer says what a restart would do."""
    running = serve(gate, tmp_path, bot)
    shutil.rmtree(tmp_path / "state")
    said = run("secret", "revoke", "policy.yaml", "telegram", "2026-08", cwd=tmp_path)
    assert said.code == 1
    assert "the next restart will forget it" in said.sentence()
    assert (update(running, 1, OLD), update(running, 2, NEW)) == (401, 200)


def test_damaged_file(gate: Gates, bot: RecordingBot, tmp_path: Path) -> None:
    """A gate does not start over a damaged list of what is revoked: it names the file and the remedy."""
    (tmp_path / "new").write_text(NEW)
    (tmp_path / "policy.yaml").write_text(POLICY.format(bot=bot.port, old=OLD, new=NEW))
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "revoked.json").write_text('{"telegram": {"2026')
    said = run("serve", "policy.yaml", cwd=tmp_path)
    assert said.code == 1
    assert "revoked.json" in said.out + said.err
    assert "backup" in said.out + said.err
