"""A one-shot awaitable that wakes its waiter at once, in the call that settles it.

An ``asyncio.Future`` wakes its waiter a turn of the loop later, through ``call_soon``; on the hot path that turn and its
handle cost more than the work between. A ``Wakeup`` speaks the same awaiting protocol, so a Task can await it too.
It must not be settled from inside a running Task (asyncio forbids one task to step another); callbacks of the loop may.
"""

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Wakeup(Generic[T]):
    """Settled once, with a value or an exception; awaited at most once."""

    __slots__ = ("_asyncio_future_blocking", "_callback", "_error", "_loop", "_value", "settled")

    _value: T

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._callback: Callable[[Any], object] | None = None
        self._error: BaseException | None = None
        self._asyncio_future_blocking = False
        self.settled = False

    def set_result(self, value: T) -> None:
        """Settle with a value and run the waiter now."""
        self._value = value
        self.settled = True
        callback, self._callback = self._callback, None
        if callback is not None:
            callback(self)

    def set_exception(self, error: BaseException) -> None:
        """Settle with an exception and run the waiter now."""
        self._error = error
        self.settled = True
        callback, self._callback = self._callback, None
        if callback is not None:
            callback(self)

    def result(self) -> T:
        """The value, or the exception raised."""
        if self._error is not None:
            raise self._error
        return self._value

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop it belongs to; asked for by asyncio's Task."""
        return self._loop

    def add_done_callback(self, callback: Callable[[Any], object], *, context: Context | None = None) -> None:
        """Run ``callback(self)`` when settled, at once if it is settled already."""
        if self.settled:
            callback(self)
        else:
            self._callback = callback

    def cancel(self, msg: str | None = None) -> bool:
        """Settle with ``CancelledError``, as a Task that is cancelled while waiting expects; the waiter runs a turn later.

        Whoever cancels is most often a running Task itself, and one Task must not step another.
        """
        if self.settled:
            return False
        self._error = asyncio.CancelledError(msg) if msg else asyncio.CancelledError()
        self.settled = True
        callback, self._callback = self._callback, None
        if callback is not None:
            self._loop.call_soon(callback, self)
        return True

    def __await__(self) -> Generator[Any, None, T]:
        if not self.settled:
            self._asyncio_future_blocking = True
            yield self
        if self._error is not None:
            raise self._error
        return self._value
