"""Tells when files changed, by content: a single-file mount keeps its inode, and mtimes of mounted secrets do not move."""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
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


async def watch(
    paths: Callable[[], tuple[Path, ...]], changed: Callable[[], Awaitable[None]], known: Mapping[Path, bytes] | None = None
) -> None:
    """Call ``changed`` after each change, once the content has been the same in two looks (a writer may be half-way).

    ``known`` is a look taken when the files were read; without it the first look tells what is known.
    """
    before: Mapping[Path, bytes] | None = None
    while True:
        try:
            now = await asyncio.to_thread(look, paths())
            known = now if known is None else known
            if now != known and now == before:
                try:
                    await changed()
                except Exception:  # the next change must still be seen
                    _log.exception("a change could not be taken")
                # What changed while this change was being taken has changed again; what is named only now is known from here.
                fresh = await asyncio.to_thread(look, paths())
                known = {path: now.get(path, digest) for path, digest in fresh.items()}
            before = now
        except Exception:  # no thread to be had, say; without this the gate would be deaf to changes from then on
            _log.exception("the files could not be looked at")
        await asyncio.sleep(_SECONDS)
