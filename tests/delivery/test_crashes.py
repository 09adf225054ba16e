"""``kill -9`` of the gate at random moments under load: with ``drop`` nothing comes twice, with ``deliver`` nothing is lost.

The bot is sound here, so that every request that it gets is executed: whatever comes twice or never is the gate's doing.
"""

import asyncio
import random
import sys
from itertools import groupby
from pathlib import Path

import pytest

from tests.delivery.scene import Executed, Scene, first_times, played, unmarked
from tests.gates import PATIENCE, TOKEN
from tests.senders.telegram import Telegram, message

CHATS = 30
BATCH = 120
MARKED = "hookgate_ambiguous_total"


def trials(count: int) -> list[object]:
    """The short form, and the long one."""
    return [pytest.param(count, id="short"), pytest.param(500, id="long", marks=[pytest.mark.long, pytest.mark.timeout(0)])]


class Trials:
    """One sender, and the gate that dies under it."""

    def __init__(self, scene: Scene, sender: Telegram) -> None:
        self.scene = scene
        self.sender = sender
        self.chance = random.Random()  # noqa: S311 - a test's
        self.sent = 0
        self.seen = 0
        self.doubtful = 0
        """What the gate counted as ambiguous, in all its lives."""

    def told(self) -> None:
        """Now and then, how far it has come."""
        if self.scene.lives % 100 == 0:
            sys.stdout.write(f"{self.scene.lives} kills, {self.sent} updates, {self.doubtful} in doubt\n")
            sys.stdout.flush()

    async def start(self) -> None:
        """A new life of the gate."""
        await asyncio.to_thread(self.scene.start_gate, self.scene.bot_port)
        self.sender.port = self.scene.gate.port

    async def kill_under_load(self) -> list[Executed]:
        """Send, kill, start anew, wait until all is delivered. Gives what the new life had executed; its doubts are counted."""
        for _ in range(BATCH):
            self.sender.put(message(self.sent, self.sent % CHATS))
            self.sent += 1
        await asyncio.sleep(self.chance.uniform(0, 0.1))
        await asyncio.to_thread(self.scene.kill_gate)
        before = len(self.scene.executed())
        await self.start()
        await self.sender.empty(2 * PATIENCE)
        self.doubtful += int(await asyncio.to_thread(self.scene.gate.metric, MARKED, route="telegram"))
        return self.scene.executed()[before:]


@pytest.mark.parametrize("count", trials(4))
async def test_deliver(tmp_path: Path, count: int) -> None:
    """Every update is executed, in the order of its chat; only marked ones come twice, and the gate counts each of those."""
    with played(tmp_path, slowness=20.0) as scene:
        run = Trials(scene, Telegram(0, secret=TOKEN, second=0.01))
        await run.start()
        for _ in range(count):
            doubtful = run.doubtful
            again = [one for one in await run.kill_under_load() if one.marked]
            assert len(again) == run.doubtful - doubtful
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
        told(f"deliver: {run.sent} updates, {run.doubtful} in doubt, {twice} came twice, 0 were lost", count)


@pytest.mark.parametrize("count", trials(4))
async def test_drop(tmp_path: Path, count: int) -> None:
    """No update is executed twice; whatever is not executed at all was in doubt, and counted."""
    with played(tmp_path, slowness=20.0, in_doubt="drop") as scene:
        run = Trials(scene, Telegram(0, secret=TOKEN, second=0.01))
        await run.start()
        for _ in range(count):
            doubtful, missing = run.doubtful, run.sent - len(scene.executed())
            await run.kill_under_load()
            executed = scene.executed()
            assert len({one.number for one in executed}) == len(executed)
            assert not any(one.marked for one in executed)
            assert sorted(run.sender.delivered) == list(range(run.sent))
            missed = run.sent - len(executed) - missing
            assert missed <= run.doubtful - doubtful
            run.told()
        await finish(run, count)
        missing = run.sent - len(scene.executed())
        told(f"drop: {run.sent} updates, {run.doubtful} in doubt, {missing} of them missing, 0 came twice", count)


async def finish(run: Trials, count: int) -> None:
    """The trials meant something, a repeat of anything is known, and the gate ends in order."""
    assert run.doubtful > count // 4, "the kills met nothing"
    before = len(run.scene.executed())
    delivered = list(run.sender.delivered)
    for number in run.chance.sample(range(run.sent), min(300, run.sent)):
        run.sender.put(message(number, number % CHATS))
    await run.sender.empty(PATIENCE)
    assert len(run.sender.delivered) > len(delivered)
    assert len(run.scene.executed()) == before
    await run.sender.close()
    assert await asyncio.to_thread(run.scene.stop_gate) == 0


def told(what: str, count: int) -> None:
    """The figures, and what so many trials without a failure support (rule of three, 95 %)."""
    sys.stdout.write(f"{count} kills: {what}; so in at most {3 / count:.2g} of kills\n")
