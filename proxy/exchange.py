"""The finished story of one request: all that observers ever see. No body, no header value, no path, no secret."""

from typing import NamedTuple

from proxy.verdict import Cause, Finding, Outcome, Reason


class Exchange(NamedTuple):
    """Facts, findings, outcome, timings (seconds)."""

    arrived: float
    request_id: str
    route: str
    """``-`` where no route was found."""
    peer: str
    client: str
    listed: bool
    """The client is in the networks that the route's sender publishes; asked only where there are findings."""
    outcome: Outcome
    reason: Reason
    findings: tuple[Finding, ...]
    secret: str
    """Id of the secret that matched."""
    cause: Cause
    status: int
    size: int
    """Bytes of the request's body as far as it was read."""
    update_type: str
    quarantined: bool
    """Refused, and acknowledged to the sender."""
    ambiguous: bool
    """Forwarded although an earlier try may have reached the bot."""
    total: float
    verification: float
    upstream: float
    """0 when the bot was not asked."""
