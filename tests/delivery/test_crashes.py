"""``kill -9`` of gate or worker at any moment under load: with ``drop`` nothing comes twice, with ``deliver`` nothing is lost.

The bot is sound here, so that every request that it gets is executed: whatever comes twice or never is the gate's doing.
"""

import asyncio
import random
import sys
from itertools import groupby
from pathlib import Path

import pytest

from tests.delivery.scene import Executed, Scene, first_times, played, unmarked
from tests.gates import PATIENCE, TOKEN, until
from tests.senders.telegram import Telegram, message

CHATS = 30
BATCH = 120
MARKED = "hookgate_ambiguous_total"


LONG = 500
FORMS = [
    pytest.param("gate", 1, 4, id="gate"),
    pytest.param("worker", 2, 3, id="worker"),
    *(
        pytest.param(what, workers, LONG, id=f"{what} of {workers} long", marks=[pytest.mark.long, pytest.mark.timeout(0)])
        for what, workers in (("gate", 1), ("gate", 2), ("worker", 2))
    ),
]
"""What is killed, of how many workers, how often."""


class Trials:
    """One sender, and the gate that dies under it."""

    def __init__(self, scene: Scene, sender: Telegram, what: str) -> None:
        self.scene = scene
        self.kills = 0
        self._gate = what == "gate"
        self._counted = 0
        """By the gate of this life."""
        self.sender = sender
        self.chance = random.Random()  # noqa: S311 - a test's
        self.sent = 0
        self.seen = 0
        self.doubtful = 0
        """What the gate counted as ambiguous, in all its lives."""

    def told(self) -> None:
        """Now and then, how far it has come."""
        if self.kills % 100 == 0:
            sys.stdout.write(f"{self.kills} kills, {self.sent} updates, {self.doubtful} in doubt\n")
            sys.stdout.flush()

    async def start(self) -> None:
        """A new life of the gate."""
        await asyncio.to_thread(self.scene.start_gate, self.scene.bot_port)
        self.sender.port = self.scene.gate.port
        self._counted = 0

    async def kill_under_load(self) -> list[Executed]:
        """Send, kill, start anew, wait until all is delivered. Gives what was executed since, and counts the gate's doubts.

        A worker dies when all of them serve: a gate none of whose workers lives long enough to serve gives up, as it should.
        """
        if not self._gate:
            await asyncio.to_thread(until, self._all_serve, "all workers to serve", 2 * PATIENCE)
        for _ in range(BATCH):
            self.sender.put(message(self.sent, self.sent % CHATS, self.sender.now()))
            self.sent += 1
        await asyncio.sleep(self.chance.uniform(0, 0.1))
        before = len(self.scene.executed())
        self.kills += 1
        if self._gate:
            await asyncio.to_thread(self.scene.kill_gate)
            await self.start()
        else:
            await asyncio.to_thread(self.scene.kill_worker)
        await self.sender.empty(2 * PATIENCE)
        counted = int(await asyncio.to_thread(self.scene.gate.metric, MARKED, route="telegram"))
        self.doubtful += counted - self._counted
        self._counted = counted
        return self.scene.executed()[before:]

    def _all_serve(self) -> bool:
        return self.scene.gate.metric("hookgate_workers") == self.scene.workers

    def refusals(self) -> int:
        """How often the sender heard that the gate could not reach the bot, or hung up because nothing was heard at all."""
        return sum(self.sender.failures[status] for status in ("502", "503", "504", "slow"))


@pytest.mark.parametrize(("what", "workers", "count"), FORMS)
async def test_deliver(tmp_path: Path, what: str, workers: int, count: int) -> None:
    """Every update is executed, in the order of its chat; only marked ones come twice, and the gate counts each of those."""
    with played(tmp_path, slowness=20.0, workers=workers) as scene:
        run = Trials(scene, Telegram(0, secret=TOKEN, second=0.01), what)
        await run.start()
        for _ in range(count):
            doubtful, refusals = run.doubtful, run.refusals()
            again = [one for one in await run.kill_under_load() if one.marked]
            # A marked one that ends before it is at the bot stays in doubt, and is counted each time.
            assert 0 <= run.doubtful - doubtful - len(again) <= run.refusals() - refusals
            assert not run.sender.expired
            assert sorted(run.sender.delivered) == list(range(run.sent))
            run.told()
        executed = scene.executed()
        assert sorted(first_times(executed)) == list(range(run.sent))
        assert max(unmarked(executed).values()) == 1
        for chat in range(CHATS):
            order = [one.number for one in executed if one.number % CHATS == chat]
            assert [number for number, _ in groupby(order)] == sorted(set(order))
        await finish(run, count)
        twice = len(executed) - run.sent
        told(f"{what}, deliver: {run.sent} updates, {run.doubtful} in doubt, {twice} came twice, 0 were lost", count)


@pytest.mark.parametrize(("what", "workers", "count"), FORMS)
async def test_drop(tmp_path: Path, what: str, workers: int, count: int) -> None:
    """No update is executed twice; whatever is not executed at all was in doubt, and counted."""
    with played(tmp_path, slowness=20.0, in_doubt="drop", workers=workers) as scene:
        run = Trials(scene, Telegram(0, secret=TOKEN, second=0.01), what)
        await run.start()
        for _ in range(count):
            doubtful, missing = run.doubtful, run.sent - len(scene.executed())
            await run.kill_under_load()
            executed = scene.executed()
            assert len({one.number for one in executed}) == len(executed)
            assert not any(one.marked for one in executed)
            assert not run.sender.expired
            assert sorted(run.sender.delivered) == list(range(run.sent))
            missed = run.sent - len(executed) - missing
            assert missed <= run.doubtful - doubtful
            run.told()
        await finish(run, count)
        missing = run.sent - len(scene.executed())
        told(f"{what}, drop: {run.sent} updates, {run.doubtful} in doubt, {missing} of them missing, 0 came twice", count)


async def finish(run: Trials, count: int) -> None:
    """The trials meant something, a repeat of anything is known, and the gate ends in order."""
    assert run.doubtful > count // 4, "the kills met nothing"
    before = len(run.scene.executed())
    delivered = list(run.sender.delivered)
    for number in run.chance.sample(range(run.sent), min(300, run.sent)):
        run.sender.put(message(number, number % CHATS, run.sender.now()))
    await run.sender.empty(PATIENCE)
    assert len(run.sender.delivered) > len(delivered)
    assert len(run.scene.executed()) == before
    await run.sender.close()
    assert await asyncio.to_thread(run.scene.stop_gate) == 0


def told(what: str, count: int) -> None:
    """The figures, and what so many trials without a failure support (rule of three, 95 %)."""
    sys.stdout.write(f"{count} kills: {what}; so in at most {3 / count:.2g} of kills\n")
