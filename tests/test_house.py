"""The house keeps its own rules: floors, words, docstrings, lengths, and a reason's way from verdict to metric."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.observe.metrics import STANCES, Metrics
from proxy.policy.model import Rules
from proxy.verdict import CLOSES, FAILURES, RULE_REASONS, STATUS, UNROUTED, Mode, Reason, RuleName
from tests.gates import ROOT
from tests.observe.exchanges import BOT, exchange, facts

MODULES = sorted((ROOT / "proxy").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
LINES = 250
"""Non-blank lines that a file should not exceed."""
LONG = {"edge/intake.py": 500, "policy/model.py": 350, "upstream/connection.py": 350}
"""Files that are known to be longer, and how long they may get."""
SILENCED = re.compile(r"#\s*type:\s*ignore")


def named(file: Path) -> str:
    """A file as the house calls it."""
    return file.relative_to(ROOT).as_posix()


def lint_imports(root: Path) -> tuple[int, str]:
    """Run import-linter over a tree; exit code and report."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603 - our own interpreter
    return done.returncode, done.stdout + done.stderr


def test_floors() -> None:
    """A room imports only what lies below it, and there are no circles."""
    code, told = lint_imports(ROOT)
    assert code == 0, told


PLANTED = [
    ("rules/size.py", "from proxy.rules import rate", "Rules do not know each other BROKEN"),
    ("rules/size.py", "from proxy.pipeline import modes", "Floors: a room imports only what lies below it BROKEN"),
    ("policy/values.py", "import aiohttp", "The judging half does no network I/O BROKEN"),
    ("rules/keys.py", "import yaml", "One home for each library BROKEN"),
    ("helpers.py", '"""Odds and ends."""', "not listed as layers: - proxy.helpers"),
]


@pytest.mark.parametrize(("file", "line", "told"), PLANTED, ids=[line for _, line, _ in PLANTED])
def test_a_planted_import_is_found(file: str, line: str, told: str, tmp_path: Path) -> None:
    """The floors are real: one wrong import, or one room without a floor, breaks the right contract."""
    shutil.copytree(ROOT / "proxy", tmp_path / "proxy", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "proxy" / file).open("a") as opened:
        opened.write(f"\n{line}\n")
    code, report = lint_imports(tmp_path)
    assert code == 1
    assert told.lower() in " ".join(report.split()).lower(), report


@pytest.mark.parametrize("file", [*MODULES, *TESTS], ids=named)
def test_each_file_says_what_it_is(file: Path) -> None:
    """Each file opens with a docstring of a few lines; an empty package file need not."""
    text = file.read_text()
    if not text.strip() and file.name == "__init__.py":
        return
    said = ast.get_docstring(ast.parse(text))
    assert said, "has no docstring"
    if named(file).startswith("proxy/") and file.name != "errors.py":
        assert len([line for line in said.splitlines() if line.strip()]) <= 8


def functions(file: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a file, at any depth."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("file", [file for file in TESTS if file.name.startswith("test_")], ids=named)
def test_each_test_is_a_promise(file: Path) -> None:
    """Each test says in its docstring what is promised."""
    assert [one.name for one in functions(file) if one.name.startswith("test_") and not ast.get_docstring(one)] == []


@pytest.mark.parametrize("file", MODULES, ids=named)
def test_length(file: Path) -> None:
    """A file that grows too long is two rooms; so is a function that no screen holds."""
    lines = sum(bool(line.strip()) for line in file.read_text().splitlines())
    allowed = LONG.get(file.relative_to(ROOT / "proxy").as_posix(), LINES)
    assert lines <= allowed, f"{named(file)} has {lines} lines"
    for one in functions(file):
        assert (one.end_lineno or 0) - one.lineno < 60, one.name


def test_the_known_long_ones_are_long() -> None:
    """A file that has become short is no exception any more."""
    for name in LONG:
        text = (ROOT / "proxy" / name).read_text()
        assert sum(bool(line.strip()) for line in text.splitlines()) > LINES, name


@pytest.mark.parametrize("file", MODULES, ids=named)
def test_banned(file: Path) -> None:
    """Nothing but a command prints; no import is for types only; no complaint of the types' checker is ignored."""
    text = file.read_text()
    tree = ast.parse(text)
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    if "cli" not in file.parts:
        assert "print" not in called
    assert not called & {"eval", "exec", "compile", "breakpoint"}
    assert "TYPE_CHECKING" not in {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert "TYPE_CHECKING" not in {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for line in text.splitlines():
        assert not SILENCED.search(line), line


@pytest.mark.parametrize("file", MODULES, ids=named)
def test_names(file: Path) -> None:
    """No room is called after odds and ends."""
    assert file.stem not in {"utils", "util", "helpers", "helper", "manager", "common", "misc", "base64"}


# -- the closed lists


def test_statuses() -> None:
    """Every reason has its status, none is missing and none is left over."""
    assert set(STATUS) == set(Reason)


def test_each_reason_has_a_home() -> None:
    """Every reason is found by a rule, before a route is known, or by us or the bot; no word is an orphan."""
    of_rules = {reason for reasons in RULE_REASONS.values() for reason in reasons}
    of_walls = {Reason.CLIENT_ABORTED, Reason.METHOD_NOT_ALLOWED, Reason.LENGTH_REQUIRED, Reason.BODY_TOO_LARGE}
    assert of_rules | set(UNROUTED) | FAILURES | of_walls | CLOSES | {Reason.NONE, Reason.HANDSHAKE} == set(Reason)
    assert set(RULE_REASONS) == set(RuleName)


@pytest.mark.parametrize("reason", list(Reason))
def test_each_reason_is_a_label(reason: Reason) -> None:
    """Every reason is one word for metric, log and documentation, and has its series before it happens."""
    assert reason.value == reason.name.lower()
    metrics = Metrics(facts)
    metrics.declare([BOT])
    assert f'reason="{reason.value}"' in metrics.render().decode()
    metrics.observe(exchange(reason))


def test_each_rule_has_settings_and_a_file() -> None:
    """The rules of the closed list are those of the policy, in running order, each in a file of its name."""
    fields = [field.alias or name for name, field in Rules.model_fields.items()]
    assert fields == [rule.value for rule in RuleName]
    for rule in RuleName:
        assert (ROOT / "proxy" / "rules" / f"{rule.value}.py").exists()


def test_modes_and_stances() -> None:
    """The metric knows every mode, and the share beside them."""
    assert set(STANCES) == {*(mode.value for mode in Mode), "share"}


def test_words_hash_as_text() -> None:
    """The enumerations of the hot path hash like the words they are, so that either finds the other in a table."""
    by_reason: dict[str, int] = {Reason.NONE: 1}
    by_rule: dict[str, int] = {RuleName.IP: 1}
    assert (by_reason["none"], by_rule["ip"]) == (1, 1)
