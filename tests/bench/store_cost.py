"""What a claim and its confirmation cost: microseconds of our CPU for each request, by requests in a turn of the loop.

Alone: ``python -m tests.bench.store_cost [FOLDER]``. ``sequential`` keys grow like update ids, ``random`` ones are like UUIDs,
whose rows fall on pages all over the file. The best of several rounds counts: the machine is rarely alone.
"""

import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import uvloop

from proxy.store.base import Claimed, Store
from proxy.store.memory import MemoryStore
from proxy.store.redis import RedisStore
from proxy.store.sqlite import SqliteStore
from tests.redises import LEASE, server

REQUESTS = 640
ROUNDS = 50
BATCHES = (1, 8, 32)
DIGEST = bytes(16)

Costs = dict[str, dict[int, float]]
"""By store and batch: microseconds a request."""


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


async def cost(store: Store, keys: Iterator[bytes], rounds: int) -> dict[int, float]:
    """The best round for each size of batch."""
    await store.open()
    best = {}
    for batch in BATCHES:
        best[batch] = min([await round_of(store, [next(keys) for _ in range(REQUESTS)], batch) for _ in range(rounds)])
    await store.close()
    return best


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


def measure(folder: Path, rounds: int = ROUNDS, tell: Callable[[str], object] = str) -> Costs:
    """All stores that can be had; that of a Redis goes over loopback, and what the server itself spends is not ours."""
    costs: Costs = {}

    def add(name: str, store: Store, keys: Iterator[bytes]) -> None:
        tell(f"claims: {name}")
        costs[name] = uvloop.run(cost(store, keys, rounds))

    add("memory", MemoryStore(), sequential())
    add("sqlite", SqliteStore(folder / "sequential.db"), sequential())
    add("sqlite, random keys", SqliteStore(folder / "random.db"), scattered())
    if shutil.which("redis-server"):
        with server() as redis:
            add("redis", RedisStore(redis.access(), LEASE, lambda event: None), sequential())
    return costs


def table(costs: Costs) -> Iterator[str]:
    """For people."""
    heads = "".join(f"{f'{batch} at once':>13}" for batch in BATCHES)
    yield f"{'claim and confirm, CPU us/request':<34}{heads}"
    for name, of in costs.items():
        yield f"  {name:<32}" + "".join(f"{of[batch]:>13.1f}" for batch in BATCHES)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as made:
        sys.stdout.write("\n".join(table(measure(Path(made)))) + "\n")
