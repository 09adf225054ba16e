"""Keys from one address, and when to ask for them again: before they grow old, and for an unknown key now and then.

Nothing here runs by itself: a request that needs keys may set off one fetch, which all others share. Old keys go on serving
while their source is down, for a bounded time; what is no answer, or holds no keys, never takes the place of keys that did.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Generic, NamedTuple

from proxy.keyring.addresses import Allowed, host_of
from proxy.keyring.base import FetchError, Kept, Read

_log = logging.getLogger("hookgate.keyring")

LEAST_FRESH: Final = 300.0
USUAL_FRESH: Final = 3600.0
MOST_FRESH: Final = 86400.0
"""Seconds that keys are fresh: as their source says, within these bounds."""
EARLY: Final = 0.8
"""The part of that time after which new ones are asked for, while the old ones serve."""
STALE: Final = 86400.0
"""Seconds beyond it for which they still serve when no new ones can be had."""
FLOOR: Final = 300.0
"""Seconds between two fetches for the sake of keys that nobody knows: anyone can name one."""
_RETRY_FIRST: Final = 5.0
_RETRY_MOST: Final = 300.0
_PATIENCE: Final = 2.0
"""Seconds that a request waits for keys at most."""


class Fetched(NamedTuple):
    """What a source answered."""

    body: bytes | None
    """``None``: as before (304)."""
    etag: str
    max_age: float | None
    """Seconds, as its Cache-Control says; ``None`` where it says nothing."""


Fetch = Callable[[str, Allowed, str], Awaitable[Fetched]]
"""Address, where it may lead, and the entity tag of what is known. Raises ``FetchError``."""


class Cached(Generic[Kept]):
    """One address and what came from it. ``told`` hears ``fetched``, ``unchanged`` or ``failed`` after each try."""

    def __init__(
        self,
        url: str,
        allowed: Allowed,
        read: Read[Kept],
        *,
        through: Callable[[bytes], str] | None,
        fetch: Fetch,
        clock: Callable[[], float],
        told: Callable[[str], None],
    ) -> None:
        self._url = url
        self._allowed = allowed
        self._read = read
        self._through = through
        self._fetch = fetch
        self._clock = clock
        self._told = told
        self._kept: Kept | None = None
        self._etag = ("", "")
        self._refresh = self._stale = self._fresh = 0.0
        self._next_try = self._next_for_unknown = 0.0
        self._failures = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def kept(self) -> Kept | None:
        """The keys at hand, unless they are too old to believe."""
        return self._kept if self._clock() < self._stale else None

    def pending(self, *, missing: bool = False) -> Awaitable[None] | None:
        """What to wait for before a request is judged; sets off the fetch where one is due."""
        now = self._clock()
        self.ask(missing=missing)
        if self._task is None:
            return None
        serves = self._kept is not None and now < (self._stale if self._failures else self._fresh)
        return None if serves and not missing else self._wait(self._task)

    def ask(self, *, missing: bool = False) -> None:
        """Set off the fetch where one is due and none is under way."""
        now = self._clock()
        if self._task is None and now >= self._next_try and self._due(now, missing=missing):
            self._task = asyncio.get_running_loop().create_task(self._renew())

    def _due(self, now: float, *, missing: bool) -> bool:
        if self._kept is None or now >= self._refresh:
            return True
        if not missing or now < self._next_for_unknown:
            return False
        # SECURITY: a key's name is a stranger's word; whoever invents names must not make us hammer the source.
        self._next_for_unknown = now + FLOOR
        return True

    @staticmethod
    async def _wait(task: "asyncio.Task[None]") -> None:
        await asyncio.wait({task}, timeout=_PATIENCE)

    async def _renew(self) -> None:
        try:
            result = await self._ask()
        except Exception as error:
            # SECURITY: the text of an error that is not ours may quote what was read.
            why = str(error) if isinstance(error, FetchError) else f"what came is of no use ({type(error).__name__})"
            _log.warning("keys could not be fetched", extra={"facts": {"host": host_of(self._url), "why": why}})
            self._next_try = self._clock() + min(_RETRY_FIRST * 2 ** min(self._failures, 10), _RETRY_MOST)
            self._failures += 1
            result = "failed"
        finally:
            self._task = None
        self._told(result)

    async def _ask(self) -> str:
        url = self._url
        if self._through is not None:
            found = await self._fetch(url, self._allowed, "")
            url = self._through(found.body or b"")
        known, etag = self._etag
        fetched = await self._fetch(url, self._allowed, etag if known == url and self._kept is not None else "")
        if fetched.body is not None:
            self._kept = self._read(fetched.body)
        now = self._clock()
        fresh = min(max(USUAL_FRESH if fetched.max_age is None else fetched.max_age, LEAST_FRESH), MOST_FRESH)
        self._etag = (url, fetched.etag)
        self._refresh, self._fresh, self._stale = now + fresh * EARLY, now + fresh, now + fresh + STALE
        self._next_try, self._failures = 0.0, 0
        return "unchanged" if fetched.body is None else "fetched"

    def cancel(self) -> None:
        """End a fetch that is under way."""
        if self._task is not None:
            self._task.cancel()
