"""Asking a store again and again while its server is harmed, with a watch in hand."""

import asyncio
import time
from itertools import count

from proxy.errors import StoreError
from proxy.store.base import NEW
from proxy.store.redis import RedisStore

BODY = b"a" * 16
DECIDED_SECONDS = 0.25
"""That a verdict may take; it is measured by the loop that also asks, so a busy machine adds to it."""

_numbers = count()


async def ask(store: RedisStore) -> bool:
    """Whether a fresh key is taken and settled; it is decided in time either way."""
    began = time.monotonic()
    key = b"fresh %d" % next(_numbers)
    try:
        assert await store.claim(key, BODY, 60.0) == NEW
        await store.confirm(key)
    except StoreError:
        return False
    finally:
        # Two operations; of which each has its quarter of a second, and as much again for a machine that is busy.
        assert time.monotonic() - began < 4 * DECIDED_SECONDS
    return True


async def until_refused(store: RedisStore, seconds: float = 5.0) -> None:
    """Until the store has noticed."""
    await _until(store, well=False, seconds=seconds)


async def until_taken(store: RedisStore, seconds: float = 2.0) -> None:
    """Until the store has recovered, which it does within two seconds."""
    await _until(store, well=True, seconds=seconds)


async def _until(store: RedisStore, *, well: bool, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while await ask(store) is not well:
        assert time.monotonic() < deadline, f"waited {seconds} s for {'recovery' if well else 'the outage'}"
        await asyncio.sleep(0.01)
