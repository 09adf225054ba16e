"""One update, sent by many at once to one worker or to several, reaches the bot exactly once."""

import asyncio
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.edge.stages import update
from tests.gates import PATIENCE, Gate
from tests.upstream.bots import OK, always
from tests.workers.crews import crew

_AT_ONCE = 100


async def race(gate: Gate, ids: range) -> Counter[bytes]:
    """Every id on all connections at the same time, again where a sender would; gives the last answers' first lines."""
    ends = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", gate.port) for _ in range(_AT_ONCE)))
    found = Counter[bytes]()

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, raw: bytes) -> bytes:
        async with asyncio.timeout(PATIENCE):
            while True:
                writer.write(raw)
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
                await reader.readexactly(int(length[1]) if length else 0)
                # On a busy machine a worker that holds the store's file may sleep longer than others can wait for it.
                if not head.startswith(b"HTTP/1.1 503 "):
                    return head.partition(b"\r\n")[0]

    for number in ids:
        raw = update(number)
        found.update(await asyncio.gather(*(ask(reader, writer, raw) for reader, writer in ends)))
    for _, writer in ends:
        writer.close()
    return found


async def proven(folder: Path, workers: int, ids: range) -> None:
    """Exactly one forward for each id, and 200 for everybody."""
    with crew(folder, workers, always(OK)) as (gate, bot):
        answers = await race(gate, ids)
        forwarded = Counter(re.findall(rb'"update_id":(\d+)', b"".join(bytes(talk.came) for talk in bot.talks)))
        assert len(forwarded) == len(ids)
        assert set(forwarded.values()) == {1}
        assert answers == {b"HTTP/1.1 200 OK": len(ids) * _AT_ONCE}
        assert gate.metric("hookgate_requests_total", route="telegram", outcome="forwarded") == len(ids)
        late = gate.metric("hookgate_store_errors_total", operation="claim")
        assert gate.metric("hookgate_requests_total", route="telegram", outcome="refused") == late
        assert gate.metric("hookgate_requests_total", route="telegram", outcome="duplicate") == len(ids) * (_AT_ONCE - 1)


@pytest.mark.parametrize("workers", [1, 4])
async def test_a_hundred_at_once(tmp_path: Path, workers: int) -> None:
    """Of a hundred identical requests at once one is forwarded, and all are told that it was delivered."""
    await proven(tmp_path, workers, range(1, 41))


@pytest.mark.long
@pytest.mark.timeout(0)
@pytest.mark.parametrize("workers", [1, 4])
async def test_ten_thousand_ids(tmp_path: Path, workers: int) -> None:
    """The same for ten thousand updates."""
    await proven(tmp_path, workers, range(1, 10_001))
