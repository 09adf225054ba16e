"""A secret that is revoked while a policy is being taken is revoked for workers that are started in that moment, too."""

import asyncio
import os
from pathlib import Path
from typing import Any, ClassVar

from proxy.observe.log import Sink
from proxy.policy.reader import Loaded, read_policy
from proxy.workers.crew import Crew
from proxy.workers.orders import Order, packed, unpacked
from proxy.workers.supervisor import Supervisor
from tests.workers.crews import of_workers


class Slow(Crew):
    """Workers of whom each says yes to everything; before a policy is prepared, somebody does something."""

    ready: ClassVar[Any] = [object()]

    def __init__(self, supervisor: Supervisor, revoked: dict[str, dict[str, float]]) -> None:
        self.supervisor = supervisor
        self.revoked = revoked

    async def ask(self, members: list[Any], verb: str, given: Any, seconds: float) -> list[Any]:
        """Yes."""
        if verb == "prepare" and members:
            self.members = set()
            await self.supervisor._revoke(self.revoked)
        return [None for _ in members]


async def test_revoked_while_a_policy_is_taken(tmp_path: Path) -> None:
    """A worker that is started after that begins with a policy in which the secret is revoked."""
    file = tmp_path / "policy.yaml"
    file.write_text(of_workers(2, "http://127.0.0.1:9"))

    def read() -> Loaded:
        return read_policy(file, {})

    sink = Sink(os.open(os.devnull, os.O_WRONLY))
    supervisor = Supervisor(file, {}, sink, loaded=read(), workers=None)
    supervisor._crew = Slow(supervisor, {"hook": {"first": 1.0}})
    await supervisor._take(read())
    start = unpacked(packed(Order(1, "start", supervisor._begin(0)))).given
    assert [secret.revoked for secret in start.loaded.secrets["hook"]] == [1.0]
    assert [secret.revoked for secret in start.loaded.secrets["telegram"]] == [None]
    await asyncio.to_thread(sink.close)
