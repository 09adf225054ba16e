"""Commands that speak with a running gate, and those that start one: demo, init and serve, mode, healthcheck."""

import time
from pathlib import Path

import pytest

from tests.cli.commands import ENVIRON, run
from tests.conftest import Gates
from tests.gates import TELEGRAM, TOKEN, TOKEN_FIELD, Gate, RecordingBot, body, free_port, post, serving, status

UPDATE = b'{"update_id":1,"message":{"text":"hello"}}'


def forged(gate: Gate, number: int = 0) -> int:
    """The status of a forged update."""
    return status(gate.send(post("/telegram", b'{"update_id":%d}' % number, {TOKEN_FIELD: "not the secret"})))


def turn(gate: Gate, *words: str) -> str:
    """``hookgate mode POLICY WORDS`` succeeds and says this."""
    ran = run("mode", str(gate.policy), *words, cwd=gate.policy.parent)
    assert (ran.code, ran.err) == (0, "")
    return ran.out


def test_demo_once(tmp_path: Path) -> None:
    """The demo shows one update that passes, a forged one that does not, a repeated one that is not delivered, and exits 0."""
    ran = run("demo", "--once", cwd=tmp_path)
    assert (ran.code, ran.err) == (0, "")
    told = [line.partition("->") for line in ran.out.splitlines() if "->" in line]
    assert [(name.strip(), answer.split()[0]) for name, _, answer in told] == [
        ("genuine", "200"),
        ("forged", "401"),
        ("repeated", "200"),
    ]
    assert ran.out.count("the bot has seen 1 request:") == 3
    for outcome, reason in (("forwarded", "none"), ("refused", "signature_mismatch"), ("duplicate", "replay_duplicate")):
        assert f'hookgate_requests_total{{outcome="{outcome}",reason="{reason}",route="telegram"}} 1.0' in ran.out
    assert not list(tmp_path.iterdir())


def test_init_then_serve(tmp_path: Path, bot: RecordingBot) -> None:
    """What ``init`` writes is sound and serves as it is: the genuine update passes, the forged one does not."""
    ran = run("init", "telegram", "--directory", "gate", "--upstream", f"http://127.0.0.1:{bot.port}", cwd=tmp_path)
    assert ran.code == 0
    policy, secret = tmp_path / "gate" / "policy.yaml", (tmp_path / "gate" / "secrets" / "telegram").read_text().strip()
    assert secret not in ran.out + policy.read_text()
    assert run("check", "gate/policy.yaml", cwd=tmp_path).code == 0
    # Only its ports are changed, for the sake of what else runs here.
    written = policy.read_text().replace("127.0.0.1:8080", "127.0.0.1:0")
    policy.write_text(f"{written}observe: {{address: 127.0.0.1:0}}\n")
    path = next(line.split()[1] for line in written.splitlines() if line.strip().startswith("path:"))
    with serving(policy) as gate:
        assert status(gate.send(post(path, UPDATE, {TOKEN_FIELD: secret}))) == 200
        assert status(gate.send(post(path, UPDATE, {TOKEN_FIELD: secret[::-1]}))) == 401
        assert status(gate.send(post("/telegram", UPDATE, {TOKEN_FIELD: secret}))) == 404
        assert gate.stop() == 0
        assert path not in gate.output()
        assert secret not in gate.output()
    assert len(bot.requests) == 1


def test_mode(gate: Gates, bot: RecordingBot) -> None:
    """The switch acts within a second, is shown, survives a restart, and gives control back to the file."""
    with_gate = gate(TELEGRAM.format(bot=bot.port))
    assert turn(with_gate) == "switch: not engaged (as the policy says)\ntelegram: enforce\n"
    assert forged(with_gate) == 401
    before = time.monotonic()
    assert turn(with_gate, "report") == "switch: all routes: report\ntelegram: report\n"
    assert forged(with_gate) == 200
    assert time.monotonic() - before < 5, "the command and the request together; the switch itself took no time at all"
    assert b"\r\nHookgate-Findings: " in bot.requests[-1]
    assert with_gate.metric("hookgate_switch_engaged") == 1
    assert with_gate.metric("hookgate_mode", route="telegram", mode="report") == 1
    assert with_gate.stop() == 0
    with serving(with_gate.policy) as again:
        assert turn(again) == "switch: all routes: report\ntelegram: report\n"
        assert forged(again) == 200
        assert turn(again, "policy") == "switch: not engaged (as the policy says)\ntelegram: enforce\n"
        assert forged(again) == 401
        assert again.metric("hookgate_switch_engaged") == 0


def test_mode_share_of_a_route(gate: Gates, bot: RecordingBot) -> None:
    """A share of one route's requests is enforced, and the same body always falls on the same side."""
    with_gate = gate(TELEGRAM.format(bot=bot.port))
    assert turn(with_gate, "5%", "--route", "telegram") == "switch: telegram: 5%\ntelegram: 5%\n"
    sides = [[forged(with_gate, number) for number in range(200)] for _ in range(2)]
    assert sides[0] == sides[1]
    assert 1 <= sides[0].count(401) <= 25
    assert sides[0].count(200) == 200 - sides[0].count(401)
    assert turn(with_gate, "enforce", "--route", "telegram").startswith("switch: telegram: enforce\n")
    assert {forged(with_gate, number) for number in range(20)} == {401}


def test_mode_says_what_stays_pinned(gate: Gates, bot: RecordingBot) -> None:
    """In report mode Discord's wrong signature is refused still, and the verb says so beside that route alone."""
    key = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    discord = f"  - {{name: discord, path: /discord, provider: discord, secrets: [{{id: key, value: {key}}}]}}\n"
    with_gate = gate(TELEGRAM.format(bot=bot.port) + discord)
    stays = "; pinned, and enforced in every mode: signature\n"
    assert turn(with_gate) == f"switch: not engaged (as the policy says)\ntelegram: enforce\ndiscord: enforce{stays}"
    assert turn(with_gate, "report") == f"switch: all routes: report\ntelegram: report\ndiscord: report{stays}"
    probe = {"X-Signature-Ed25519": "00" * 64, "X-Signature-Timestamp": str(int(time.time()))}
    assert status(with_gate.send(post("/discord", b'{"type":1}', probe))) == 401
    assert forged(with_gate) == 200


def test_mode_refused(gate: Gates, bot: RecordingBot) -> None:
    """A route that does not exist is named, and nothing is turned."""
    with_gate = gate(TELEGRAM.format(bot=bot.port))
    ran = run("mode", str(with_gate.policy), "report", "--route", "telegarm", cwd=with_gate.policy.parent)
    assert (ran.code, ran.sentence()) == (1, "hookgate: no route is named 'telegarm'")
    assert turn(with_gate).startswith("switch: not engaged")


def test_mode_over_tcp(gate: Gates, bot: RecordingBot, tmp_path: Path) -> None:
    """Over TCP the switch turns only for who holds the token; one who cannot read it is told so."""
    (tmp_path / "token").write_text("t" * 16 + "u" * 16)
    port = free_port()
    admin = f"admin: {{address: 127.0.0.1:{port}, token: {{from_file: token}}}}\n"
    with_gate = gate(admin + TELEGRAM.format(bot=bot.port))
    assert turn(with_gate, "report").startswith("switch: all routes: report")
    (tmp_path / "token").write_text("v" * 32)
    ran = run("mode", str(with_gate.policy), "enforce", cwd=tmp_path)
    assert (ran.code, ran.sentence()) == (1, "hookgate: unauthorized")
    (tmp_path / "token").unlink()
    ran = run("mode", str(with_gate.policy), "enforce", cwd=tmp_path)
    assert ran.code == 1
    assert "the admin token cannot be read from token (no such file or directory)" in ran.sentence()
    assert forged(with_gate) == 200


@pytest.mark.parametrize("verb", ["mode", "healthcheck"])
def test_nobody_there(tmp_path: Path, verb: str) -> None:
    """Where no gate runs, the commands say so and end with 1."""
    text = TELEGRAM.format(bot=9).replace("observe: {address: 127.0.0.1:0}", f"observe: {{address: 127.0.0.1:{free_port()}}}")
    (tmp_path / "policy.yaml").write_text(text)
    ran = run(verb, "policy.yaml", cwd=tmp_path)
    assert ran.code == 1
    assert ran.sentence().startswith("hookgate: no gate answers at ")
    assert ran.sentence().endswith(": is it running, and may this user reach it?")


def test_something_else_there(tmp_path: Path, gate: Gates, bot: RecordingBot) -> None:
    """Where something else answers, the command says so."""
    text = TELEGRAM.format(bot=bot.port)
    (tmp_path / "token").write_text("t" * 16 + "u" * 16)
    admin = f"admin: {{address: 127.0.0.1:{bot.port}, token: {{from_file: token}}}}\n"
    (tmp_path / "policy.yaml").write_text(admin + text)
    ran = run("mode", "policy.yaml", cwd=tmp_path)
    assert ran.code == 1
    assert "is no gate" in ran.sentence()


def test_healthcheck(gate: Gates, bot: RecordingBot) -> None:
    """A live gate is 0, by the policy file alone: no secret is needed."""
    observe = f"observe: {{address: 0.0.0.0:{free_port()}}}"  # as in a container; asked on the loopback address all the same
    text = TELEGRAM.format(bot=bot.port).replace("observe: {address: 127.0.0.1:0}", observe)
    with_gate = gate(text.replace("value: a-secret-of-thirty-two-bytes-0123", "from_env: TELEGRAM_SECRET"), ENVIRON)
    words = ("healthcheck", str(with_gate.policy))
    environ = {name: value for name, value in ENVIRON.items() if name != "TELEGRAM_SECRET"}
    ran = run(*words, cwd=with_gate.policy.parent, environ=environ)
    assert (ran.code, ran.out, ran.err) == (0, "live\n", "")
    assert with_gate.stop() == 0
    assert run(*words, cwd=with_gate.policy.parent, environ=environ).code == 1


def test_answers_are_empty_of_hints(gate: Gates, bot: RecordingBot) -> None:
    """The answer to a forgery names neither rule nor secret."""
    with_gate = gate(TELEGRAM.format(bot=bot.port))
    said = body(with_gate.send(post("/telegram", UPDATE, {TOKEN_FIELD: TOKEN[:-1]})))
    assert said.startswith(b'{"error":"unauthorized","request_id":"')
    assert len(said) == 56
