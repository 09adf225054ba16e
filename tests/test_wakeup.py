"""A wakeup wakes its waiter in the call that settles it, under an asyncio Task and under a coroutine stepped by hand."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from proxy.errors import StoreError
from proxy.wakeup import Wakeup

STEPS: list[str] = []


async def waiter(wakeup: Wakeup[str]) -> str:
    """Wait, and write down when it went on."""
    STEPS.append("waits")
    try:
        value = await wakeup
    except BaseException as error:
        STEPS.append(type(error).__name__)
        raise
    STEPS.append(value)
    return value


@pytest.fixture(autouse=True)
def steps() -> None:
    """A clean page."""
    STEPS.clear()


class Stepped:
    """A coroutine stepped by hand, as a connection does it."""

    def __init__(self, coroutine: Coroutine[Any, Any, str]) -> None:
        self._coroutine = coroutine
        self.result: str | BaseException | None = None
        self.step(None)

    def step(self, waited: object) -> None:
        """Go on to the next wait, or to the end."""
        try:
            found = self._coroutine.send(None)
        except StopIteration as stop:
            self.result = stop.value
        except BaseException as error:
            self.result = error
        else:
            found._asyncio_future_blocking = False
            found.add_done_callback(self.step)


async def test_by_hand() -> None:
    """The waiter has gone on by the time set_result returns."""
    wakeup: Wakeup[str] = Wakeup(asyncio.get_running_loop())
    stepped = Stepped(waiter(wakeup))
    assert (STEPS, wakeup.settled) == (["waits"], False)
    wakeup.set_result("value")
    assert (STEPS, stepped.result, wakeup.settled) == (["waits", "value"], "value", True)


async def test_by_hand_with_an_error() -> None:
    """An exception is raised where the waiter waits."""
    wakeup: Wakeup[str] = Wakeup(asyncio.get_running_loop())
    stepped = Stepped(waiter(wakeup))
    wakeup.set_exception(StoreError("x"))
    assert isinstance(stepped.result, StoreError)


async def test_settled_before() -> None:
    """What is settled already is not waited for."""
    wakeup: Wakeup[str] = Wakeup(asyncio.get_running_loop())
    wakeup.set_result("early")
    assert Stepped(waiter(wakeup)).result == "early"
    assert await wakeup == "early"
    failed: Wakeup[str] = Wakeup(asyncio.get_running_loop())
    failed.set_exception(StoreError("x"))
    with pytest.raises(StoreError):
        await failed


async def test_a_callback_that_comes_late() -> None:
    """A callback added after the settling runs at once; one added before runs once."""
    wakeup: Wakeup[str] = Wakeup(asyncio.get_running_loop())
    called: list[Wakeup[str]] = []
    wakeup.add_done_callback(called.append)
    wakeup.set_result("value")
    assert called == [wakeup]
    wakeup.add_done_callback(called.append)
    assert called == [wakeup, wakeup]


async def settled_by_the_loop(wakeup: Wakeup[str], value: str | BaseException) -> None:
    """Let a callback of the loop settle it, and two turns pass."""
    loop = asyncio.get_running_loop()
    if isinstance(value, BaseException):
        loop.call_soon(wakeup.set_exception, value)
    else:
        loop.call_soon(wakeup.set_result, value)
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_under_a_task() -> None:
    """A Task that waits goes on in the turn in which a callback settles."""
    loop = asyncio.get_running_loop()
    wakeup: Wakeup[str] = Wakeup(loop)
    assert wakeup.get_loop() is loop
    task = asyncio.create_task(waiter(wakeup))
    await asyncio.sleep(0)
    assert STEPS == ["waits"]

    def settle() -> None:
        wakeup.set_result("value")
        assert STEPS == ["waits", "value"]

    loop.call_soon(settle)
    assert await task == "value"


async def test_under_a_task_with_an_error() -> None:
    """An exception reaches the Task."""
    wakeup: Wakeup[str] = Wakeup(asyncio.get_running_loop())
    task = asyncio.create_task(waiter(wakeup))
    await asyncio.sleep(0)
    await settled_by_the_loop(wakeup, StoreError("x"))
    with pytest.raises(StoreError):
        await task


async def test_cancelled_while_it_waits() -> None:
    """A Task that is cancelled while it waits ends with CancelledError, and settling later is harmless."""
    wakeup: Wakeup[str] = Wakeup(asyncio.get_running_loop())
    task = asyncio.create_task(waiter(wakeup))
    await asyncio.sleep(0)
    # From a callback: one Task must not step another.
    asyncio.get_running_loop().call_soon(task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert STEPS == ["waits", "CancelledError"]
    assert not wakeup.cancel()


async def test_cancelled_before_it_waits() -> None:
    """A Task that is cancelled before its first step never waits."""
    wakeup: Wakeup[str] = Wakeup(asyncio.get_running_loop())
    task = asyncio.create_task(waiter(wakeup))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert STEPS == []


async def test_a_timeout() -> None:
    """A deadline over the wait ends it."""
    wakeup: Wakeup[str] = Wakeup(asyncio.get_running_loop())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await waiter(wakeup)


async def test_a_chain() -> None:
    """A waiter that settles another wakeup runs that one's waiter within the same call."""
    loop = asyncio.get_running_loop()
    first: Wakeup[str] = Wakeup(loop)
    second: Wakeup[str] = Wakeup(loop)

    async def link() -> str:
        second.set_result(await first + "!")
        return "linked"

    last, linked = Stepped(waiter(second)), Stepped(link())
    first.set_result("value")
    assert (last.result, linked.result) == ("value!", "linked")


async def test_many_in_turn() -> None:
    """A thousand waits in one Task, each settled by a callback, cost one turn each at most."""
    loop = asyncio.get_running_loop()

    async def work() -> int:
        total = 0
        for number in range(1000):
            wakeup: Wakeup[int] = Wakeup(loop)
            loop.call_soon(wakeup.set_result, number)
            total += await wakeup
        return total

    assert await asyncio.wait_for(asyncio.create_task(work()), 30) == sum(range(1000))
