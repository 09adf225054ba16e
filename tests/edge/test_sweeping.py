"""The senders' deadlines: one connection's trouble does not end those of the others."""

import asyncio
import socket
from pathlib import Path

import pytest

from proxy.edge.intake import Intake
from proxy.engine import Engine
from proxy.observe.log import Sink
from proxy.observe.metrics import Metrics
from proxy.pipeline.modes import Switch
from proxy.policy.reader import read_policy
from tests.edge.stages import policy
from tests.gates import PATIENCE
from tests.observe.exchanges import facts


async def test_a_fault_ends_no_deadlines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the deadlines of one connection cannot be kept, those of all others are, then and later."""
    broken: list[Intake] = []
    planted = asyncio.Event()
    real = Intake.sweep

    def sweep(self: Intake, now: float) -> None:
        broken[:] = broken or [self]
        if self in broken:
            planted.set()
            raise RuntimeError("planted")
        real(self, now)

    monkeypatch.setattr(Intake, "sweep", sweep)
    file = tmp_path / "policy.yaml"
    file.write_text(policy("http://127.0.0.1:1", limits={"header_timeout": "100ms"}))
    engine = Engine(read_policy(file, {}), Switch(), Sink(1), Metrics(facts))
    await engine.open()
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        await engine.listen(sock)
        _, first = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(PATIENCE):
            await planted.wait()
            for _ in range(2):
                reader, silent = await asyncio.open_connection("127.0.0.1", port)
                assert await reader.read() == b""
                silent.close()
        first.close()
        await engine.drain(delayed=False)
    await engine.close()
