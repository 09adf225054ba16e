"""What a rule sees of keys that stand elsewhere: what is at hand now, and whether it is worth waiting for more.

No library of the network is imported here: whoever judges must not be able to fetch.
"""

from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from proxy.errors import HookgateError
from proxy.keyring.addresses import Allowed

Kept = TypeVar("Kept")
Kept_co = TypeVar("Kept_co", covariant=True)

Read = Callable[[bytes], Kept]
"""What was fetched as keys, of a function that lives as long as the program. Raises ``ValueError`` for what is none."""


class FetchError(HookgateError):
    """Keys could not be had; the message says why and quotes nothing of what came."""


class Source(Protocol[Kept_co]):
    """Keys from one address."""

    @property
    def kept(self) -> Kept_co | None:
        """The keys at hand; ``None`` before the first ones came, and when they are too old to believe."""

    def pending(self, *, missing: bool = False) -> Awaitable[None] | None:
        """What to wait for before a request is judged, a few seconds at most; ``None`` where waiting gains nothing.

        ``missing``: the request names a key that is not among those at hand.
        """


class Shelf(Protocol[Kept_co]):
    """Keys from addresses that requests name, on hosts that the policy allows."""

    def fault(self, url: str) -> str | None:
        """Why nothing is fetched from there; ``None`` where it may be."""

    def source(self, url: str) -> Source[Kept_co] | None:
        """What is at that address; ``None`` where it may not be asked, or not now: strangers can name many."""


class Keyring(Protocol):
    """All keys that stand elsewhere."""

    def source(self, url: str, allowed: Allowed, read: Read[Kept], through: Callable[[bytes], str] | None = None) -> Source[Kept]:
        """The keys at an address, or at the one that ``through`` reads out of what stands there."""

    def shelf(self, allowed: Allowed, read: Read[Kept]) -> Shelf[Kept]:
        """Room for what requests will name."""


class _Nothing(Generic[Kept]):
    kept: Kept | None = None

    def pending(self, *, missing: bool = False) -> None:
        return None


class _Bare(Generic[Kept]):
    def __init__(self, allowed: Allowed) -> None:
        self.fault = allowed.fault

    def source(self, url: str) -> None:
        return None


class NoNetwork:
    """For whoever judges without a network: nothing is ever at hand."""

    def source(self, url: str, allowed: Allowed, read: Read[Kept], through: Callable[[bytes], str] | None = None) -> Source[Kept]:
        """Nothing."""
        return _Nothing()

    def shelf(self, allowed: Allowed, read: Read[Kept]) -> Shelf[Kept]:
        """Nothing, but the judgement of addresses."""
        return _Bare(allowed)
