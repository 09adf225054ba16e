"""The order at the end of a request: what the store does to a claim comes before what the sender hears."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.app import App
from proxy.observe.log import Sink
from proxy.store.memory import MemoryStore
from tests.edge.stages import policy, update
from tests.gates import PATIENCE
from tests.upstream.bots import OK, always, scripted


class SlowStore:
    """Takes the place of two verbs of the store: each waits until the test lets it go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.go_on = asyncio.Event()
        for verb in ("release", "confirm"):
            monkeypatch.setattr(MemoryStore, verb, self._slow(verb, getattr(MemoryStore, verb)))

    def _slow(self, verb: str, real: object) -> object:
        async def settle(store: MemoryStore, key: bytes) -> None:
            self.asked.append(verb)
            await self.go_on.wait()
            assert callable(real)
            await real(store, key)

        return settle


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> SlowStore:
    """The store, slowed down."""
    return SlowStore(monkeypatch)


@pytest.fixture
async def sink(tmp_path: Path) -> AsyncIterator[Sink]:
    """Where the gate's log goes."""
    descriptor = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    made = Sink(descriptor)
    yield made
    made.close()
    os.close(descriptor)


@pytest.mark.parametrize(
    ("answer", "verb", "status"),
    [
        (b"", "release", b"502"),
        (b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n", "release", b"500"),
        (b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n", "release", b"503"),
        (OK, "confirm", b"200"),
    ],
    ids=["closed", "500", "410", "200"],
)
async def test_the_claim_comes_first(
    tmp_path: Path, sink: Sink, store: SlowStore, answer: bytes, verb: str, status: bytes
) -> None:
    """No answer is written before the claim is released, or confirmed: the sender's next try never meets its own claim."""
    with scripted(always(answer) if answer else lambda talk: None) as bot:
        (tmp_path / "policy.yaml").write_text(policy(f"http://127.0.0.1:{bot.port}"))
        app = App(tmp_path / "policy.yaml", {}, sink)
        await app.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", app.address.port)
        writer.write(update())
        async with asyncio.timeout(PATIENCE):
            while not store.asked:  # noqa: ASYNC110 - a bounded wait of a test
                await asyncio.sleep(0.01)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.2)
            store.go_on.set()
            assert (await reader.readline()).split(b" ")[1] == status
        assert store.asked == [verb]
        writer.close()
        assert await app.stop()
