"""Words, exit codes, streams: what holds for every command."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from proxy import messages
from proxy.cli import main
from tests.cli.commands import ENVIRON, POLICY, Ran, run
from tests.gates import PATIENCE, TOKEN

VERBS = ["serve", "check", "explain", "sign", "demo", "init", "schema", "mode", "secret", "healthcheck", "version"]


def said(capsys: pytest.CaptureFixture[str], *words: str) -> Ran:
    """The same without a process, for what ends before anything is done: half a second less each."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    out, err = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return Ran(ended.value.code, out, err)


@pytest.mark.parametrize("verb", VERBS)
def test_help(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    """Each verb explains itself in a screen."""
    ran = said(capsys, verb, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"usage: hookgate {verb} ")
    assert 3 < len(ran.out.splitlines()) <= 40


def test_help_names_every_verb(tmp_path: Path) -> None:
    """The command itself lists its verbs."""
    ran = run("--help", cwd=tmp_path)
    assert (ran.code, ran.err) == (0, "")
    assert all(re.search(rf"^    {verb}\b", ran.out, re.MULTILINE) for verb in VERBS)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["sevre", "policy.yaml"],
        ["serve"],
        ["check", "policy.yaml", "--format", "xml"],
        ["secret"],
        ["mode", "policy.yaml", "off"],
        ["mode", "policy.yaml", "101%"],
        ["mode", "policy.yaml", "loud"],
        ["version", "twice"],
    ],
    ids=lambda words: " ".join(words) or "nothing",
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    """Wrong usage ends with 2 and a sentence on standard error, before anything is read or asked."""
    ran = said(capsys, *words)
    assert ran.code == 2
    assert not ran.out
    assert ran.err.splitlines()[-1].startswith("hookgate")


def test_wrong_usage_of_a_process(tmp_path: Path) -> None:
    """The process ends with 2 as well, whether the words or a name in them are wrong."""
    for words in (["sevre"], ["init", "telegarm"]):
        ran = run(*words, cwd=tmp_path)
        assert ran.code == 2
        assert "Traceback" not in ran.err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """Version, Python and parser are told, that the parser is the one in C, and whether what runs is compiled."""
    assert main(["version"]) == 0
    first, second, third, fourth = capsys.readouterr().out.splitlines()
    assert first.startswith("hookgate ")
    assert second.startswith("Python 3.")
    assert third.startswith("parser: aiohttp ")
    assert third.endswith("C (llhttp)")
    assert fourth == f"compiled: {'no' if str(messages.__file__).endswith('.py') else 'yes'}"


def test_secret_new(tmp_path: Path) -> None:
    """A fresh secret each time; into a file only where there is none, and unreadable for others."""
    first, second = (run("secret", "new", cwd=tmp_path) for _ in range(2))
    assert first.code == 0
    assert len(first.out) == len(second.out) == 44
    assert first.out != second.out
    assert run("secret", "new", "--out", "fresh", cwd=tmp_path).code == 0
    kept = (tmp_path / "fresh").read_text()
    assert (tmp_path / "fresh").stat().st_mode & 0o777 == 0o600
    ran = run("secret", "new", "--out", "fresh", cwd=tmp_path)
    assert (ran.code, ran.sentence()) == (1, "hookgate: fresh: File exists")
    assert (tmp_path / "fresh").read_text() == kept


def test_check(tmp_path: Path) -> None:
    """A sound policy is 0; ``--print`` spells the preset out and shows no secret; an unsound one is 78, as text and as JSON."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    ran = run("check", "policy.yaml", cwd=tmp_path)
    assert (ran.code, ran.out) == (0, "policy.yaml: sound, 1 route\n")
    ran = run("check", "policy.yaml", "--print", cwd=tmp_path)
    assert ran.code == 0
    assert "header: X-Telegram-Bot-Api-Secret-Token" in ran.out
    assert TOKEN not in ran.out
    (tmp_path / "policy.yaml").write_text(POLICY.replace("provider", "providr"))
    ran = run("check", "policy.yaml", cwd=tmp_path)
    assert ran.code == 78
    assert "policy.yaml:8:5: routes[0].providr: " in ran.out
    ran = run("check", "policy.yaml", "--format", "json", cwd=tmp_path)
    assert ran.code == 78
    assert '"path": "routes[0].providr"' in ran.out
    assert sorted(file.name for file in tmp_path.iterdir()) == ["policy.yaml"], "check has no side effect"


@pytest.mark.parametrize(("stream", "code"), [(">&-", 0), ("2>&-", 0), (">/dev/full", 1), ("| true", None)])
def test_broken_streams(tmp_path: Path, stream: str, code: int | None) -> None:
    """A closed, full or abandoned standard output shows no traceback."""
    done = subprocess.run(  # noqa: S602 - our own words
        f'"{sys.executable}" -m proxy schema {stream}',
        shell=True,
        cwd=tmp_path,
        env={**os.environ, **ENVIRON},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert code is None or done.returncode == code
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert len(done.stderr.splitlines()) == (1 if code == 1 else 0)
