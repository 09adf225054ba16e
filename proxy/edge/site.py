"""What a connection needs of its listener."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from proxy.edge.framing import Wire
from proxy.networks import Address
from proxy.parser import RawRequest
from proxy.policy.model import Limits
from proxy.verdict import Reason

Journey = Coroutine[Any, Any, None]

LineT_contra = TypeVar("LineT_contra", contravariant=True)


class Site(Protocol[LineT_contra]):
    """The listener of such connections. An interface, so never compiled."""

    loop: asyncio.AbstractEventLoop
    limits: Limits
    draining: bool
    proxied: bool
    """Every connection begins with a PROXY preamble."""
    buffered: int
    """Bytes of bodies that came in pieces and are in memory."""

    def admit(self, line: LineT_contra, transport: asyncio.Transport) -> Wire | None:
        """What is known of a new connection; ``None`` turns it away."""

    def proxied_for(self, wire: Wire, source: Address) -> Wire:
        """The wire of a connection whose preamble names its source."""

    def travel(self, line: LineT_contra, message: RawRequest) -> Journey:
        """The journey of one request on this line."""

    @property
    def recall(self) -> Callable[[LineT_contra, bytes], Journey | None]:
        """The same, where the bytes are one whole request with a head that is known already; ``None`` where they are not."""

    def wall(self, line: LineT_contra, reason: Reason) -> None:
        """Answer and count what never became a request."""

    def gone(self, line: LineT_contra) -> None:
        """The connection is closed."""
