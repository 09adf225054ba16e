"""The commands check, schema, init and secret new."""

import argparse
import json
import stat
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from proxy.cli import check, init, schema, secret
from proxy.policy.presets import PRESETS, preset
from proxy.policy.reader import read_policy
from proxy.policy.schemes import Signature
from proxy.policy.signatures import PublicKeySignature, SignatureSettings
from tests.rules.made_keys import made_key

from .samples import BAD, ENVIRON, FOLDER, expected


def run(*words: str) -> int:
    """Run a command line; exit code 2 where argparse refuses it."""
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers(required=True)
    for verb in (check, init, schema, secret):
        verb.register(verbs)
    arguments = parser.parse_args(words)
    code: int = arguments.run(arguments)
    return code


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch) -> None:
    """The secrets of the sample policies."""
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)


def test_check_sound(capsys: pytest.CaptureFixture[str]) -> None:
    """A sound policy is said to be one, with its warnings, and the exit code is 0."""
    file = FOLDER / "good" / "every-sender.yaml"
    assert run("check", str(file)) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == f"{file}: sound, 7 routes"
    assert all(line.startswith(f"warning: {file}:") for line in told[1:])
    assert run("check", str(FOLDER / "good" / "smallest.yaml")) == 0
    assert capsys.readouterr().out.endswith("sound, 1 route\n")


@pytest.mark.parametrize("file", [file for file in BAD if file.stem in {"unknown-keys", "tab"}], ids=lambda file: file.stem)
def test_check_unsound(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every fault is one line of standard output, or one object of JSON; the exit code is 78."""
    assert run("check", str(file)) == 78
    assert capsys.readouterr().out.splitlines() == [f"{file}:{line}" for line in expected(file)]
    assert run("check", str(file), "--format", "json") == 78
    faults = json.loads(capsys.readouterr().out)["faults"]
    assert len(faults) == len(expected(file))
    assert set(faults[0]) == {"file", "line", "column", "path", "message"}


def test_check_json_of_a_sound_policy(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON of a sound policy has no faults."""
    assert run("check", str(FOLDER / "good" / "smallest.yaml"), "--format", "json") == 0
    assert json.loads(capsys.readouterr().out) == {"faults": [], "warnings": []}


def test_check_print(capsys: pytest.CaptureFixture[str]) -> None:
    """The policy is shown with its preset spelled out."""
    assert run("check", str(FOLDER / "good" / "smallest.yaml"), "--print") == 0
    told = capsys.readouterr().out
    assert "header: X-Telegram-Bot-Api-Secret-Token" in told
    assert ENVIRON["SECRET"] not in told


def test_schema(capsys: pytest.CaptureFixture[str]) -> None:
    """The schema is printed as JSON."""
    assert run("schema") == 0
    assert json.loads(capsys.readouterr().out)["$schema"].endswith("draft-07/schema#")


def given(settings: SignatureSettings | None) -> str:
    """What a sender would give its users: a public key in its form, or an id."""
    return made_key(settings.kind).public(settings.key) if isinstance(settings, PublicKeySignature) else "4711"


@pytest.mark.parametrize("provider", PRESETS)
def test_init(provider: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is written is sound once the sender's own values are filled in, hidden from others, and different each time."""
    seen: list[str] = []
    for name in ("one", "two"):
        folder = tmp_path / name
        assert run("init", provider, "--directory", str(folder), "--upstream", "http://127.0.0.1:9999") == 0
        steps = capsys.readouterr().out
        files = sorted(folder.glob("secrets/*"))
        empty = [file for file in files if not file.read_text()]
        assert ("put what the sender gives you into " + " and ".join(map(str, empty)) in steps) is bool(empty)
        assert run("check", str(folder / "policy.yaml")) == (78 if empty else 0)
        told = capsys.readouterr().out
        assert told.count(f" is empty; wanted: {preset(provider).secret.advice}\n") == len(empty)
        rules = preset(provider).route.get("rules")
        written = rules.get("signature") if isinstance(rules, dict) else None
        settings = TypeAdapter[SignatureSettings](Signature).validate_python(written) if written else None
        for file in [folder / "policy.yaml", *files]:
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert file in empty or file.name == "policy.yaml" or file.read_text().strip() not in steps + told
        seen += [file.read_text() for file in files if file not in empty]
        for file in empty:
            file.write_text(given(settings))
        loaded = read_policy(folder / "policy.yaml", {})
        seen.append(loaded.policy.routes[0].path)
        assert len(loaded.policy.routes[0].secrets) == bool(files)
        assert str(loaded.policy.upstream and loaded.policy.upstream.url) == "http://127.0.0.1:9999"
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize(
    ("provider", "files"),
    [
        ("telegram", {"telegram": True}),
        ("kick", {"kick": False}),
        ("wecom", {"wecom-token": True, "wecom-aes_key": True, "wecom-receive_id": False}),
        ("paypal", {"paypal-webhook_id": False}),
        ("aws-sns", {}),
    ],
)
def test_init_chooses_what_is_ours_to_choose(provider: str, files: dict[str, bool], tmp_path: Path) -> None:
    """A shared secret is fresh; a public key, or an id, is the sender's, and its file is empty; an optional value has none."""
    assert run("init", provider, "--directory", str(tmp_path)) == 0
    assert {file.name: bool(file.read_text()) for file in tmp_path.glob("secrets/*")} == files


@pytest.mark.parametrize(("provider", "signed"), [("twilio", True), ("hubspot", True), ("square", True), ("github", False)])
def test_init_of_a_sender_that_signs_the_url(
    provider: str, signed: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the URL is signed, in whichever of the sender's ways, the policy has a public_url, said to be an example."""
    assert run("init", provider, "--directory", str(tmp_path)) == 0
    loaded = read_policy(tmp_path / "policy.yaml", {})
    assert (loaded.policy.routes[0].public_url is not None) is signed
    assert ("is an example" in capsys.readouterr().out) is signed


def test_init_never_overwrites(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second run changes nothing and says so; nor does a link to nowhere let it write elsewhere."""
    assert run("init", "telegram", "--directory", str(tmp_path)) == 0
    before = (tmp_path / "policy.yaml").read_text()
    assert run("init", "telegram", "--directory", str(tmp_path)) == 1
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "policy.yaml").read_text() == before
    (tmp_path / "other" / "secrets").mkdir(parents=True)
    (tmp_path / "other" / "secrets" / "github").symlink_to(tmp_path / "elsewhere")
    assert run("init", "github", "--directory", str(tmp_path / "other")) == 1
    assert "exists already" in capsys.readouterr().err
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("telegarm",), "did you mean 'telegram'?"),
        (("acme",), "there are adyen, "),
        (("telegram", "--upstream", "ftp://x"), "must be http"),
    ],
)
def test_init_refused(words: tuple[str, ...], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown provider or an upstream that is none is wrong usage."""
    assert run("init", *words, "--directory", str(tmp_path / "new")) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_secret_new(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A fresh secret is printed, or written to a new file that others cannot read; an old file stays."""
    assert run("secret", "new") == 0
    assert len(capsys.readouterr().out) == 44
    file = tmp_path / "secret"
    assert run("secret", "new", "--out", str(file)) == 0
    fresh = file.read_text()
    assert (len(fresh), stat.S_IMODE(file.stat().st_mode)) == (44, 0o600)
    assert run("secret", "new", "--out", str(file)) == 1
    assert file.read_text() == fresh
    assert capsys.readouterr().out == ""
