"""How the bench speaks with a generator: an order in, "ready" out, "go" in, a result out; one JSON line each.

Between "ready" and "go" the bench reads the proxy's CPU clock, so connecting, warming up and making requests are not counted.
The secret travels in the order and so stands on no command line.
"""

import gc
import json
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from .errors import BenchError


class Order(NamedTuple):
    """What a generator has to do."""

    port: int
    secret: str
    first_update_id: int
    requests: int
    connections: int
    warm_up: int = 0
    """Requests before "ready"; they come out of the same ids, before the counted ones."""
    per_second: int = 0
    """Pace of an open loop."""


Result = dict[str, Any]


def carry_out(prepare: Callable[[Order], Callable[[], Result]]) -> None:
    """The generator's side: make everything ready, say so, and act when told."""
    order = Order(**json.loads(sys.stdin.readline()))
    try:
        act = prepare(order)
        gc.disable()  # a pause of the generator would be counted as one of the proxy
        _say({"ready": True})
        sys.stdin.readline()
        _say(act())
    except (BenchError, OSError) as error:
        _say({"error": str(error) or type(error).__name__})


def _say(result: Result) -> None:
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()
