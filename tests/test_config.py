"""The policies in ``config/`` work as they are."""

import re
from pathlib import Path

import pytest

from proxy.cli import main
from proxy.policy.reader import read_policy
from proxy.policy.values import Stance
from proxy.verdict import Mode

FOLDER = Path(__file__).parents[1] / "config"
SECRETS = (
    "TELEGRAM_SECRET",
    "SLACK_SIGNING_SECRET",
    "WHATSAPP_APP_SECRET",
    "LINE_CHANNEL_SECRET",
    "TWITCH_SECRET",
    "GITHUB_WEBHOOK_SECRET",
    "GITLAB_TOKEN",
    "STRIPE_SIGNING_SECRET",
    "SHOPIFY_CLIENT_SECRET",
    "SQUARE_SIGNATURE_KEY",
    "NOTION_VERIFICATION_TOKEN",
    "HOME_MADE_SECRET",
)
ENVIRON = {name: "a-secret-of-thirty-two-bytes-0123" for name in SECRETS} | {
    "REDIS_PASSWORD": "a-password-of-a-redis",
    "CLERK_SIGNING_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
}


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.yaml")), ids=lambda file: file.stem)
def test_each_is_sound(file: Path) -> None:
    """Each policy is sound, without a warning, once its secrets are set."""
    loaded = read_policy(file, ENVIRON)
    assert loaded.warnings == ()
    assert loaded.secrets["telegram"][0].reveal() == ENVIRON["TELEGRAM_SECRET"].encode()


def test_names() -> None:
    """The policies that the documentation names are there."""
    assert {"quickstart", "telegram", "many-senders", "replicas", "report-only"} <= {file.stem for file in FOLDER.glob("*.yaml")}


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


def test_many_senders_spelled_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What ``check --print`` shows of many senders holds no secret and no path, and is the same policy with its paths back."""
    file = FOLDER / "many-senders.yaml"
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    assert main(["check", str(file), "--print"]) == 0
    told = capsys.readouterr().out
    assert "change-me" not in told
    assert not any(value in told for value in ENVIRON.values())
    policy = read_policy(file, ENVIRON).policy
    paths = iter(route.path for route in policy.routes)
    spelled = re.sub("(?<=path: )<secret path>", lambda _: next(paths), told)
    (tmp_path / "many-senders.yaml").write_text(spelled.replace("<secret path>", "square"))
    again = read_policy(tmp_path / "many-senders.yaml", ENVIRON).policy
    assert [route.rules for route in again.routes] == [route.rules for route in policy.routes]


def test_many_senders_lie_over_their_presets() -> None:
    """A word of one's own changes one part of a preset, and no other."""
    routes = {route.name: route for route in read_policy(FOLDER / "many-senders.yaml", ENVIRON).policy.routes}
    shopify = routes["shopify-orders-paid"].rules.replay
    assert shopify is not None
    assert (str(shopify.key), shopify.per, shopify.window) == ("body:sha256", None, 24 * 3600)
    assert routes["stripe"].rules.rate is not None
    assert routes["stripe"].rules.timestamp is not None
    assert routes["notion"].mode == Stance(Mode.REPORT)
