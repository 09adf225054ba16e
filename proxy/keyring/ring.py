"""All keys that stand elsewhere: one cache an address, shared by routes and kept over reloads."""

import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, Generic

from proxy.keyring.addresses import Allowed
from proxy.keyring.base import Kept, Read
from proxy.keyring.source import Cached, Fetch

_MOST_NAMED: Final = 32
_NEW_PER_MINUTE: Final = 10


class Ring:
    """The keyring of a running gate."""

    def __init__(
        self,
        fetch: Fetch | None = None,
        clock: Callable[[], float] = time.monotonic,
        told: Callable[[str], None] = lambda result: None,
    ) -> None:
        """``told`` hears how each fetch ended: ``fetched``, ``unchanged`` or ``failed``."""
        self._fetch = fetch
        self._close: Callable[[], Awaitable[None]] | None = None
        self._clock = clock
        self._sources: dict[tuple[object, ...], Cached[Any]] = {}
        self._shelves: dict[tuple[object, ...], Named[Any]] = {}
        self._told = told

    def source(self, url: str, allowed: Allowed, read: Read[Kept], through: Callable[[bytes], str] | None = None) -> Cached[Kept]:
        """The keys at an address, or at the one that ``through`` reads out of what stands there."""
        key = (url, allowed, read, through)
        if key not in self._sources:
            self._sources[key] = self._cached(self._fetching(), url, allowed, read, through)
        return self._sources[key]

    def shelf(self, allowed: Allowed, read: Read[Kept]) -> "Named[Kept]":
        """Room for what requests will name."""
        key = (allowed, read)
        if key not in self._shelves:
            fetch = self._fetching()
            self._shelves[key] = Named(allowed, lambda url: self._cached(fetch, url, allowed, read), self._clock)
        return self._shelves[key]

    def _fetching(self) -> Fetch:
        if self._fetch is None:
            # Here, because a client is large, and few policies have keys elsewhere.
            from proxy.keyring.fetching import Fetcher

            fetcher = Fetcher()
            self._fetch, self._close = fetcher, fetcher.close
        return self._fetch

    def _cached(
        self, fetch: Fetch, url: str, allowed: Allowed, read: Read[Kept], through: Callable[[bytes], str] | None = None
    ) -> Cached[Kept]:
        return Cached(url, allowed, read, through=through, fetch=fetch, clock=self._clock, told=self._told)

    def prefetch(self) -> None:
        """Set off what the policy's own addresses lack, in the background: the first request should not wait for it."""
        for source in self._sources.values():
            source.ask()

    async def close(self) -> None:
        """End all fetches."""
        shelved: Iterable[Cached[Any]] = (one for shelf in self._shelves.values() for one in shelf.known)
        for source in (*self._sources.values(), *shelved):
            source.cancel()
        if self._close is not None:
            await self._close()


class Named(Generic[Kept]):
    """Addresses that requests named: few are known at once, and few new ones are asked a minute."""

    def __init__(self, allowed: Allowed, make: Callable[[str], Cached[Kept]], clock: Callable[[], float]) -> None:
        self.fault = allowed.fault
        self._make = make
        self._clock = clock
        self._known: dict[str, Cached[Kept]] = {}
        self._next_new = 0.0

    @property
    def known(self) -> Iterable[Cached[Kept]]:
        """All that are known now."""
        return self._known.values()

    def source(self, url: str) -> Cached[Kept] | None:
        """What is at that address; ``None`` where it may not be asked, or too many new ones were."""
        found = self._known.pop(url, None)
        if found is None:
            # SECURITY: whoever invents addresses on an allowed host gets us to ask there ten times a minute, no more.
            now, step = self._clock(), 60.0 / _NEW_PER_MINUTE
            if self.fault(url) or self._next_new - now > 60.0 - step:
                return None
            self._next_new = max(self._next_new, now) + step
            found = self._make(url)
            self._make_room()
        self._known[url] = found
        return found

    def _make_room(self) -> None:
        """What brought nothing goes first, then what was not asked for the longest."""
        if len(self._known) >= _MOST_NAMED:
            idle = next((url for url, one in self._known.items() if one.kept is None), None)
            self._known.pop(idle or next(iter(self._known))).cancel()
