"""The alert rules: sound, tested by promtool, and speaking only of metrics and words that the gate has.

promtool is demanded, not wished for: where it is missing these tests fail and say what to install.
"""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.verdict import Cause, Mode, Outcome, Reason

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
STORIES = ("rules.test.yaml", "rules.days.test.yaml")

METRICS: dict[str, set[str]] = {
    "hookgate_requests_total": {"route", "outcome", "reason"},
    "hookgate_findings_total": {"route", "rule", "reason", "mode"},
    "hookgate_signature_mismatch_total": {"route", "provider", "sender", "cause"},
    "hookgate_request_duration_seconds": {"route"},
    "hookgate_verification_duration_seconds": {"route"},
    "hookgate_upstream_duration_seconds": {"route"},
    "hookgate_request_body_bytes": {"route"},
    "hookgate_in_flight_requests": set(),
    "hookgate_connections": set(),
    "hookgate_mode": {"route", "mode"},
    "hookgate_switch_engaged": set(),
    "hookgate_policy_info": {"sha256"},
    "hookgate_policy_last_reload_successful": set(),
    "hookgate_policy_last_reload_success_timestamp_seconds": set(),
    "hookgate_secret_matches_total": {"route", "secret"},
    "hookgate_secret_last_match_timestamp_seconds": {"route", "secret"},
    "hookgate_secret_created_timestamp_seconds": {"route", "secret"},
    "hookgate_certificate_expiry_timestamp_seconds": set(),
    "hookgate_store_errors_total": {"operation"},
    "hookgate_ambiguous_total": {"route"},
    "hookgate_store_entries": set(),
    "hookgate_insecure_routes": set(),
    "hookgate_build_info": set(),
}
"""Each metric of the gate with its own labels."""

WORDS: dict[str, set[str]] = {
    "outcome": set(Outcome),
    "reason": set(Reason),
    "cause": set(Cause),
    "sender": {"listed", "unlisted"},
    "mode": set(Mode) | {"share"},
}
"""The closed lists behind labels."""

OWN_METRIC = re.compile(r"(?<![:\w])(hookgate_\w+)(?![\w:])(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')


def rules() -> list[dict[str, Any]]:
    """All rules of the file, recorded ones too."""
    groups = yaml.safe_load((PROMETHEUS / "rules.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    """The alerts by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs promtool beside the rules."""
    program = shutil.which("promtool")
    if program is None:
        pytest.fail("promtool is not installed; it comes with Prometheus (Debian: the package prometheus)")
    # 90 s: the stories of days need some ten on an idle core.
    return subprocess.run(  # noqa: S603 - the arguments are ours
        [program, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, timeout=90, check=False
    )


def test_rules_are_sound() -> None:
    """Prometheus accepts the rule file."""
    run = promtool("check", "rules", "rules.yaml")
    assert run.returncode == 0, run.stdout + run.stderr


def test_configuration_is_sound() -> None:
    """Prometheus accepts the configuration of the compose file, which names the rules."""
    run = promtool("check", "config", "prometheus.yaml")
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.timeout(100)
@pytest.mark.parametrize("stories", STORIES)
def test_stories(stories: str) -> None:
    """Each alert fires in the stories that ask for it, with its words, and stays quiet in the others."""
    run = promtool("test", "rules", stories)
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_alert_has_both_stories() -> None:
    """No alert is without a story in which it fires and one in which it stays quiet."""
    told = [
        case
        for stories in STORIES
        for story in yaml.safe_load((PROMETHEUS / stories).read_text())["tests"]
        for case in story["alert_rule_test"]
    ]
    assert {case["alertname"] for case in told if case["exp_alerts"]} == set(alerts())
    assert {case["alertname"] for case in told if not case["exp_alerts"]} == set(alerts())


def test_metrics_exist() -> None:
    """Rules and their stories speak only of metrics that the gate has, by labels that these have."""
    texts = [rule["expr"] for rule in rules()]
    for stories in STORIES:
        for story in yaml.safe_load((PROMETHEUS / stories).read_text())["tests"]:
            texts += [given["series"] for given in story["input_series"]]
    used = [found.groups(default="") for text in texts for found in OWN_METRIC.finditer(text)]
    assert len(used) > len(rules())
    for metric, selector in used:
        family = re.sub(r"_(bucket|sum|count)$", "", metric)
        assert family in METRICS, metric
        labels = {label for label, _, _ in MATCHER.findall(selector)}
        assert labels <= METRICS[family] | {"job", "instance", "version"}, f"{metric}: {labels}"


def test_words_exist() -> None:
    """A label value that a rule looks for can occur: it is in the closed list behind that label."""
    looked_for = [
        (label, operator, value)
        for rule in rules()
        for _, selector in OWN_METRIC.findall(rule["expr"])
        for label, operator, value in MATCHER.findall(selector)
        if label in WORDS
    ]
    assert looked_for
    for label, operator, value in looked_for:
        for word in value.split("|") if "~" in operator else [value]:
            assert any(re.fullmatch(word, known) for known in WORDS[label]), f"{label}={word}"


@pytest.mark.parametrize("name", sorted(alerts()))
def test_alert_is_complete(name: str) -> None:
    """Each alert says how urgent it is, what happened, what it means, and where the runbook goes on."""
    alert = alerts()[name]
    assert alert["labels"]["severity"] in {"page", "ticket"}
    assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
    page, anchor = alert["annotations"]["runbook_url"].split("#")
    assert page == "deploy/RUNBOOK.md"
    headings = re.findall(r"^## (.+)$", (DEPLOY / "RUNBOOK.md").read_text(), re.MULTILINE)
    assert anchor in {heading.lower().replace(" ", "-") for heading in headings}


def test_strangers_wake_nobody() -> None:
    """An alert that counts every mismatch of unlisted senders, whatever its cause, is a ticket."""
    for name, alert in alerts().items():
        for metric, selector in OWN_METRIC.findall(alert["expr"]):
            if metric == "hookgate_signature_mismatch_total" and not {'sender="listed"', 'cause!="unknown"'} & {
                part.strip() for part in selector.split(",")
            }:
                assert alert["labels"]["severity"] == "ticket", name
