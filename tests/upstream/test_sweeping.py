"""The bot's deadlines: one connection's trouble does not end those of the others."""

import asyncio
from pathlib import Path

import pytest

from proxy.errors import UpstreamError
from proxy.pipeline.gate import Permit
from proxy.policy.reader import read_policy
from proxy.rules.replay import UNCHECKED
from proxy.upstream.connection import Connection
from proxy.upstream.pool import Pool
from tests.edge.stages import policy
from tests.gates import PATIENCE
from tests.pipeline.judging import request
from tests.upstream.bots import Talk, scripted


def hang(talk: Talk) -> None:
    """Take the request, and never answer."""
    while talk.request() is not None:
        pass


async def test_a_fault_ends_no_deadlines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the deadline of one connection cannot be kept, that one ends, and so do all others in time, then and later."""
    broken: list[Connection] = []
    real = Connection.expire

    def expire(self: Connection) -> None:
        broken[:] = broken or [self]
        if self in broken:
            raise RuntimeError("planted")
        real(self)

    monkeypatch.setattr(Connection, "expire", expire)
    with scripted(hang) as bot:
        file = tmp_path / "policy.yaml"
        file.write_text(policy(f"http://127.0.0.1:{bot.port}", timeout="300ms"))
        settings = read_policy(file, {}).policy.upstream
        assert settings is not None
        pool = Pool(settings, 1024)
        permit = Permit("open", request(fields=[(b"Host", b"bot.example.com")]), UNCHECKED, ())
        async with asyncio.timeout(PATIENCE):
            for _ in range(2):
                ended = await asyncio.gather(*(_forwarded(pool, permit) for _ in range(4)), return_exceptions=True)
                assert {type(one) for one in ended} == {UpstreamError}
        assert broken
        pool.close()


async def _forwarded(pool: Pool, permit: Permit) -> None:
    await pool.forward(permit)
