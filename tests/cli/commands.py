"""Running one command as a process of its own, and what can be said of its answer."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.gates import PATIENCE, ROOT, TOKEN

POLICY = """\
version: 1
listen: {address: 127.0.0.1:0}
observe: {address: 127.0.0.1:0}
upstream: {url: "http://127.0.0.1:9"}
routes:
  - name: telegram
    path: /telegram
    provider: telegram
    secrets: [{id: first, from_env: TELEGRAM_SECRET}]
"""
"""Sound, with everything else as it is by default: the socket in run/, the state in state/."""

ENVIRON = {"TELEGRAM_SECRET": TOKEN, "PYTHONPATH": str(ROOT)}

# Root reads and writes everything; without these capabilities it is a user like any other.
_ORDINARY = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()


class Ran(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    def sentence(self) -> str:
        """The one line that it said in all; fails where it said more, or showed where it broke."""
        said = (self.out + self.err).splitlines()
        assert len(said) == 1, said
        assert "Traceback" not in said[0]
        return said[0]


def run(*words: str, cwd: Path, environ: Mapping[str, str] = ENVIRON, ordinary: bool = False) -> Ran:
    """``hookgate WORDS`` in the folder ``cwd``, ``ordinary``: as a user whom file permissions bind."""
    prefix = _ORDINARY if ordinary else ()
    done = subprocess.run(  # noqa: S603 - our own command
        [*prefix, sys.executable, "-m", "proxy", *words],
        cwd=cwd,
        env={**{name: value for name, value in os.environ.items() if name != "TELEGRAM_SECRET"}, **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)
