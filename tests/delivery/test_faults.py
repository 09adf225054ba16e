"""Telegram sends while something breaks all the time: bot, store, gate, a worker and the network on both sides.

At the end what it believes delivered is what the bot executed: nothing is missing, no chat is blocked, each chat's order held.
"""

import asyncio
import random
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.delivery.scene import Scene, first_times, played, unmarked
from tests.faultproxy import Fault, FaultProxy, proxied
from tests.gates import PATIENCE, TOKEN
from tests.senders.telegram import Telegram, message

CHATS = 200
PENDING = 400
"""Updates on their way at once, at most."""


class Havoc:
    """What breaks, one after the other, by chance; ``front`` is between sender and gate, ``back`` between gate and bot."""

    def __init__(self, scene: Scene, front: FaultProxy, back: FaultProxy) -> None:
        self.done: Counter[str] = Counter()
        self.ending = False
        self._scene = scene
        self.front = front
        self.back = back
        self._chance = random.Random()  # noqa: S311 - a test's
        faults: dict[str, Callable[[], Awaitable[None]]] = {
            "bot killed": self._kill_bot,
            "bot stopped": self._stop_bot,
            "store held": self._hold_store,
            "gate killed": self._kill_gate,
        }
        if scene.workers > 1:
            faults["worker killed"] = self._kill_worker
        for fault in Fault:
            faults[f"{fault.name.lower()} towards the bot"] = self._network(back, fault)
            faults[f"{fault.name.lower()} towards the gate"] = self._network(front, fault)
        self.faults = faults

    async def reign(self, every: float) -> None:
        """Until told to end: a fault, and a moment of peace. All come before one comes again, and the gate's death first.

        So the gate of the last round has to recover by itself from all the others: nothing is healed by a restart.
        """
        while not self.ending:
            others = [name for name in self.faults if name != "gate killed"]
            self._chance.shuffle(others)
            for name in ("gate killed", *others):
                await self.faults[name]()
                self.done[name] += 1
                await asyncio.sleep(every * self._chance.uniform(0.2, 0.6))

    def _network(self, proxy: FaultProxy, fault: Fault) -> Callable[[], Awaitable[None]]:
        async def break_it() -> None:
            await proxy.inflict(fault, 0.02)
            # Longer than the gate waits for its bot, at times.
            await asyncio.sleep(self._chance.uniform(0.05, 1.4 if fault is Fault.STALL else 0.3))
            await proxy.clear()

        return break_it

    async def _kill_bot(self) -> None:
        self._scene.kill_bot()
        await asyncio.to_thread(self._scene.start_bot)
        self.back.target = self._scene.bot_port

    async def _stop_bot(self) -> None:
        self._scene.signal_bot(signal.SIGSTOP)
        await asyncio.sleep(self._chance.uniform(0.05, 1.4))
        self._scene.signal_bot(signal.SIGCONT)

    async def _hold_store(self) -> None:
        other = sqlite3.connect(self._scene.folder / "state" / "claims.db", isolation_level=None, timeout=5.0)
        other.execute("BEGIN IMMEDIATE")
        await asyncio.sleep(self._chance.uniform(0.05, 0.6))
        other.close()

    async def _kill_worker(self) -> None:
        self._scene.kill_worker()

    async def _kill_gate(self) -> None:
        await asyncio.to_thread(self._scene.kill_gate)
        await asyncio.to_thread(self._scene.start_gate, self.back.port)
        self.front.target = self._scene.gate.port


class Run:
    """All parts of one run."""

    def __init__(self, scene: Scene, sender: Telegram, havoc: Havoc) -> None:
        self.scene = scene
        self.sender = sender
        self.havoc = havoc

    async def send(self, count: int, every: float) -> int:
        """At least so many updates, as long as things break; then peace, and all arrive. Gives how many there were."""
        reign = asyncio.create_task(self.havoc.reign(every))
        sent = 0
        while not reign.done():
            if self.sender.pending < PENDING:
                self.sender.put(message(sent, sent % CHATS, self.sender.now()))
                sent += 1
            self.havoc.ending = sent >= count
            if sent % 20 == 0 or self.sender.pending >= PENDING:
                await asyncio.sleep(0.01)
        await reign
        await self.sender.empty(2 * PATIENCE)
        return sent


@asynccontextmanager
async def running(folder: Path, retry: str, workers: int) -> AsyncIterator[Run]:
    """Sender, proxy, gate, proxy, bot."""
    with played(folder, retry=retry, workers=workers, timeout="1s") as scene:
        async with proxied(scene.bot_port) as back:
            await asyncio.to_thread(scene.start_gate, back.port)
            async with proxied(scene.gate.port) as front:
                sender = Telegram(front.port, secret=TOKEN, second=0.01)
                try:
                    yield Run(scene, sender, Havoc(scene, front, back))
                finally:
                    await sender.close()


LONG = [pytest.mark.long, pytest.mark.timeout(0)]


@pytest.mark.parametrize(
    ("count", "every", "retry", "workers"),
    [
        pytest.param(500, 0.05, "never", 1, id="short"),
        pytest.param(200_000, 0.8, "never", 1, id="long", marks=LONG),
        pytest.param(200_000, 0.8, "never", 2, id="two workers", marks=LONG),
        pytest.param(20_000, 0.2, "stale-connection", 1, id="second try", marks=LONG),
    ],
)
async def test_nothing_is_missing(tmp_path: Path, count: int, every: float, retry: str, workers: int) -> None:
    """Delivered is what was executed, in each chat's order; each that came again had failed before, and repeats are known."""
    async with running(tmp_path, retry, workers) as run:
        count = await run.send(count, every)
        sender, executed = run.sender, run.scene.executed()
        assert sorted(sender.delivered) == list(range(count))
        assert not sender.expired
        assert set(sender.failures) <= {"502", "503", "504", "closed", "slow", "unreadable"}
        order = first_times(executed)
        assert sorted(order) == list(range(count))
        for chat in range(CHATS):
            assert [one for one in order if one % CHATS == chat] == list(range(chat, count, CHATS))
        failed = Counter(number for (number, _), times in sender.failed.items() for _ in range(times))
        times = unmarked(executed) if retry != "never" else Counter(one.number for one in executed)
        too_often = {number: count for number, count in times.items() if count > 1 + failed[number]}
        assert not too_often
        await repeated(run, [number for number in range(count) if not failed[number]])
        marks = sum(one.marked for one in executed)
        most = max(unmarked(executed).values())
        sys.stdout.write(
            f"{count} updates, {run.havoc.done.total()} faults, tries that failed: {dict(sender.failures)}; 0 missing, "
            f"{len(executed) - count} came again, {marks} of them marked; one came {most} times\n"
        )


async def repeated(run: Run, candidates: Sequence[int]) -> None:
    """What was delivered is never executed again."""
    # Of one that had to be tried again, an earlier try may reach the bot only now, through a proxy that held it.
    again = random.sample(candidates, min(500, len(candidates)))
    before, delivered = Counter(one.number for one in run.scene.executed()), len(run.sender.delivered)
    for number in again:
        run.sender.put(message(number, number % CHATS, run.sender.now()))
    await run.sender.empty(4 * PATIENCE)
    assert len(run.sender.delivered) == delivered + len(again)
    after = Counter(one.number for one in run.scene.executed())
    assert again
    assert [after[number] for number in again] == [before[number] for number in again]
