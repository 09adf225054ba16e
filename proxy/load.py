"""What whoever serves is busy with at a moment."""

from typing import NamedTuple


class Load(NamedTuple):
    """What the moment tells of whoever serves: of one process, or of all workers together."""

    in_flight: int = 0
    connections: int = 0
    entries: int = 0
    certificate_expiry: float | None = None
    log_dropped: int = 0
    audit_dropped: int = 0
    silent: tuple[str, ...] = ()
    """Routes whose bot is left alone for a while, because it keeps silent."""
