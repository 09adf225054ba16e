"""``hookgate sign --handshake``: each check that a preset knows is made as its sender makes it, signed where that signs it."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from proxy.policy.presets import PRESETS, preset
from tests.cli.inprocess import hookgate
from tests.conftest import Gates
from tests.gates import PATIENCE, RecordingBot
from tests.handshakes.senders import DISCORD, SECRET, route
from tests.policies import policy_text

KINDS: list[tuple[str, str, bool]] = [
    (name, one["name"], "answer" in one) for name in PRESETS for one in preset(name).route.get("handshakes", [])
]


def known(name: str) -> str:
    """The name under which these tests have a route of the preset."""
    return {"whatsapp": "meta-whatsapp", "feishu-lark-event": "feishu", "dingtalk-callback": "dingtalk"}.get(name, name)


def key(folder: Path) -> list[str]:
    """Discord's private key."""
    file = folder / "key.pem"
    file.write_bytes(DISCORD.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return ["--key", str(file)]


def written(folder: Path, *routes: dict[str, Any]) -> Path:
    """A policy with these routes."""
    file = folder / "policy.yaml"
    file.write_text(policy_text(list(routes)))
    return file


@pytest.mark.parametrize(("provider", "name", "answered"), KINDS, ids=[f"{provider}-{name}" for provider, name, _ in KINDS])
def test_made_and_judged(provider: str, name: str, answered: bool, tmp_path: Path) -> None:
    """The gate answers it where it can and is to, and else lets the bot do it; a signed one with another secret is refused."""
    modes = ("answer", "forward") if answered else ("forward",)
    file = written(tmp_path, *(route(known(provider), mode) for mode in modes))
    for mode in modes:
        made = hookgate("sign", file, f"{known(provider)}-{mode}", "--handshake", name, *key(tmp_path))
        assert made.code == 0, made.err
        ran = hookgate("explain", file, "-", "--format", "json", stdin=made.out)
        assert (ran.code, ran.tree["outcome"]) == (0, "answered" if mode == "answer" else "forwarded"), ran.text


SIGNED = ["slack", "discord-interactions", "discord-webhook-events", "zoom", "twitch", "line", "viber", "vk", "wecom", "dingtalk"]


@pytest.mark.parametrize("provider", SIGNED)
def test_signed_ones_prove(provider: str, tmp_path: Path) -> None:
    """What its sender signs is signed: made with another secret than the gate's it is refused."""
    given = route(provider, "answer")
    file = written(tmp_path, given)
    name = next(name for preset_, name, _ in KINDS if known(preset_) == provider)
    made = hookgate("sign", file, given["name"], "--handshake", name, *key(tmp_path))
    secret = given["secrets"][0]
    if "values" in secret:
        secret["values"]["token"] = {"value": "anotherSecretOfThirtyTwoLetters0"}
    else:
        secret["value"] = "ab" * 32 if provider.startswith("discord") else SECRET[::-1]
    ran = hookgate("explain", written(tmp_path, given), "-", "--format", "json", stdin=made.out)
    assert (ran.code, ran.tree["reason"]) == (1, "signature_mismatch")


def test_words(tmp_path: Path) -> None:
    """A route without such checks, one with several, and a name that none has are told what there is."""
    plain = {"name": "github", "path": "/g", "provider": "github", "secrets": [{"id": "s", "value": "k" * 32}]}
    file = written(tmp_path, route("slack", "answer"), plain)
    cases: list[tuple[tuple[str, ...], str]] = [
        (("github", "--handshake"), "route github knows no handshake"),
        (("slack-answer", "--handshake"), "give --handshake a name; it knows url_verification, ssl_check"),
        (("slack-answer", "--handshake", "url_verificaton"), "has no handshake 'url_verificaton'; did you mean"),
        (("slack-answer", "--handshake", "zzz"), "it knows url_verification, ssl_check"),
    ]
    for words, told in cases:
        ran = hookgate("sign", file, *words)
        assert ran.code == 2
        assert told in ran.err
    assert hookgate("sign", file, "slack-answer").code == 2
    assert hookgate("sign", file, "slack-answer", "--handshake", "ssl_check", "--body", "-").code == 2


def test_by_curl(gate: Gates, bot: RecordingBot, tmp_path: Path) -> None:
    """As a curl line it carries the body that was made; a running gate answers Slack with the text that it asked back."""
    running = gate(policy_text([route("slack", "answer")], bot.port))
    line = hookgate("sign", running.policy, "slack-answer", "--handshake", "url_verification", "--output", "curl").text
    line = line.replace("127.0.0.1:0/", f"127.0.0.1:{running.port}/")
    ran = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=PATIENCE, check=True)  # noqa: S603, S607
    challenge = json.loads(line.partition('data-raw = "')[2].partition('"\n')[0].replace('\\"', '"'))["challenge"]
    assert ran.stdout.startswith("HTTP/1.1 200")
    assert ran.stdout.endswith(challenge)
    assert not bot.requests
