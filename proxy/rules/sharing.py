"""Counting together with other processes: an interface, so never compiled."""

from typing import Protocol


class Shared(Protocol):
    """Due times that other processes count too."""

    def take(self, client: bytes, now: float, interval: float, slack: float) -> float | None:
        """Count one request, unless it is too early: 0.0, or the seconds to wait; ``None`` when nobody can say."""
