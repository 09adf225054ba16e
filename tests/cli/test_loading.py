"""What a small command loads: a health check every few seconds must cost little."""

import subprocess
import sys
from pathlib import Path

from tests.gates import ROOT

HEAVY = {"pydantic", "aiohttp", "uvloop", "jsonschema_rs", "cryptography", "prometheus_client", "redis", "jwt", "sqlite3"}


def loaded(*words: str) -> set[str]:
    """The libraries that a command line has loaded when it ends."""
    code = f"import sys; from proxy.cli import main; main({list(words)!r}); print('\\n'.join(sys.modules), file=sys.stderr)"
    ran = subprocess.run(  # noqa: S603 - the words are ours
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    return {line.partition(".")[0] for line in ran.stderr.splitlines()}


def test_healthcheck(tmp_path: Path) -> None:
    """The health check reads the policy's address without the policy's types, and without the gate."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\nobserve: {address: 127.0.0.1:1}\n")
    assert loaded("healthcheck", str(policy)) & HEAVY == set()


def test_a_verb_alone(tmp_path: Path) -> None:
    """A verb that makes a secret loads nothing that serves one."""
    assert loaded("secret", "new") & HEAVY <= {"pydantic"}
