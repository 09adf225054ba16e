"""The effective policy: presets spelled out, secrets and paths left out, and readable again."""

from pathlib import Path

import pytest

from proxy.policy.printing import HIDDEN_PATH, printed
from proxy.policy.reader import read_policy
from proxy.policy.values import format_duration, format_instant, parse_duration, parse_instant

from .samples import ENVIRON, GOOD, NOW


@pytest.mark.parametrize("file", GOOD, ids=lambda file: file.stem)
def test_read_again(file: Path, tmp_path: Path) -> None:
    """Once the paths stand in it again, what is printed means the same policy."""
    first, again = tmp_path / "policy.yaml", tmp_path / "again.yaml"
    first.write_bytes(file.read_bytes())
    policy = read_policy(first, ENVIRON, now=NOW).policy
    text = printed(policy, tmp_path)
    for route in policy.routes:
        text = text.replace(f"path: {HIDDEN_PATH}", f"path: {route.path}", 1)
        text = text.replace("value: <secret value>", f"value: {route.secrets[0].value if route.secrets else ''}", 1)
        text = text.replace(f"https://bot.example.com/{HIDDEN_PATH}", route.public_url or "", 1)
    again.write_text(text)
    assert read_policy(again, ENVIRON, now=NOW).policy == policy


def test_nothing_secret(tmp_path: Path) -> None:
    """No path of a route, no public URL's path, no secret; ids, sources and the route's name are there."""
    file = tmp_path / "policy.yaml"
    file.write_text(
        "version: 1\nallow_inline_secrets: true\nlisten: {address: '127.0.0.1:8080'}\nupstream: {url: 'http://127.0.0.1:8081'}\n"
        "routes:\n  - name: bot\n    path: /CANARY/1\n    public_url: https://bot.example.com/CANARY/1\n    provider: telegram\n"
        "    secrets: [{id: first, value: CANARY-CANARY-CANARY}, {id: second, from_env: SECRET}]\n"
    )
    text = printed(read_policy(file, ENVIRON, now=NOW).policy, tmp_path)
    assert "CANARY" not in text
    assert ENVIRON["SECRET"] not in text
    for told in ("name: bot", "id: first", "from_env: SECRET", "https://bot.example.com", "X-Telegram-Bot-Api-Secret-Token"):
        assert told in text


def test_paths_stay_relative(tmp_path: Path) -> None:
    """Files beside the policy are written as they were: nothing of the machine shows."""
    text = printed(read_policy(GOOD[0], ENVIRON, now=NOW).policy, GOOD[0].parent)
    assert str(GOOD[0].parent) not in text


@pytest.mark.parametrize("written", ["0s", "500ms", "1.5s", "90s", "5m", "25h", "7d"])
def test_durations_survive(written: str) -> None:
    """A duration is written in a form that means the same."""
    assert parse_duration(format_duration(parse_duration(written))) == pytest.approx(parse_duration(written))


def test_instants_survive() -> None:
    """So is a moment, whatever zone it was given in."""
    moment = parse_instant("2026-12-01T02:00:00.25+02:00")
    assert format_instant(moment) == "2026-12-01T00:00:00.250000Z"
    assert parse_instant(format_instant(moment)) == moment
