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

from proxy.observe.metrics import Facts, Metrics, RouteFacts, SecretFacts
from proxy.verdict import RuleName

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
STORIES = ("rules.test.yaml", "rules.days.test.yaml")

CLOSED = {"outcome", "reason", "cause", "sender", "mode", "operation"}
"""Labels whose values come from a closed list; the others are names from a policy."""

OWN_METRIC = re.compile(r"(?<![:\w])(hookgate_\w+)(?![\w:])(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')


def families() -> dict[str, dict[str, set[str]]]:
    """Every metric that a gate with one route shows, with its labels and the values that these have from the start."""
    facts = Facts(
        in_flight=0,
        connections=0,
        entries=0,
        stances={"telegram": "enforce"},
        switch=False,
        policy="",
        reloaded=True,
        reloaded_at=0.0,
        certificate_expiry=0.0,
        insecure=0,
        version="",
        python="",
        log_dropped=0,
    )
    metrics = Metrics(lambda: facts)
    metrics.declare([RouteFacts("telegram", "telegram", tuple(RuleName), (SecretFacts("first", 0.0),))])
    found: dict[str, dict[str, set[str]]] = {}
    for sample in (sample for family in metrics.collect() for sample in family.samples):
        labels = found.setdefault(sample.name, {})
        for label, value in sample.labels.items():
            labels.setdefault(label, set()).add(value)
    return found


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
    known = families()
    for metric, selector in used:
        assert metric in known, metric
        labels = {label for label, _, _ in MATCHER.findall(selector)}
        assert labels <= known[metric].keys() | {"job", "instance"}, f"{metric}: {labels}"


def test_words_exist() -> None:
    """A word that a rule looks for can occur: the gate shows it as a value of that label."""
    known = families()
    looked_for = [
        (known[metric][label], word)
        for rule in rules()
        for metric, selector in OWN_METRIC.findall(rule["expr"])
        for label, operator, value in MATCHER.findall(selector)
        if label in CLOSED
        for word in (value.split("|") if "~" in operator else [value])
    ]
    assert looked_for
    for words, word in looked_for:
        assert any(re.fullmatch(word, shown) for shown in words), word


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
