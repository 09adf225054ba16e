"""The bench's side of a generator process: send the order, wait for "ready", say go, take the result."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import BenchError
from .orders import Order, Result
from .processes import ROOT, environment, pinned, python


class Generator:
    """A started generator. It gives up by itself when a proxy does not answer, so reading from it always ends."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def tell(self, line: str) -> Result:
        """One line in, one line out; BenchError when the generator reports one or dies."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        result: Result = json.loads(self._process.stdout.readline() or '{"error": "the load generator died"}')
        if "error" in result:
            raise BenchError(result["error"])
        return result

    def go(self) -> Result:
        """Act now, and return what came of it."""
        return self.tell("go")


@contextmanager
def ready(module: str, order: Order, cores: set[int]) -> Iterator[Generator]:
    """A generator that has connected, warmed up and waits for ``go``; ended when the block is left."""
    with pinned(cores):
        process = subprocess.Popen(  # noqa: S603 - the bench's own command, no shell
            python(module), cwd=ROOT, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    with process:
        try:
            generator = Generator(process)
            generator.tell(json.dumps(order._asdict()))
            yield generator
        finally:
            process.kill()
