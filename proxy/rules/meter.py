"""Counting by GCRA (the generic cell rate algorithm, ITU-T I.371): of each client only when its next request is due.

Bounded: beyond so many clients newcomers share one due time, so that nobody can push others' out.
"""

from proxy.rules.sharing import Shared

_KEPT = 100_000


class Meter:
    """``requests`` in ``seconds`` in the long run, ``burst`` at once; in this process, or with others through ``shared``."""

    def __init__(self, requests: float, seconds: float, burst: int, shared: Shared | None = None, scope: str = "") -> None:
        """``scope`` tells the clients of this meter from those of others that share the same due times."""
        self.interval = seconds / requests
        """Seconds between two requests in the long run."""
        self.slack = self.interval * (burst - 1)
        """Seconds of them that may be spent in advance."""
        self._shared = shared
        self._scope = f"{scope} "
        self._due: dict[str, float] = {}
        self._swept = 0.0

    def take(self, client: str, now: float) -> float:
        """Count one at ``now`` (monotonic seconds), unless it is too early: 0.0, or the seconds to wait, uncounted."""
        if self._shared is not None:
            wait = self._shared.take((self._scope + client).encode(), now, self.interval, self.slack)
            if wait is not None:
                return wait
        due = self._due.get(client)
        if due is None:
            if len(self._due) >= _KEPT and not self._room(now):
                client = ""
            due = max(self._due.get(client, now), now)
        elif due < now:
            due = now
        wait = due - now - self.slack
        if wait > 1e-9:
            return wait
        self._due[client] = due + self.interval
        return 0.0

    def _room(self, now: float) -> bool:
        if now - self._swept >= 1.0:  # at most once a second: a flood of newcomers must not buy a walk each
            self._swept = now
            self._due = {client: due for client, due in self._due.items() if due > now}
        return len(self._due) < _KEPT
