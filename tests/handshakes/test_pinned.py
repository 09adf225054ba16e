"""A sender that probes with forged requests sees them refused in every mode: file, switch and share loosen no pinned rule."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from proxy.cli import main
from proxy.policy.reader import read_policy
from proxy.verdict import Reason
from tests.conftest import Gates
from tests.gates import RecordingBot, status
from tests.handshakes.judged import asked, gate_for, judge
from tests.handshakes.senders import DISCORD_KEY, SECRET, Check, discord, json_body, route
from tests.policies import policy_text

STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(32))
PROVIDERS = ["discord-interactions", "discord-webhook-events"]


def probes(body: bytes) -> dict[str, dict[str, str]]:
    """Requests as Discord sends them to see whether they are refused."""
    right = discord(body)
    stamp = right["X-Signature-Timestamp"]
    return {
        "another key": discord(body, STRANGER),
        "zeros": {**right, "X-Signature-Ed25519": "0" * 128},
        "no hex": {**right, "X-Signature-Ed25519": "z" * 128},
        "too short": {**right, "X-Signature-Ed25519": right["X-Signature-Ed25519"][:-2]},
        "another time": {**right, "X-Signature-Timestamp": str(int(stamp) + 1)},
        "no time": {name: value for name, value in right.items() if name != "X-Signature-Timestamp"},
        "no signature": {name: value for name, value in right.items() if name != "X-Signature-Ed25519"},
        "neither": {"Content-Type": "application/json"},
    }


@pytest.mark.parametrize("provider", PROVIDERS)
def test_whatever_the_switch_says(provider: str, gate: Gates, bot: RecordingBot, tmp_path: Path) -> None:
    """On a running gate, in the mildest modes of the file and each turn of the switch: probes get 401, genuine requests pass."""
    count = 0
    for mode in ("report", "off"):
        routes = [{**route(provider, "forward"), "mode": mode}]
        admin = {"address": f"unix:{tmp_path}/a.sock"}
        text = policy_text(routes, bot.port, admin=admin, state_directory=f"{tmp_path}/state-{mode}")
        running = gate(text, name=f"{mode.strip('%')}.yaml")
        for turn in (None, "report", "5%", "policy"):
            if turn is not None:
                assert main(["mode", str(running.policy), turn]) == 0
            for name, fields in probes(json_body(id="1", type=2)).items():
                raw = Check(provider, "POST", "", fields, json_body(id="1", type=2), 401, "", b"").raw(f"/{provider}-forward")
                assert status(running.send(raw)) == 401, (mode, turn, name)
            count += 1
            body = json_body(id=str(count), type=2)
            raw = Check(provider, "POST", "", discord(body), body, 200, "", b"").raw(f"/{provider}-forward")
            assert status(running.send(raw)) == 200, (mode, turn)
            assert len(bot.requests) == count
        running.stop()


@pytest.mark.parametrize("mode", ["report", "off", "5%"])
async def test_others_are_not_pinned(mode: str, tmp_path: Path) -> None:
    """Where nothing is pinned, the mode decides as ever: of a share's many requests some are refused, and some pass."""
    gate = await gate_for(tmp_path, "slack", {"value": SECRET}, handshake="forward", mode=mode)
    judged = [await judge(gate, asked("POST", "", {}, b'{"event_id":"Ev%d"}' % number)) for number in range(300)]
    reasons = {one.reason for one in judged if one is not None}
    assert reasons == ({Reason.NONE, Reason.SIGNATURE_MISSING} if mode == "5%" else {Reason.NONE})


@pytest.mark.parametrize("mode", ["report", "off", "1%"])
async def test_at_the_door(mode: str, tmp_path: Path) -> None:
    """A pinned token, which the head shows, is refused before the body is read, in every mode."""
    gate = await gate_for(tmp_path, "kakao", {"value": SECRET}, handshake="forward", mode=mode, pinned=["signature"])
    for body in (b"{}", b'{"a":1}', b'{"a":2}', b'{"a":3}'):
        judged = await judge(gate, asked("POST", "", {"Authorization": "KakaoAK wrong", "X-Kakao-Resource-ID": "1"}, body))
        assert judged is not None and judged.status == 401


async def test_one_may_unpin(tmp_path: Path) -> None:
    """Who says pinned: [] has said that the address may be lost."""
    gate = await gate_for(tmp_path, "discord-interactions", {"value": DISCORD_KEY}, handshake="forward", mode="report", pinned=[])
    judged = await judge(gate, asked("POST", "", {}, b'{"id":"1"}'))
    assert judged is not None and judged.reason is Reason.NONE


def test_check_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``hookgate check`` tells that the mode does not reach that rule."""
    file = tmp_path / "policy.yaml"
    file.write_text(policy_text([route("discord-interactions", "forward")]))
    assert main(["check", str(file)]) == 0
    assert "signature stays enforced whatever the mode and the switch say" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("pinned", "told"),
    [(["ip"], "the route has no ip rule"), (["replay"], "replay cannot be pinned"), (["signatures"], "must be ")],
)
def test_bad_input(pinned: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A rule that is not there, or that genuine requests fail too, cannot be pinned."""
    file = tmp_path / "policy.yaml"
    file.write_text(policy_text([{**route("slack", "forward"), "pinned": pinned}]))
    assert main(["check", str(file)]) == 78
    assert told in capsys.readouterr().out


def test_presets_of_discord_alone(tmp_path: Path) -> None:
    """No other preset takes the mode out of an operator's hands."""
    from proxy.policy.presets import PRESETS, preset

    assert [name for name in PRESETS if preset(name).route.get("pinned")] == PROVIDERS
    file = tmp_path / "policy.yaml"
    file.write_text(json.dumps(json.loads(policy_text([route(PROVIDERS[0], "answer")]))))
    assert read_policy(file, {}).policy.routes[0].pinned
