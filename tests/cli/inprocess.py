"""The command line run in this process: words and bytes in, exit code and bytes out."""

import contextlib
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from proxy.cli import main
from tests.policies import policy_text

SECRET = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"  # noqa: S105 - of tests alone
"""Usable in every form that a key can have: text, hex, base64."""


class Ran(NamedTuple):
    """How a command ended and what it wrote."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        """Standard output as text."""
        return self.out.decode()

    @property
    def tree(self) -> dict[str, Any]:
        """Standard output as one JSON object."""
        tree: dict[str, Any] = json.loads(self.out)
        return tree


def hookgate(*words: str | Path, stdin: bytes = b"") -> Ran:
    """Run ``hookgate`` with these words."""
    with _streams(stdin) as (out, err):
        try:
            code = main([str(word) for word in words])
        except SystemExit as exit:
            code = int(exit.code or 0)
        sys.stdout.flush()
        sys.stderr.flush()
        return Ran(code, out.getvalue(), err.getvalue().decode())


@contextlib.contextmanager
def _streams(stdin: bytes) -> Iterator[tuple[io.BytesIO, io.BytesIO]]:
    out, err = io.BytesIO(), io.BytesIO()
    former = sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin))
    try:
        with contextlib.redirect_stdout(io.TextIOWrapper(out)), contextlib.redirect_stderr(io.TextIOWrapper(err)):
            yield out, err
    finally:
        sys.stdin = former


def policy(folder: Path, *routes: dict[str, Any], **top: Any) -> Path:
    """A policy file with these routes; each has a secret and a path unless it gives them."""
    whole = [{"name": "bot", "path": "/secret-path", "secrets": [{"id": "first", "value": SECRET}], **route} for route in routes]
    file = folder / "policy.yaml"
    file.write_text(policy_text(whole, **top))
    return file
