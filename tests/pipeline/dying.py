"""A process that reserves a claim through a compiled gate and is killed before it can tell how its request ended."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from proxy.store.sqlite import SqliteStore
from tests.pipeline.judging import compiled, request


async def main(folder: Path, database: Path, route: str, body: bytes) -> None:
    """Judge, say so, die."""
    gate = await compiled(folder, json.loads(route), store=SqliteStore(database))
    judged = await gate.judge(request(body))
    assert judged.permit.reserved.key
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4].encode()))
