"""However many requests come, on however many connections, the gate does not grow."""

import asyncio
import sys
import time
from pathlib import Path

import pytest

from tests.delivery.churn import Churn
from tests.delivery.scene import Scene, played, processes
from tests.gates import PATIENCE

GROWTH = 6 * 1024
"""KiB that may come on top once it is warm: the allocator's slack, not a slope."""
ROUNDS = 8


def resident(scene: Scene) -> int:
    """KiB in memory, of the gate and its workers."""
    return sum(_resident(one) for one in (scene.gate.process.pid, *processes(scene.gate.process.pid)))


def _resident(process: int) -> int:
    written = Path(f"/proc/{process}/status").read_text()
    return int(written.partition("VmRSS:")[2].split()[0])


def descriptors(scene: Scene) -> int:
    """Open files and sockets."""
    return sum(
        len(list(Path(f"/proc/{one}/fd").iterdir())) for one in (scene.gate.process.pid, *processes(scene.gate.process.pid))
    )


async def quiet(scene: Scene, at_most: int) -> int:
    """How many are open once nothing is under way."""
    deadline = time.monotonic() + PATIENCE
    while (found := descriptors(scene)) > at_most and time.monotonic() < deadline:  # noqa: ASYNC110 - a bounded wait
        await asyncio.sleep(0.05)
    return found


@pytest.mark.parametrize(
    "count",
    [pytest.param(8_000, id="short"), pytest.param(1_000_000, id="long", marks=[pytest.mark.long, pytest.mark.timeout(0)])],
)
async def test_flat(tmp_path: Path, count: int) -> None:
    """Memory and descriptors after many requests on connections that come, break off and go are those after the first few."""
    with played(tmp_path) as scene:
        await asyncio.to_thread(scene.start_gate, scene.bot_port)
        churn = Churn(scene.gate.port)
        idle = descriptors(scene)
        await churn.run(max(4000, count // ROUNDS))
        warm, kept = resident(scene), await quiet(scene, idle + 20)
        sizes = []
        for _ in range(ROUNDS):
            await churn.run(count // ROUNDS)
            sizes.append(resident(scene))
        assert await quiet(scene, kept) <= kept
        assert sizes[-1] <= warm + GROWTH, sizes
        assert {200, 404} <= churn.statuses <= {200, 404, 409, 503}
        assert churn.broken > churn.answered // 50
        assert await asyncio.to_thread(scene.gate.metric, "hookgate_connections") == 0
        assert await asyncio.to_thread(scene.gate.metric, "hookgate_in_flight_requests") == 0
        assert await asyncio.to_thread(scene.stop_gate) == 0
        sys.stdout.write(
            f"{churn.done} requests, {churn.broken} broken off: {warm} KiB, then {sizes}; {idle} to {kept} descriptors\n"
        )
