"""The environment in which the sample policies are read, and the moment."""

import re
from datetime import UTC, datetime
from pathlib import Path

FOLDER = Path(__file__).parent
GOOD = sorted((FOLDER / "good").glob("*.yaml"))
BAD = sorted((FOLDER / "bad").glob("*.yaml"))

NOW = datetime(2026, 11, 22, tzinfo=UTC).timestamp()

ENVIRON = {
    "SECRET": "correct-horse-battery-staple_42",
    "SECRET_HEX": "00112233445566778899aabbccddeeff",
    "SHORT_HEX": "00112233445566778899aabbccdd",
    "EMPTY": "",
    "BLANK": " \t ",
    "SHORT": "fifteen-bytes-x",
    "REPEATED": "a" * 32,
    "FOREIGN": "not/for*telegram*or*base64",
    "PADDED": " correct-horse-battery-staple",
    "LONG": "ab" * 129,
}


def expected(file: Path) -> list[str]:
    """What a bad policy says about itself in its first lines: ``#: line:column: path: message``."""
    return re.findall(r"^#: (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
