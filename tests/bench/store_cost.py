"""What a claim and its confirmation cost: microseconds of CPU for each request, by requests in a turn of the loop.

Run by hand: ``python -m tests.bench.store_cost [FOLDER]``. ``sequential`` keys grow like update ids, ``random`` ones are
like UUIDs, whose rows fall on pages all over the file. The best of several rounds counts: the machine is rarely alone.
"""

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop

from proxy.store.base import Claimed, Store
from proxy.store.memory import MemoryStore
from proxy.store.sqlite import SqliteStore

REQUESTS = 640
ROUNDS = 50
DIGEST = bytes(16)


async def round_of(store: Store, keys: list[bytes], batch: int) -> float:
    """One round: batches of claims, then of confirmations, each in one turn of the loop."""
    started = time.process_time()
    for at in range(0, len(keys), batch):
        some = keys[at : at + batch]
        # Only the last of a turn is awaited: what a waiter costs is the waiter's affair.
        claims = [store.claim(key, DIGEST, 86400.0) for key in some]
        if (await claims[-1]).state is not Claimed.NEW:
            raise SystemExit("a fresh key was not new")
        await [store.confirm(key) for key in some][-1]
    return (time.process_time() - started) / len(keys) * 1e6


async def measure(name: str, store: Store, keys: Iterator[bytes]) -> None:
    """Print one row for each size of batch."""
    await store.open()
    for batch in (1, 8, 32):
        rounds = [await round_of(store, [next(keys) for _ in range(REQUESTS)], batch) for _ in range(ROUNDS)]
        print(f"{name:20} batch {batch:2}: {min(rounds):5.1f} us")  # noqa: T201 - it is what the script is for
    await store.close()


def sequential() -> Iterator[bytes]:
    """Keys like ``telegram`` and an update id."""
    number = 700_000_000
    while True:
        number += 1
        yield b"telegram\0%d" % number


def scattered() -> Iterator[bytes]:
    """Keys like ``github`` and a delivery's UUID."""
    source = random.Random(1)  # noqa: S311 - not for secrets
    while True:
        yield b"github\0" + source.randbytes(18).hex().encode()


async def main(folder: Path) -> None:
    """Measure both stores."""
    await measure("memory", MemoryStore(), sequential())
    await measure("sqlite, sequential", SqliteStore(folder / "sequential.db"), sequential())
    await measure("sqlite, random", SqliteStore(folder / "random.db"), scattered())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as made:
        uvloop.run(main(Path(made)))
