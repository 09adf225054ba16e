"""A process that claims keys in a file, for tests of what several processes do to each other.

``python -m tests.store.claimant FILE VERB [KEYS]`` prints ``ready`` and goes on when it reads a line:
``hold`` delivers the key ``delivered``, reserves the key ``held`` and waits, to be killed or to be told its end by another
line (``confirm`` or ``release``); ``race`` claims the keys 0 to KEYS, some in each turn, and prints the ones it won;
``ask`` claims the key ``held`` and prints what it found.
"""

import asyncio
import contextlib
import sys
from pathlib import Path

from proxy.errors import StoreError
from proxy.store.base import Claimed
from proxy.store.sqlite import SqliteStore

BODY = b"a" * 16
WINDOW = 3600.0


async def told() -> str:
    """The next line of standard input."""
    line: str = await asyncio.to_thread(sys.stdin.readline)
    return line.strip()


async def hold(store: SqliteStore) -> None:
    """Deliver one key, reserve another."""
    await store.claim(b"delivered", BODY, WINDOW)
    await store.confirm(b"delivered")
    await store.claim(b"held", BODY, WINDOW)
    say("held")
    await (store.confirm(b"held") if await told() == "confirm" else store.release(b"held"))


async def race(store: SqliteStore, keys: int) -> None:
    """Claim all keys as fast as possible; confirm what was won. An error is answered as a sender would: it tries again."""
    won = []

    async def one(number: int) -> None:
        claim = None
        while claim is None:
            with contextlib.suppress(StoreError):
                claim = await store.claim(b"%d" % number, BODY, WINDOW)
        if claim.state is Claimed.NEW:
            won.append(number)
            with contextlib.suppress(StoreError):  # then it is owed, and written later
                await store.confirm(b"%d" % number)

    for start in range(0, keys, 5):
        await asyncio.gather(*(one(number) for number in range(start, min(start + 5, keys))))
    say(" ".join(map(str, won)))


async def ask(store: SqliteStore) -> None:
    """Claim one key."""
    say((await store.claim(b"held", BODY, WINDOW)).state.value)


def say(line: str) -> None:
    """Tell the test."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def main() -> None:
    """Open, wait for the start, do it, close."""
    path, verb, *rest = sys.argv[1:]
    store = SqliteStore(Path(path))
    await store.open()
    say("ready")
    await told()
    await (race(store, int(rest[0])) if verb == "race" else ask(store) if verb == "ask" else hold(store))
    await store.close()


if __name__ == "__main__":
    asyncio.run(main())
