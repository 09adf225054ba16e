"""What a serving process has loaded: nothing that its policy does not use."""

import signal
import subprocess
import sys
from pathlib import Path

from tests.gates import PATIENCE, ROOT, TELEGRAM

UNUSED = {
    "aiohttp.client",
    "aiohttp.connector",
    "cryptography",
    "difflib",
    "frozenlist._frozenlist",
    "jsonschema_rs",
    "jwt",
    "proxy.keyring.fetching",
    "redis",
}
SERVE = """\
import sys
from proxy.cli import main
code = main(sys.argv[1:])
print(*sys.modules, sep="\\n", file=sys.stderr)
sys.exit(code)
"""
WORKER = """\
import sys
from proxy.footprint import lean
lean()
import proxy.workers.worker
import proxy.workers.zygote
print(*sys.modules, sep="\\n")
"""


def test_a_plain_policy(tmp_path: Path) -> None:
    """A gate of a plain policy serves without a client for keys that stand elsewhere, other schemes' libraries, and a Redis."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(TELEGRAM.format(bot=1))
    with subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-c", SERVE, "serve", str(policy)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as gate:
        assert gate.stdout is not None
        assert any('"listening"' in line for line in gate.stdout), "it ended before it served"
        gate.send_signal(signal.SIGTERM)
        _, told = gate.communicate(timeout=PATIENCE)
    assert gate.returncode == 0, told
    loaded = set(told.splitlines())
    assert "aiohttp.web" in loaded
    assert loaded & UNUSED == set()


def test_a_worker() -> None:
    """A worker is without what its parent alone does: pages, the command line, and whatever one process alone would lack, too."""
    ran = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", WORKER], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
    )
    assert ran.returncode == 0, ran.stderr
    loaded = set(ran.stdout.splitlines())
    assert "aiohttp.http_parser" in loaded
    assert loaded & (UNUSED | {"aiohttp.web", "argparse", "proxy.keeper"}) == set()
