"""One worker as its parent sees it: a process, the line to it, and what it last told."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from itertools import count
from typing import Any

import orjson

from proxy.errors import StartError
from proxy.load import Load
from proxy.workers.births import Births, Process
from proxy.workers.channel import Channel
from proxy.workers.orders import Order, packed


class Gone(StartError):
    """The worker has ended before it answered."""


class Member:
    """A worker's process. ``told`` is called with each set of numbers that it tells."""

    def __init__(self, process: Process, channel: Channel, told: Callable[["Member", Any], None]) -> None:
        self.process = process
        self.pid = process.pid
        self.load = Load()
        self.ready = False
        self._channel = channel
        self._told = told
        self._numbers = count(1)
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._listening = asyncio.get_running_loop().create_task(self._listen())

    @classmethod
    async def spawn(cls, births: Births, listening: int, memory: int, told: Callable[["Member", Any], None]) -> "Member":
        """Have one born; raises ``StartError``."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await births.spawn(theirs.fileno(), listening, memory)
            except BaseException:
                ours.close()
                raise
        return cls(process, await Channel.over(ours), told)

    def tell(self, verb: str, given: Any = None) -> int:
        """Have something done; gives the number of the order."""
        number = next(self._numbers)
        self._channel.send(packed(Order(number, verb, given)))
        return number

    async def ask(self, verb: str, given: Any, seconds: float) -> Any:
        """Have something done, and wait for the answer.

        Raises:
            StartError: it could not be done, or not in time; the message says why.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._listening.done():
            raise Gone(f"worker {self.pid} has ended")
        number = self.tell(verb, given)
        self._asked[number] = answer
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            raise StartError(f"worker {self.pid} did not answer within {seconds:.0f} s when asked to {verb}") from None
        finally:
            self._asked.pop(number, None)

    async def _listen(self) -> None:
        while (frame := await self._channel.receive()) is not None:
            try:
                self._heard(orjson.loads(frame))
            except Exception:
                # SECURITY: nobody could tell it any more what is in force. What it said is not ours to log.
                self.kill()
                break
        # Its end of the line is closed: it has ended, or is about to.
        for answer in list(self._asked.values()):
            if not answer.done():
                answer.set_exception(Gone(f"worker {self.pid} has ended"))
        self._asked.clear()

    def _heard(self, said: dict[str, Any]) -> None:
        if "numbers" in said:
            self.heed(said["numbers"])
            return
        answer = self._asked.get(said["number"])
        if answer is None or answer.done():
            return
        if "error" in said:
            answer.set_exception(StartError(said["error"]))
        else:
            answer.set_result(said["answer"])

    def heed(self, numbers: dict[str, Any]) -> None:
        """Take in what it has counted."""
        self.load = Load(**numbers["load"])
        self._told(self, numbers["families"])

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()

    async def ended(self) -> int:
        """Wait for its end, take in the last that it said, and give its exit code."""
        await self._listening
        code = await self.process.wait()
        self._channel.close()
        return code
