"""The policies in ``config/`` work as they are."""

from pathlib import Path

import pytest

from proxy.policy.reader import read_policy
from proxy.verdict import Mode

FOLDER = Path(__file__).parents[1] / "config"
ENVIRON = {"TELEGRAM_SECRET": "a-secret-of-thirty-two-bytes-0123"}


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.yaml")), ids=lambda file: file.stem)
def test_each_is_sound(file: Path) -> None:
    """Each policy is sound, without a warning, once TELEGRAM_SECRET is set."""
    loaded = read_policy(file, ENVIRON)
    assert loaded.warnings == ()
    assert loaded.secrets["telegram"][0].reveal() == ENVIRON["TELEGRAM_SECRET"].encode()


def test_names() -> None:
    """The policies that the documentation names are there."""
    assert {"quickstart", "telegram", "report-only"} <= {file.stem for file in FOLDER.glob("*.yaml")}


def test_report_only_refuses_nothing() -> None:
    """The report-only policy enforces no rule."""
    policy = read_policy(FOLDER / "report-only.yaml", ENVIRON).policy
    assert policy.mode.mode is Mode.REPORT
    assert all(route.mode is None for route in policy.routes)


def test_telegram_has_every_control() -> None:
    """The whole Telegram policy has each rule that an update can pass."""
    rules = read_policy(FOLDER / "telegram.yaml", ENVIRON).policy.routes[0].rules
    assert None not in (rules.ip, rules.rate, rules.size, rules.content, rules.signature, rules.replay, rules.json_schema)
    assert rules.rate is not None
    assert (str(rules.rate.limit), rules.rate.burst, rules.rate.per) == ("50/s", 100, "client")
