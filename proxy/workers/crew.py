"""The workers' processes: started together, replaced one by one when they die, asked and ended all at once."""

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from proxy.errors import StartError
from proxy.observe.totals import Numbers
from proxy.workers.births import Births
from proxy.workers.member import Gone, Member
from proxy.workers.memory import Memory
from proxy.workers.orders import Start

_log = logging.getLogger("hookgate.workers")

_START_SECONDS: Final = 60.0
_SHORT_SECONDS: Final = 1.0
"""Who dies within this time of being ready has not served."""
_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 5.0
_SHORT_LIVES: Final = 10
"""So many in a row, and nobody left who serves: it is no accident any more."""


class Crew:
    """``begin`` gives what a worker of this seat begins with at this moment; ``told`` takes numbers, ``bury`` the dead."""

    def __init__(
        self, size: int, begin: Callable[[int], Start], told: Callable[[int, Numbers], None], bury: Callable[[int], None]
    ) -> None:
        self._size = size
        self._begin = begin
        self._told = told
        self._bury = bury
        self.memory = Memory.fresh()
        self._births = Births()
        self.members: set[Member] = set()
        self._seats: list[asyncio.Task[bool]] = []
        self._ending = asyncio.Event()
        self._short_lives = 0
        self.deaths = 0
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Why no worker can be kept alive; set when that is so."""

    @property
    def ready(self) -> list[Member]:
        """Those that serve."""
        return [member for member in self.members if member.ready]

    async def start(self, door: socket.socket) -> None:
        """Start all of them; raises ``StartError`` with the words of the first that could not."""
        self._door = door
        loop = asyncio.get_running_loop()
        started = [loop.create_future() for _ in range(self._size)]
        self._seats = [loop.create_task(self._keep(seat, first)) for seat, first in enumerate(started)]
        await asyncio.gather(*started)

    async def ask(self, members: list[Member], verb: str, given: Any, seconds: float) -> list[Any]:
        """The answer of each, or the ``StartError`` that stands for it."""
        return await asyncio.gather(*(member.ask(verb, given, seconds) for member in members), return_exceptions=True)

    async def drain(self, seconds: float) -> bool:
        """Have all of them let their requests end; True when none was left behind. Who takes longer is killed."""
        self._ending.set()
        for member in self.members:
            member.tell("drain")
        if self._seats:
            _, late = await asyncio.wait(self._seats, timeout=seconds)
            if late:
                _log.error("killed: %d workers did not end in time", len(late))
        return await self.kill()

    async def kill(self) -> bool:
        """End whoever is left at once."""
        self._ending.set()
        for member in self.members:
            member.kill()
        return all([await seat for seat in self._seats])

    # -- one seat

    async def _keep(self, seat: int, first: "asyncio.Future[None]") -> bool:
        """Somebody sits here until the end; True when the last one ended whole."""
        pause = 0.0
        while True:
            try:
                member = await Member.spawn(self._births, self._door.fileno(), self.memory.descriptor, self._heard)
            except StartError as error:
                if not first.done():
                    first.set_exception(error)
                    return True
                _log.error("a worker cannot be started: %s", error)
                pause = self._short("none could be made", pause)
                if await _within(self._ending.wait(), pause):
                    return True
                continue
            self.members.add(member)
            if self._ending.is_set():
                member.kill()
            began = await self._begun(seat, member, first)
            code = await member.ended()
            self.members.discard(member)
            self.memory.vacate(seat)
            self._bury(member.pid)
            if self._ending.is_set():
                return code == 0 or not member.ready  # who never served has left nothing behind
            pause = self._mourn(seat, member, code, time.monotonic() - began if member.ready else 0.0, pause)
            if await _within(self._ending.wait(), pause):
                return True

    async def _begun(self, seat: int, member: Member, first: "asyncio.Future[None]") -> float:
        """Have it serve; gives the moment from which on it does, or did not."""
        try:
            start = self._begin(seat)
            await member.ask("start", start, _START_SECONDS)
            while (now := self._begin(seat).loaded) is not start.loaded:
                # A policy was taken meanwhile.
                await member.ask("prepare", now, _START_SECONDS)
                await member.ask("take", None, _START_SECONDS)
                start = start._replace(loaded=now)
            member.ready = True
            if not first.done():
                first.set_result(None)
        except Exception as error:
            if not isinstance(error, StartError):
                _log.exception("a worker could not be started")
            elif not isinstance(error, Gone):
                _log.error("a worker cannot serve: %s", error)
            if not first.done():
                first.set_exception(error)
            member.kill()
        return time.monotonic()

    def _heard(self, member: Member, numbers: Numbers) -> None:
        if member in self.members:
            self._told(member.pid, numbers)

    def _mourn(self, seat: int, member: Member, code: int, lived: float, pause: float) -> float:
        """Tell of a death; gives how long to wait before the next one is started."""
        self.deaths += 1
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        _log.warning("a worker has ended: %s", how, extra={"facts": {"worker": seat + 1, "pid": member.pid}})
        if lived >= _SHORT_SECONDS:
            self._short_lives = 0
            return 0.0
        return self._short(how, pause)

    def _short(self, how: str, pause: float) -> float:
        """Somebody has not served; gives how long to wait before the next one is started."""
        self._short_lives += 1
        if self._short_lives >= _SHORT_LIVES and not self.ready and not self.lost.done():
            self.lost.set_result(f"workers die as soon as they are started ({how} the last time): see the lines before this one")
        return min(max(pause * 2, _PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)


async def _within(wait: Coroutine[Any, Any, Any], seconds: float) -> bool:
    try:
        await asyncio.wait_for(wait, seconds)
    except TimeoutError:
        return False
    return True
