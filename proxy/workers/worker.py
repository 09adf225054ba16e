"""One worker: it serves what its parent hands down, does what it is told, and ends when the parent does."""

import asyncio
import contextlib
import inspect
import logging
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import orjson
import uvloop

from proxy.engine import Engine, Prepared
from proxy.errors import HookgateError, StartError
from proxy.load import Load
from proxy.observe.log import Sink
from proxy.observe.metrics import Facts, Metrics
from proxy.observe.totals import numbers_of
from proxy.pipeline.modes import Switch
from proxy.policy.reader import Loaded
from proxy.process import prepared
from proxy.revocations import Revoked
from proxy.workers.channel import Channel
from proxy.workers.memory import Memory
from proxy.workers.orders import Controls, Order, Start, unpacked

_log = logging.getLogger("hookgate.worker")

_TELL_SECONDS: Final = 2.0
_TELL_SHARE: Final = 50
"""Telling the numbers unasked takes a fiftieth of the time at most, however many routes there are."""


def main(channel: int, listening: int, memory: int) -> int:
    """Serve until told to stop; the descriptors are those that the parent passed on."""
    for number in (signal.SIGINT, signal.SIGHUP):  # a terminal sends them to the whole group: the parent tells us what to do
        signal.signal(number, signal.SIG_IGN)
    with prepared(sys.stdout.fileno()) as sink, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        line, door = socket.socket(fileno=channel), socket.socket(fileno=listening)
        return runner.run(_Worker(line, door, Memory(memory), sink).run())


class _Worker:
    """What serves, and the controls that the parent pulls."""

    def __init__(self, line: socket.socket, door: socket.socket, memory: Memory, sink: Sink) -> None:
        self._line = line
        self._door = door
        self._memory = memory
        self._sink = sink
        sink.lock = memory.descriptor
        self._metrics = Metrics(self._facts)
        self._engine: Engine | None = None
        self._load = Load()
        self._prepared: Prepared | None = None
        self._leaving = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._told = b""
        self._controls: Controls = {
            "prepare": self._prepare,
            "take": self._take,
            "drop": self._drop,
            "turn": self._turn,
            "revoke": self._revoke,
            "ready": self._ready,
            "numbers": self._numbers,
            "drain": self._drain,
        }

    async def run(self) -> int:
        """Do what comes down the line until it ends, or until told to leave."""
        loop = asyncio.get_running_loop()
        self._channel = await Channel.over(self._line)
        self._over = loop.create_future()
        loop.add_signal_handler(signal.SIGTERM, self._leave, True)
        self._task(self._listen())
        self._task(self._tell())
        whole: bool = await self._over
        if self._engine is not None:
            await self._engine.close()
        self._push(await self._count())
        await self._channel.flush()
        self._channel.close()
        return 0 if whole else 1

    # -- the line

    async def _listen(self) -> None:
        while (frame := await self._channel.receive()) is not None:
            order = unpacked(frame)
            if order.verb == "start":
                await self._answer(order, self._start)  # first: everything else comes after it
            else:
                self._task(self._answer(order, self._controls[order.verb]))
        # The parent has ended without a word: nobody will replace us, and who starts anew wants the address.
        self._leave(False)

    async def _answer(self, order: Order, control: Callable[[Any], Any]) -> None:
        try:
            answer = control(order.given)
            if inspect.isawaitable(answer):
                answer = await answer
            said = {"number": order.number, "answer": answer}
        except HookgateError as error:
            said = {"number": order.number, "error": str(error)}
        except Exception as error:
            _log.exception("a worker could not %s", order.verb)
            said = {"number": order.number, "error": f"{order.verb} failed in a worker: {type(error).__name__}"}
        self._channel.send(orjson.dumps(said))

    def _task(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- the controls

    async def _start(self, start: Start) -> None:
        seats = self._memory.seats(start.seat, start.loaded.policy.workers)
        engine = Engine(start.loaded, start.switch, self._sink, self._metrics, seats, self._memory.dues())
        _name(f"hookgate-{start.seat + 1}")
        await engine.open()
        engine.turn(start.switch)
        await engine.listen(self._door)
        self._engine = engine

    @property
    def _serving(self) -> Engine:
        if self._engine is None:
            raise StartError("a worker that has not started was asked to serve")
        return self._engine

    async def _prepare(self, loaded: Loaded) -> None:
        self._prepared = await self._serving.prepare(loaded)

    def _take(self, given: None) -> None:
        if self._prepared is None:
            raise StartError("a worker has nothing prepared")
        self._serving.take(self._prepared)
        self._prepared = None

    def _drop(self, given: None) -> None:
        if self._prepared is not None:
            self._serving.drop(self._prepared)
            self._prepared = None

    def _turn(self, switch: Switch) -> None:
        self._serving.turn(switch)

    def _revoke(self, revoked: Revoked) -> None:
        self._serving.revoke(revoked)

    async def _ready(self, given: None) -> str:
        return await self._serving.unready()

    async def _numbers(self, given: None) -> dict[str, Any]:
        return await self._count()

    def _drain(self, given: None) -> None:
        self._leave(True)

    # -- the numbers

    def _facts(self) -> Facts:
        """Ours are the lines that were dropped, for they are summed; everything else that is no count is the parent's to tell."""
        return Facts(0, 0, 0, {}, False, "", True, 0.0, None, 0, "", "", self._sink.dropped, self._load.audit_dropped)

    async def _count(self) -> dict[str, Any]:
        if self._engine is not None:
            await self._engine.counted()
            self._load = self._engine.load()
        # In a thread: it takes milliseconds, and requests must not wait for it.
        return {"load": self._load._asdict(), "families": await asyncio.to_thread(numbers_of, self._metrics)}

    async def _tell(self) -> None:
        """So that little is lost of what was counted when we are killed."""
        pause = _TELL_SECONDS
        while True:
            await asyncio.sleep(pause)
            began = time.thread_time()
            self._push(await self._count())
            pause = max(_TELL_SECONDS, _TELL_SHARE * (time.thread_time() - began))

    def _push(self, numbers: dict[str, Any]) -> None:
        said = orjson.dumps({"numbers": numbers})
        if said != self._told:
            self._told = said
            self._channel.send(said)

    # -- the end

    def _leave(self, delayed: bool) -> None:
        """Drain and end, once, however often it is asked for."""
        if not self._leaving:
            self._leaving = True
            self._task(self._end(delayed))

    async def _end(self, delayed: bool) -> None:
        self._over.set_result(self._engine is None or await self._engine.drain(delayed=delayed))


def _name(name: str) -> None:
    """For who looks at a list of processes."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(name)
