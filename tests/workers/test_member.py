"""A worker that tells its parent nonsense is ended: it could not be told of a revoked secret or a turned switch any more."""

import asyncio
import signal
import socket
import sys

import pytest

from proxy.workers.channel import Channel
from proxy.workers.member import Gone, Member
from tests.gates import PATIENCE


@pytest.mark.parametrize(
    "frame",
    [
        b"\xff",
        b"[]",
        b"{}",
        b'{"number":[]}',
        b'{"numbers":7}',
        b'{"numbers":{"load":{},"families":[["a","counter",[["a",7,1]]]]}}',
    ],
)
async def test_nonsense(frame: bytes) -> None:
    """Whatever the nonsense is, the process ends, and who asks it something learns that it is gone."""
    ours, theirs = socket.socketpair()

    def told(member: Member, families: list[list[list[list[dict[str, str]]]]]) -> None:
        families[0][2][0][1].items()

    process = await asyncio.create_subprocess_exec(sys.executable, "-c", f"import time; time.sleep({PATIENCE})")
    try:
        member = Member(process, await Channel.over(ours), told)
        theirs.sendall(len(frame).to_bytes(4, "big") + frame)
        assert await asyncio.wait_for(member.ended(), PATIENCE / 2) == -signal.SIGKILL
        with pytest.raises(Gone):
            await member.ask("turn", None, 1.0)
    finally:
        theirs.close()
        if process.returncode is None:
            process.kill()
            await process.wait()
