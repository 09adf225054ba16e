"""A running gate takes new policies and turns its switch, also when the disk or a mount is not in the mood."""

from pathlib import Path

import pytest

from proxy.cli.ask import ask
from proxy.policy.endpoints import Endpoint
from tests.conftest import Gates
from tests.gates import TELEGRAM, TOKEN, TOKEN_FIELD, Gate, RecordingBot, post, status, until

OTHER = "another-secret-of-thirty-two-byt"


def answered(gate: Gate, update: int, token: str) -> int:
    """The status of one update."""
    return status(gate.send(post("/telegram", b'{"update_id":%d}' % update, {TOKEN_FIELD: token})))


def told(gate: Gate) -> int:
    """How many forwarded exchanges stand in the log."""
    return sum(line.get("outcome") == "forwarded" for line in gate.lines())


def test_rotation(gate: Gates, bot: RecordingBot) -> None:
    """A secret that a reload brings is tried, counted under its id and told in the log; one that it takes away is dead."""
    running = gate(TELEGRAM.format(bot=bot.port))
    assert answered(running, 1, TOKEN) == 200

    running.policy.write_text(
        TELEGRAM.format(bot=bot.port).replace("{id: first, value: " + TOKEN, "{id: second, value: " + OTHER)
    )
    until(lambda: answered(running, 2, OTHER) == 200 or None, "the new secret to count")

    assert answered(running, 3, TOKEN) == 401
    assert running.metric("hookgate_secret_matches_total", secret="second") == 1  # noqa: S106 - an id
    until(lambda: told(running) == 2 or None, "both updates in the log")
    assert "an observer broke" not in running.output()


def test_late_secret(gate: Gates, bot: RecordingBot, tmp_path: Path) -> None:
    """A policy that names a secret file which is still to come is taken once the file is there, told once meanwhile."""
    running = gate(TELEGRAM.format(bot=bot.port))
    reference = "{id: second, from_file: late}"

    running.policy.write_text(TELEGRAM.format(bot=bot.port).replace("{id: first, value: " + TOKEN + "}", reference))
    until(lambda: running.metric("hookgate_policy_last_reload_successful") == 0 or None, "the policy to be refused")
    assert answered(running, 1, TOKEN) == 200
    (tmp_path / "late").write_text(OTHER)
    until(lambda: answered(running, 2, OTHER) == 200 or None, "the policy to be taken")

    assert running.metric("hookgate_policy_last_reload_successful") == 1
    assert sum("policy not taken" in line.get("message", "") for line in running.lines()) == 1


def test_switch_without_disk(gate: Gates, bot: RecordingBot, tmp_path: Path) -> None:
    """A switch that cannot be kept is turned all the same, and says that the next restart will forget it."""
    running = gate(TELEGRAM.format(bot=bot.port))
    state = tmp_path / "state"
    state.rename(tmp_path / "gone")
    state.write_text("a file where the folder should be")

    said = ask(Endpoint("", 0, str(tmp_path / "run" / "admin.sock")), "POST", "/mode", {"mode": "report", "route": None})

    assert said.status == 500
    assert b"the next restart will forget it" in said.body
    assert answered(running, 1, "a-wrong-secret") == 200
    assert running.metric("hookgate_switch_engaged") == 1


@pytest.mark.parametrize("what", ["listen", "store"])
def test_fixed(gate: Gates, bot: RecordingBot, what: str) -> None:
    """What a running gate cannot change is refused as a whole, with the remedy; the rest of that policy is not taken either."""
    running = gate(TELEGRAM.format(bot=bot.port))
    changed = {
        "listen": ("listen: {address: 127.0.0.1:0}", "listen: {address: 127.0.0.2:0}"),
        "store": ("memory:", "sqlite:x.db"),
    }
    text = TELEGRAM.format(bot=bot.port).replace(*changed[what]).replace(TOKEN, OTHER)

    running.policy.write_text(text)
    until(lambda: running.metric("hookgate_policy_last_reload_successful") == 0 or None, "the policy to be refused")

    assert answered(running, 1, TOKEN) == 200
    sentence = f": {what}: cannot change while the gate runs: restart it"
    until(lambda: sentence in running.output() or None, "the reason in the log")
