"""From the policy's ``store.url`` to a store that is not opened yet: the one place that knows which stores exist."""

from collections.abc import Callable
from pathlib import Path

from proxy.errors import StartError
from proxy.redis_url import RedisAccess
from proxy.store.base import Store
from proxy.store.memory import MemoryStore
from proxy.store.sqlite import SqliteStore


def _unheard(event: str) -> None:
    """Nobody counts it."""


def open_store(
    url: str, redis: RedisAccess | None = None, *, lease: float = 60.0, event: Callable[[str], None] = _unheard
) -> Store:
    """The store that ``url`` names, ``memory:`` or ``sqlite:PATH``, or the one that ``redis`` opens. The caller then opens it.

    Of a Redis: ``lease`` (seconds) must be longer than a request can be under way, and ``event`` is told ``emptied`` when it was.

    Raises:
        StartError: there is no such store here.
    """
    if redis is not None:
        from proxy.store.redis import RedisStore  # late: most gates have none

        return RedisStore(redis, lease, event)
    scheme, _, rest = url.partition(":")
    if scheme == "memory" and not rest:
        return MemoryStore()
    if scheme == "sqlite" and rest:
        return SqliteStore(Path(rest))
    # The rest of the URL may hold a password.
    raise StartError(f"store.url: no store for {scheme}: URLs; use memory:, sqlite:PATH or redis://HOST:PORT")
