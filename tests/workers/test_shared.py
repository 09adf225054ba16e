"""What several workers share on the way: rates that are exact together, lines that stay whole, deadlines that outlive a fault."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from proxy.observe.log import Sink
from proxy.store.sqlite import SqliteStore
from proxy.workers.memory import Memory
from tests.edge.lines import Line, request
from tests.gates import PATIENCE
from tests.upstream.bots import OK, always
from tests.workers.crews import crew

LINES, LONG = 50, 100_000
"""So few that none is dropped, each longer than a pipe holds (64 KiB), for shorter ones may stay whole without our doing."""


def test_a_rate_is_one_for_all_workers(tmp_path: Path) -> None:
    """Three workers let a client's burst through once, not three times."""
    route = {"name": "open", "path": "/open", "insecure": True, "rules": {"rate": {"limit": "1/min", "burst": 20}}}
    with crew(tmp_path, 3, always(OK), routes=[route]) as (gate, _):
        lines = [Line(gate) for _ in range(12)]
        try:
            found = [line.ask(request(path=b"/open")).status for _ in range(4) for line in lines]
        finally:
            for line in lines:
                line.sock.close()
        assert sorted(found) == [200] * 20 + [429] * 28


def test_lines_of_several_processes_stay_whole() -> None:
    """Two processes that write to one pipe what it takes in pieces alone: every line comes, and whole."""
    memory = Memory.fresh()
    read, write = os.pipe()
    children = []
    for name in (b"a", b"b"):
        pid = os.fork()
        if not pid:
            sink = Sink(write)
            sink.lock = memory.descriptor
            for _ in range(LINES):
                sink.add(name * LONG)
                sink.flush()
            sink.close()
            sink._writer.join(PATIENCE)
            os._exit(0)
        children.append(pid)
    os.close(write)
    came: list[bytes] = []
    with open(read, "rb") as file:
        reader = threading.Thread(target=lambda: came.extend(file))
        reader.start()
        reader.join(PATIENCE)
    for pid in children:
        os.waitpid(pid, 0)
    assert sorted(came) == [name * LONG + b"\n" for name in (b"a", b"b") for _ in range(LINES)]


async def test_a_store_sweeps_on_after_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault inside one look of the store's sweeper is told, and the next look comes all the same."""
    told: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["message"]))
    store = SqliteStore(tmp_path / "claims.db")
    await store.open()
    looks = asyncio.Event()
    real = store._sweeper.look

    def broken(*given: object) -> list[tuple[bytes, int]]:
        if told:
            looks.set()
            return []
        raise RuntimeError("planted")

    monkeypatch.setattr(store._sweeper, "look", broken)
    try:
        await asyncio.wait_for(looks.wait(), 10)
        assert told == ["the store's sweeper broke"]
    finally:
        monkeypatch.setattr(store._sweeper, "look", real)
        await store.close()
