"""From the policy's ``store.url`` to a store that is not opened yet: the one place that knows which stores exist."""

from pathlib import Path

from proxy.errors import StartError
from proxy.store.base import Store
from proxy.store.memory import MemoryStore
from proxy.store.sqlite import SqliteStore


def open_store(url: str) -> Store:
    """The store that ``url`` names: ``memory:`` or ``sqlite:PATH``. The caller awaits its ``open()``.

    Raises:
        StartError: there is no such store here.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "memory" and not rest:
        return MemoryStore()
    if scheme == "sqlite" and rest:
        return SqliteStore(Path(rest))
    # The rest of the URL may hold a password.
    raise StartError(f"store.url: no store for {scheme}: URLs; use memory: or sqlite:PATH")
