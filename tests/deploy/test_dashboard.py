"""The dashboard: a file that Grafana reads, whose panels speak only of metrics and labels that the gate has."""

import json
import re
from typing import Any

import pytest

from tests.deploy.test_rules import DEPLOY, MATCHER, OWN_METRIC, families, promtool

DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana/hookgate.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
VARIABLES = {"$__rate_interval": "5m", "$route": ".*"}


def expressions(panel: dict[str, Any]) -> list[str]:
    """What a panel asks, its variables filled in."""
    asked = [target["expr"] for target in panel["targets"]]
    for name, value in VARIABLES.items():
        asked = [one.replace(name, value) for one in asked]
    return asked


@pytest.mark.parametrize("panel", PANELS, ids=[panel["title"] for panel in PANELS])
def test_panel(panel: dict[str, Any]) -> None:
    """A panel asks for metrics that there are, by labels that these have, and groups by none that are not."""
    known = families()
    for asked in expressions(panel):
        used = [found.groups(default="") for found in OWN_METRIC.finditer(asked)]
        assert used
        assert "$" not in asked
        for metric, selector in used:
            assert metric in known, metric
            labels = {label for label, _, _ in MATCHER.findall(selector)}
            grouped = {word.strip() for by in re.findall(r"by \(([^)]*)\)", asked) for word in by.split(",")}
            assert labels | grouped <= known[metric].keys() | {"le"}, metric


def test_expressions_are_sound(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Prometheus itself can read what the panels ask."""
    asked = [one for panel in PANELS for one in expressions(panel)]
    rules = {"groups": [{"name": "panels", "rules": [{"record": f"panel:{n}", "expr": one} for n, one in enumerate(asked)]}]}
    file = tmp_path_factory.mktemp("panels") / "rules.yaml"
    file.write_text(json.dumps(rules))
    ran = promtool("check", "rules", str(file))
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_panels_do_not_overlap() -> None:
    """Each panel has a place and a number of its own."""
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    cells = [
        (x, y)
        for panel in PANELS
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
