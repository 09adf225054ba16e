"""What a finding counts for: the switch, else the route's mode, else the policy's, combined with the rule's own. Pure."""

from typing import NamedTuple

from proxy.policy.values import Stance
from proxy.verdict import Mode

_MILDNESS = {Mode.OFF: 0, Mode.REPORT: 1, Mode.ENFORCE: 2}


def milder(one: Mode, other: Mode) -> Mode:
    """The milder of two modes: off before report before enforce."""
    return one if _MILDNESS[one] <= _MILDNESS[other] else other


class Switch(NamedTuple):
    """The operator's run-time override: for everything, or for single routes. Empty means: as the policy says."""

    everything: Stance | None = None
    routes: tuple[tuple[str, Stance], ...] = ()

    def of(self, route: str) -> Stance | None:
        """The override that holds for a route; its own wins over the one for everything."""
        return dict(self.routes).get(route, self.everything)

    def turned(self, stance: Stance | None, route: str | None) -> "Switch":
        """The switch after one turn; ``None`` gives control back to the policy, for a route or for everything and every route."""
        if route is None:
            return Switch(stance)
        routes = {name: kept for name, kept in self.routes if name != route}
        if stance is not None:
            routes[route] = stance
        return Switch(self.everything, tuple(sorted(routes.items())))

    @property
    def engaged(self) -> bool:
        """Whether anything is overridden."""
        return self.everything is not None or bool(self.routes)


def stance_of(switch: Stance | None, route: Stance | None, policy: Stance) -> Stance:
    """The first that says anything: the switch, the route, the policy."""
    return switch or route or policy


def chosen(digest: bytes, share: int) -> bool:
    """Whether a body falls into the enforced share (percent): the same body always falls on the same side."""
    return int.from_bytes(digest[:4], "big") % 100 < share
