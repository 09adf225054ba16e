"""Tells when files changed, by content: a single-file mount keeps its inode, and mtimes of mounted secrets do not move."""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

_log = logging.getLogger("hookgate.watch")

_SECONDS = 0.3


def look(paths: Iterable[Path]) -> dict[Path, bytes]:
    """What each file holds now, as a digest; empty for an unreadable one."""
    found = {}
    for path in paths:
        try:
            found[path] = hashlib.sha256(path.read_bytes()).digest()
        except OSError:
            found[path] = b""
    return found


async def watch(paths: Callable[[], tuple[Path, ...]], changed: Callable[[], Awaitable[None]]) -> None:
    """Call ``changed`` after each change, once the content has been the same in two looks (a writer may be half-way)."""
    known = before = await asyncio.to_thread(look, paths())
    while True:
        await asyncio.sleep(_SECONDS)
        now = await asyncio.to_thread(look, paths())
        if now != known and now == before:
            try:
                await changed()
            except Exception:  # the next change must still be seen
                _log.exception("a change could not be taken")
            # A file that changed while this change was being taken has changed again; one named only now is known from here.
            fresh = await asyncio.to_thread(look, paths())
            known = {path: now.get(path, digest) for path, digest in fresh.items()}
        before = now
