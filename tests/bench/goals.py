"""What Hookgate promises about its speed, as a table of limits, and how a run compares with them."""

from typing import NamedTuple

from .latency import Added
from .memory import Memory
from .schemes import Costs as SchemeCosts
from .store_cost import Costs
from .throughput import Cost


class Goal(NamedTuple):
    """One promise. ``measured`` is None when the run had nothing to measure it with."""

    promise: str
    limit: float
    measured: float | None

    @property
    def met(self) -> bool | None:
        """None: not measured."""
        return None if self.measured is None else self.measured <= self.limit


_SHARES = (
    ("envoy", 1.0, "CPU per request, times that of Envoy passing through"),
    ("caddy", 0.6, "CPU per request, times that of Caddy passing through"),
    ("nginx-njs", 2.5, "CPU per request, times that of nginx with njs HMAC"),
    ("plain", 0.33, "CPU per request, times that of the plain aiohttp proxy"),
)


_CLAIMS = (
    ("sqlite", 25.0, "claim and confirm in SQLite, 32 at once, us"),
    ("redis", 40.0, "claim and confirm in Redis, 32 at once, us"),
)


_HMACS = ("hmac, hex", "hmac, base64", "hmac, list", "hmac, list, base64")
_BODY = 4096


def _schemes(costs: SchemeCosts) -> list[Goal]:
    """The slowest HMAC, and what the most is that the policy adds to the same check by hand."""
    slowest = max((costs[name][_BODY][0] for name in _HMACS if name in costs), default=None)
    added = {name: rule - bare for name, by_size in costs.items() for rule, bare in [by_size[_BODY]]}
    most = max(added, key=lambda name: added[name], default="")
    which = f" ({most})" if most else ""
    return [
        Goal("an HMAC over 4 kB, whatever its form, us", 15.0, slowest),
        Goal(f"the policy around a scheme by hand, 4 kB, us{which}", 3.0, added.get(most)),
    ]


def judge(
    costs: dict[str, Cost], latency: Added | None, memory: Memory | None, stores: Costs, schemes: SchemeCosts
) -> list[Goal]:
    """Every goal, measured or not."""
    gate = costs.get("hookgate")
    goals = [
        Goal(promise, limit, gate.median / costs[name].median if gate and name in costs else None)
        for name, limit, promise in _SHARES
    ]
    added = latency.difference if latency else None
    return [
        *goals,
        Goal("added latency at 1,000 requests a second, p50, ms", 0.15, added.p50 if added else None),
        Goal("added latency at 1,000 requests a second, p99, ms", 0.4, added.p99 if added else None),
        Goal("resident memory a worker, MB", 60.0, memory.worker / 1e6 if memory else None),
        Goal("resident memory an idle connection, kB", 8.0, memory.per_idle_connection / 1e3 if memory else None),
        *(Goal(promise, limit, stores[name][32] if name in stores else None) for name, limit, promise in _CLAIMS),
        *_schemes(schemes),
    ]
