"""Resident memory of Hookgate after load, and what an idle connection adds to it."""

from typing import NamedTuple

from .generators import ready
from .stage import Running, Stage


class Memory(NamedTuple):
    """Bytes of resident memory (VmRSS)."""

    worker: int
    """The largest of the gate's processes, after all load of the run."""
    per_idle_connection: float
    connections: int
    """How many idle connections that was measured with."""


def measure(stage: Stage, gate: Running, connections: int) -> Memory:
    """Before, and while ``connections`` connections that each made one request are open."""
    before = gate.child.resident_bytes()
    with ready("idle_connections", stage.order(gate.port, connections, connections), stage.load_cores) as generator:
        during = gate.child.resident_bytes()
        generator.go()
    return Memory(max(before), (sum(during) - sum(before)) / connections, connections)
