"""The workers that ask the senders' own libraries, and the bodies that they are asked about."""

import base64
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.gates import ROOT

HERE: Final = Path(__file__).parent
PYTHON: Final = Path(os.environ.get("HOOKGATE_SENDERS", str(Path(sys.prefix) / "senders"))) / "bin" / "python"
"""The libraries' own interpreter, in an environment inside ours."""
NODE: Final = HERE / "node"


class Worker:
    """A process that answers a line with a line."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def ask(self, do: str, sender: str, secret: str, body: bytes, **more: Any) -> dict[str, Any]:
        """What the library says; fails where it broke."""
        asked = {"do": do, "sender": sender, "secret": secret, "body": base64.b64encode(body).decode(), **more}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        self._process.stdin.flush()
        said: dict[str, Any] = json.loads(self._process.stdout.readline() or '{"broke": "the worker ended"}')
        assert "broke" not in said, f"{sender}, {do}: {said['broke']}"
        return said

    def takes(self, sender: str, secret: str, body: bytes, fields: dict[str, str], **more: Any) -> bool:
        """Whether the library takes the request."""
        return bool(self.ask("verify", sender, secret, body, fields=fields, **more)["taken"])


@contextmanager
def worker(*command: str | Path) -> Iterator[Worker]:
    """A worker until the end of the block."""
    with subprocess.Popen(  # noqa: S603 - our own worker
        [str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT
    ) as process:
        try:
            yield Worker(process)
        finally:
            process.kill()


def bodies(seed: str, count: int, *, utf8: bool, empty: bool = True) -> Iterator[bytes]:
    """So many bodies: none, a mebibyte, JSON, lines, NULs, emoji, and where the library takes bytes, any bytes at all."""
    chance = random.Random(seed)  # noqa: S311 - the same bodies each time
    first = [b"" if empty else b"0", b"\0", b"\r\n", b"\xef\xbb\xbf{}", "👩‍👩‍👧 grüße\r\n\0".encode(), _large(chance, utf8=utf8)]
    yield from first[:count]
    for _ in range(count - len(first)):
        kind = chance.randrange(4)
        if kind == 0:
            yield json.dumps(_tree(chance, 3), ensure_ascii=chance.random() < 0.5).encode("utf-8", "replace")
        elif kind == 1 and not utf8:
            yield chance.randbytes(chance.randrange(1, 4000))
        elif kind == 2:
            yield b"\r\n".join(_word(chance).encode() for _ in range(chance.randrange(1, 40)))
        else:
            yield _word(chance, 2000).encode()


def _large(chance: random.Random, *, utf8: bool) -> bytes:
    return (b"0123456789abcdef" if utf8 else chance.randbytes(16)) * 65536


_LETTERS: Final = "abc XYZ012\t\n\r\0\"'\\/{}[]<>&=+%;,.:ß€中\U0001f44b\u200d\u2028\ufeff"


def _word(chance: random.Random, most: int = 30) -> str:
    return "".join(chance.choices(_LETTERS, k=chance.randrange(1, most)))


def _tree(chance: random.Random, depth: int) -> Any:
    if depth == 0 or chance.random() < 0.2:
        return chance.choice([None, True, 0, -1, 1e300, 2**70, _word(chance)])
    if chance.random() < 0.5:
        return [_tree(chance, depth - 1) for _ in range(chance.randrange(5))]
    return {_word(chance): _tree(chance, depth - 1) for _ in range(chance.randrange(5))}
