"""The interface of a store of replay claims, and the words of its answers.

A claim is made in two phases: ``claim`` reserves a key before the request is forwarded; ``confirm`` keeps it for its window once
the bot has answered 2xx; ``release`` forgets it, so that the sender's next try goes through. A reserved claim belongs to
the process that made it: when that process is dead, the claim's end is unknown (``IN_DOUBT``), until one that takes it over
confirms it.
"""

import asyncio
from collections.abc import Awaitable
from enum import Enum
from typing import NamedTuple, Protocol, runtime_checkable


class Claimed(Enum):
    """What ``claim`` found."""

    NEW = "new"
    """Reserved for the caller, who must confirm or release it."""
    DELIVERED = "delivered"
    """Confirmed earlier, with the same body: a repeat."""
    IN_FLIGHT = "in flight"
    """Reserved by a request that is still on its way; ``Claim.end`` tells how that one ends, where it is known here."""
    CONFLICT = "conflict"
    """The same key with another body."""
    IN_DOUBT = "in doubt"
    """Reserved for the caller, like ``NEW``; an earlier holder died without telling how its request ended."""


class Claim(NamedTuple):
    """The answer to ``claim``."""

    state: Claimed
    end: "asyncio.Future[bool] | None" = None
    """With ``IN_FLIGHT`` only: resolves to True when the holder confirms, to False when it releases or dies."""


NEW = Claim(Claimed.NEW)
DELIVERED = Claim(Claimed.DELIVERED)
CONFLICT = Claim(Claimed.CONFLICT)
IN_DOUBT = Claim(Claimed.IN_DOUBT)


class Store(Protocol):
    """What the replay rule needs. Every method raises ``StoreError`` when the store cannot answer in time."""

    async def open(self) -> None:
        """Make ready; raises ``StartError`` with the remedy when that cannot be."""

    async def close(self) -> None:
        """Finish what is pending and let go of files and connections."""

    def claim(self, key: bytes, digest: bytes, window: float) -> Awaitable[Claim]:
        """Reserve ``key`` (at most 300 bytes) for a body with this digest (16 bytes); confirmed, it lasts ``window`` seconds."""

    def confirm(self, key: bytes) -> Awaitable[None]:
        """The request was delivered: remember the key for its window, counted from now."""

    def release(self, key: bytes) -> Awaitable[None]:
        """The request was not delivered: forget the key, or, where it was in doubt before, put it in doubt again."""

    def entries(self) -> int:
        """How many keys are held, roughly; for the gauge."""


@runtime_checkable
class SharedRates(Protocol):
    """What a store may offer besides: rates that all who share it count together (GCRA, as the rate rule does it alone)."""

    def take(self, key: bytes, interval: float, slack: float) -> Awaitable[float]:
        """Count one request for ``key``, unless it is too early: 0.0 when it may pass, else the seconds to wait, uncounted.

        ``interval`` seconds lie between two requests in the long run; ``slack`` seconds of them may be spent in advance.
        Raises ``StoreError`` when the store cannot answer in time.
        """
