"""What the policy says of handshakes: faults with a remedy, secrets that stay secret, and what explain tells."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from proxy.cli import main
from proxy.policy.handshakes import Handshake
from proxy.policy.presets import PRESETS, preset
from proxy.policy.reader import read_policy
from tests.conftest import Gates
from tests.gates import RecordingBot, status
from tests.handshakes.senders import SECRET, SHARED, VERIFY, checks, route
from tests.policies import policy_text

FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"provider": "messenger", "handshake": "answer"}, "answering verification needs the token that was agreed with the sender"),
    ({"provider": "vk", "handshake": "answer"}, "answering confirmation needs the token"),
    ({"provider": "cloudevents-webhook", "handshake": "answer"}, "answering permission needs handshake.origins"),
    ({"provider": "stripe", "handshake": "answer"}, "there is nothing to answer: provider stripe knows no handshake"),
    ({"provider": "notion", "handshake": "answer"}, "there is nothing to answer: provider notion knows no handshake"),
    ({"provider": "slack", "handshake": "anser"}, "must be 'forward' or 'answer'"),
    (
        {"provider": "slack", "handshake": {"mode": "answer", "token": {"value": SECRET}}},
        "no handshake of provider slack has a token",
    ),
    ({"provider": "slack", "handshake": {"origins": ["a"]}}, "no handshake of provider slack has an origin"),
    ({"provider": "messenger", "handshake": {"token": {"value": ""}}}, "the token is empty"),
    ({"provider": "messenger", "handshake": {"token": {"value": "é-token"}}}, "the token must be printable ASCII"),
    ({"provider": "messenger", "handshake": {"token": {"from_file": "no/such"}}}, "no/such cannot be read"),
    ({"provider": "messenger", "handshake": {"token": {"from_env": "HOOKGATE_NO_SUCH"}}}, "HOOKGATE_NO_SUCH is not set"),
]


@pytest.mark.parametrize(("given", "told"), FAULTS, ids=[told for _, told in FAULTS])
def test_faults(given: dict[str, Any], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each fault names its place and what to do; none shows a secret."""
    file = tmp_path / "policy.yaml"
    file.write_text(policy_text([{"name": "a", "path": "/a", "secrets": [{"id": "s", "value": SECRET}], **given}]))
    assert main(["check", str(file)]) == 78
    out = capsys.readouterr().out
    assert told in out and "routes[0]" in out
    assert SECRET not in out and "é-token" not in out


def test_weak_values_in_a_mapping(tmp_path: Path) -> None:
    """A secret that is the mapping of its values may be weak, and may end, like one of a list."""
    file = tmp_path / "policy.yaml"
    values = {name: {"value": value} for name, value in {**SHARED, "token": "QDG6eK"}.items()}
    secrets = {**values, "allow_weak": True, "not_after": "2999-01-01T00:00:00Z"}
    file.write_text(policy_text([{"name": "a", "path": "/a", "provider": "wecom", "secrets": secrets}]))
    (secret,) = read_policy(file, {}).secrets["a"]
    assert secret.reveal("token") == b"QDG6eK" and secret.not_after is not None


def test_inline_tokens_need_leave(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A verify token in the policy itself is a fault without ``allow_inline_secrets``."""
    file = tmp_path / "policy.yaml"
    file.write_text(policy_text([route("messenger", "answer")], allow_inline_secrets=False))
    assert main(["check", str(file)]) == 78
    assert "routes[0].handshake.token.value: a secret in the policy itself" in capsys.readouterr().out


def test_print(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``check --print`` shows the handshakes and no token."""
    file = tmp_path / "policy.yaml"
    file.write_text(policy_text([route("messenger", "answer"), route("wecom", "answer")]))
    assert main(["check", str(file), "--print"]) == 0
    out = capsys.readouterr().out
    assert "hub.challenge" in out and "mode: answer" in out
    assert VERIFY not in out and SECRET not in out


def test_token_file(gate: Gates, bot: RecordingBot, tmp_path: Path) -> None:
    """A token's file lies beside the policy, is watched, and a swapped one counts."""
    (tmp_path / "verify").write_text("first-token\n")
    given = route("messenger", "answer") | {"handshake": {"mode": "answer", "token": {"from_file": "verify"}}}
    running = gate(policy_text([given], bot.port))
    assert tmp_path / "verify" in read_policy(running.policy, {}).watched
    query = "hub.mode=subscribe&hub.challenge=1&hub.verify_token=first-token"
    answer = running.send(checks()["messenger: verification"]._replace(query=query).raw("/messenger-answer"))
    assert status(answer) == 200 and answer.endswith(b"\r\n\r\n1")
    assert "first-token" not in running.output()


NAMES = ["slack: url_verification", "messenger: verification", "feishu: encrypted", "dropbox: challenge", "wecom: echostr"]


@pytest.mark.parametrize("mode", ["answer", "forward"])
@pytest.mark.parametrize("name", NAMES)
def test_explain(name: str, mode: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``hookgate explain`` judges a saved check as the gate would and says who answers it; that is no refusal."""
    check = checks()[name]
    file, saved = tmp_path / "policy.yaml", tmp_path / "request"
    file.write_text(policy_text([route(check.provider, mode)]))
    saved.write_bytes(check.raw(f"/{check.provider}-{mode}"))
    assert main(["explain", str(file), str(saved), "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["outcome"], told["reason"]) == (("answered", "handshake") if mode == "answer" else ("forwarded", "none"))
    assert main(["explain", str(file), str(saved)]) == 0
    out = capsys.readouterr().out
    assert ("it would be answered here" in out) == (mode == "answer")
    assert ("signature" in out) == (check.signed or (name.startswith(("messenger", "feishu"))))


def test_explain_a_wrong_token(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong verify token is explained as a signature that did not match, answered 403."""
    file, saved = tmp_path / "policy.yaml", tmp_path / "request"
    file.write_text(policy_text([route("messenger", "answer")]))
    check = checks()["messenger: verification"]
    saved.write_bytes(check._replace(query=check.query.replace(VERIFY, "x")).raw("/messenger-answer"))
    assert main(["explain", str(file), str(saved)]) == 1
    assert "refused: signature_mismatch, answered 403" in capsys.readouterr().out


HARMFUL: list[tuple[dict[str, Any], str]] = [
    ({"proof": "none", "when": ("json:/a=b",)}, "exact shape"),
    ({"proof": "none", "when": ("query:a=b",)}, "exact shape"),
    ({"proof": "token", "query": ()}, "belong together"),
    ({"answer": {"body": "{echo}"}}, "needs echo"),
    ({"answer": {"body": "{hmac:hex}"}}, "needs echo"),
    ({"echo": {"source": "json:/a", "allowed": "<a"}}, "may have no quotes"),
    ({"echo": {"source": "json:/a", "allowed": '"'}}, "may have no quotes"),
    ({"echo": {"source": "json:/a", "allowed": "\\n"}}, "may have no quotes"),
    ({"echo": {"source": "json:/a", "allowed": "^a"}}, "may have no quotes"),
    ({"echo": {"source": "json:/a", "allowed": "z-a"}}, "regular expression"),
    ({"echo": {"source": "json:/a", "longest": 2049}}, "2048"),
    ({"echo": {}}, "needs source"),
    ({"answer": {"status": 302}}, "299"),
    ({"answer": {"type": "text/html"}}, "Input should be"),
    ({"answer": {"type": "image/svg+xml"}}, "Input should be"),
    ({"answer": {"fields": {"A": "b\r\nc"}}}, "printable text"),
]


@pytest.mark.parametrize(("given", "told"), HARMFUL, ids=[f"{given}" for given, _ in HARMFUL])
def test_no_handshake_can_be_written_that_harms(given: dict[str, Any], told: str) -> None:
    """Neither a preset nor a policy can describe a check that lets events through or repeats what a browser would run."""
    with pytest.raises(ValidationError, match=told):
        Handshake.model_validate({"name": "a", **given})


def test_every_unsigned_one_is_bound() -> None:
    """In the shipped presets each check without a signature has an exact shape, and what it repeats has a class."""
    seen = 0
    for name in PRESETS:
        for written in preset(name).route.get("handshakes", ()):
            one = Handshake.model_validate(written)
            if one.waives:
                seen += 1
                assert one.query is not None or one.members is not None or one.opened, name
                assert one.echo is not None, name
    assert seen >= 9
