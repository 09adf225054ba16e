"""The README is held to what it says: its first lines are run, its policies are loaded, its tables are those of the code."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.policy.model import Limits, Policy, WrongCredentials
from proxy.policy.presets import PRESETS, preset
from proxy.policy.reader import read_policy
from proxy.policy.values import format_duration, parse_size
from proxy.verdict import STATUS, Mode, Reason, RuleName
from tests.deploy.test_rules import families
from tests.gates import PATIENCE, ROOT, TOKEN, until

README = (ROOT / "README.md").read_text()
HISTOGRAM = re.compile(r"_(bucket|count|sum)$")


def section(title: str) -> str:
    """What stands under a heading of the second level."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def rows(title: str) -> Iterator[list[str]]:
    """The cells of the tables under a heading, without head and rule."""
    for line in section(title).splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and not set(line) <= set("| -"):
            yield cells


def blocks(language: str, text: str = README) -> list[str]:
    """Fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def words(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


# -- the first screen


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[str]:
    """What ``make run`` shows, while it goes on serving."""
    log = tmp_path / "demo.log"
    with log.open("wb") as opened:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "proxy", "demo"], cwd=ROOT, stdout=opened, stderr=subprocess.STDOUT
        )
    try:
        until(lambda: "Ctrl-C ends it" in log.read_text() or process.poll() is not None, "the demo to serve")
        assert process.poll() is None, log.read_text()
        yield log.read_text()
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0, log.read_text()


def test_first_screen(demo: str) -> None:
    """Each command of the first screen does what the README says, and its answer is the one that stands there."""
    text = section("Try it")
    commands = [block for block in blocks("sh", text) if block.startswith("curl")]
    answers = blocks("text", text)
    assert len(commands) == len(answers) == 3
    port, observe = re.findall(r"http://127\.0\.0\.1:(\d+)/", demo)[:2]
    for command, answer in zip(commands, answers, strict=True):
        # Only the ports are ours: others may have 8080 and 9464 here.
        here = command.replace(":8080/", f":{port}/").replace(":9464/", f":{observe}/")
        done = subprocess.run(  # noqa: S603 - the README's own words, on loopback
            ["/bin/bash", "-euo", "pipefail", "-c", here], capture_output=True, text=True, timeout=PATIENCE, check=True
        )
        pattern = re.escape(answer.strip()).replace(r"\.\.\.", ".*")
        assert re.fullmatch(pattern, done.stdout.replace("\r", "").strip(), re.DOTALL), (command, done.stdout)


def test_make_targets() -> None:
    """The make targets that the README and its first screen name are there."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"run", "test"} <= targets
    assert set(re.findall(r"\bmake ([a-z]+)\b", " ".join([*blocks("sh"), *words(README)]))) <= targets
    assert re.search(r"^run:.*\n\t@\$\(BIN\)/hookgate demo", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_install_lines(tmp_path: Path) -> None:
    """The lines under Install write a policy that is sound; the one that serves is in the tests of the commands."""
    lines = [line for block in blocks("sh", section("Install")) for line in block.splitlines() if line.startswith("hookgate ")]
    assert [line.split()[1] for line in lines] == ["init", "check", "serve"]
    for line in lines[:2]:
        done = subprocess.run(  # noqa: S603 - the README's own words
            [sys.executable, "-m", "proxy", *line.split()[1:]],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def test_commands_exist() -> None:
    """The table of commands has every verb, and every command line names one."""
    listed = {words(cells[0])[0].split()[1] for cells in rows("Install") if cells[0].startswith("`hookgate")}
    shown = subprocess.run(
        [sys.executable, "-m", "proxy", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=True
    ).stdout
    verbs = set(re.findall(r"^    ([a-z]+)\b", shown.partition("verbs:")[2], re.MULTILINE))
    assert listed == verbs
    used = re.findall(r"^(?:\d\. `)?hookgate ([a-z]+)", "\n".join([*blocks("sh"), README]), re.MULTILINE)
    assert set(used) <= verbs


# -- policies


def whole(block: str) -> str:
    """A policy from a block of the README that may be a part of one."""
    given: dict[str, Any] = yaml.safe_load(block)
    if "version" in given:
        return block
    route = {
        "name": "part",
        "path": "/part",
        "provider": "telegram",
        "secrets": [{"id": "first", "from_file": "secrets/telegram"}],
    }
    if "rules" in given:
        route["rules"] = given.pop("rules")
    top = {"listen": {"address": "127.0.0.1:8080"}, "upstream": {"url": "http://127.0.0.1:8081"}, "routes": [route], **given}
    # JSON is YAML, and has no second form for anything. Dates become text again.
    return yaml.safe_dump({"version": 1, **top}).replace("+00:00", "Z").replace("2027-02-01 00:00:00Z", "2027-02-01T00:00:00Z")


@pytest.mark.parametrize("block", blocks("yaml"), ids=lambda block: block.split("\n", 2)[1].strip())
def test_policies_load(block: str, tmp_path: Path, certificate: tuple[bytes, bytes]) -> None:
    """Each policy of the README, and each part of one, is sound."""
    for name in ("secrets/telegram", "secrets/telegram-2027-01", "schemas/crm.json", "tls/tls.crt", "tls/tls.key"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / "secrets/telegram").write_text(TOKEN)
    (tmp_path / "secrets/telegram-2027-01").write_text(TOKEN[::-1])
    (tmp_path / "secrets/app-secret").write_text(TOKEN)
    (tmp_path / "secrets/known-to-the-bot").write_text(TOKEN)
    (tmp_path / "secrets/audit-key").write_text(TOKEN)
    (tmp_path / "secrets/verify-token").write_text("agreed-with-meta")
    (tmp_path / "schemas/crm.json").write_text('{"type": "object"}')
    (tmp_path / "tls/tls.crt").write_bytes(certificate[0])
    (tmp_path / "tls/tls.key").write_bytes(certificate[1])
    (tmp_path / "policy.yaml").write_text(whole(block))
    now = 1_795_000_000.0  # before the README's not_after
    loaded = read_policy(tmp_path / "policy.yaml", {"CRM_SECRET": TOKEN, "MICROSOFT_APP_ID": "0f1e2d3c"}, now=now)
    assert isinstance(loaded.policy, Policy)


@pytest.fixture(scope="module")
def certificate() -> tuple[bytes, bytes]:
    """A certificate and its key."""
    import trustme

    made = trustme.CA().issue_cert("bot.example.com")
    return made.cert_chain_pems[0].bytes(), made.private_key_pem.bytes()


def test_every_rule_is_shown_in_its_order() -> None:
    """The policy that shows all rules has all of them, in running order."""
    shown = next(block for block in blocks("yaml") if "transport:" in block)
    assert list(yaml.safe_load(shown)["routes"][0]["rules"]) == [rule.value for rule in RuleName]


# -- tables


def test_reasons() -> None:
    """The table of reasons has every reason with its status, and no other."""
    listed = {words(cells[0])[0]: int(cells[1]) for cells in rows("Reasons") if words(cells[0])}
    assert listed == {reason.value: status for reason, status in STATUS.items()}
    assert set(STATUS) == set(Reason)
    assert all(len(cells[2]) > 10 for cells in rows("Reasons") if words(cells[0]))


def test_metrics() -> None:
    """The table of metrics has every metric with its labels, and no other."""
    listed = {words(cells[0])[0]: set(words(cells[1])) for cells in rows("Metrics") if words(cells[0])}
    shown = {HISTOGRAM.sub("", name): set(labels) - {"le"} for name, labels in families().items()}
    assert listed == shown


_KINDS = {
    "token": "plain secret",
    "hash": "plain hash",
    "ed25519": "signature of a public key",
    "rsa": "signature of a public key",
    "ecdsa": "signature of a public key",
    "jwt": "token that an issuer signs",
    "paypal": "signature of a certificate",
    "aws-sns": "signature of a certificate",
    "http-message-signatures": "HTTP Message Signatures",
    "wecom": "encrypted body",
    "dingtalk-callback": "encrypted body",
    "lark-envelope": "encrypted body",
    "hmac-envelope": "encrypted body",
    "twilio": "HMAC over body and",
    "any": "HMAC over body and",
    "adyen-payments": "HMAC over a few fields",
}


def _kind(signature: dict[str, str]) -> str:
    """How the row of a preset begins."""
    if not signature:
        return "your own"
    template = signature.get("template", "")
    if signature["scheme"] != "hmac":
        return _KINDS[signature["scheme"]]
    if template == "{body}":
        return "HMAC over the body"
    return "HMAC over body and" if "{body}" in template else "HMAC over a few fields"


def test_presets() -> None:
    """The table of presets has each once, in the row of its kind of proof."""
    listed = {name: cells[0] for cells in rows("Presets") for name in words(cells[1])}
    assert sorted(name for cells in rows("Presets") for name in words(cells[1])) == sorted(PRESETS)
    for name, kind in listed.items():
        rules = preset(name).route.get("rules", {})
        assert isinstance(rules, dict)
        assert kind.startswith(_kind(rules.get("signature", {}))), name


def test_limits() -> None:
    """The table of limits has every limit with its default."""
    listed: dict[str, str] = {}
    for cells in rows("Limits"):
        if words(cells[0]):
            listed |= dict(zip(words(cells[0]), cells[1].split(" · "), strict=True))
    assert listed.keys() == Limits.model_fields.keys()
    for name, written in listed.items():
        default = Limits.model_fields[name].default
        if isinstance(default, float):
            assert written == format_duration(default), name
        elif isinstance(default, WrongCredentials):
            assert written == f"{default.limit}, {default.burst} at once", name
        else:
            assert (parse_size(written) if not written.isdigit() else int(written)) == default, name


def test_modes() -> None:
    """The table of modes has all of them."""
    listed = {word for cells in rows("Modes and the switch") for word in words(cells[0])}
    assert listed - {"mode"} == {mode.value for mode in Mode} | {"5%"}


def test_links() -> None:
    """Every file that the README links to is there, and every anchor is a heading of its own."""
    headings = {
        re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in re.findall(r"^#+ (.+)$", README, re.MULTILINE)
    }
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert links
    for link in links:
        assert link[1:] in headings if link.startswith("#") else (ROOT / link).exists(), link


def test_every_policy_of_config_is_named() -> None:
    """Each file of config/ is in the README."""
    for file in (ROOT / "config").glob("*.yaml"):
        assert f"config/{file.name}" in README
