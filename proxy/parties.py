"""Who stands at the ends of a request: interfaces, so never compiled (a compiled one would demand inheritance)."""

from typing import Protocol


class Sender(Protocol):
    """Who waits for the answer."""

    @property
    def left(self) -> bool:
        """It has hung up, or at least says that it will say no more."""


class Sink(Protocol):
    """Where the rest of a long reply goes."""

    def write(self, data: bytes) -> None:
        """Take the next bytes of the body."""

    def end(self, *, whole: bool) -> None:
        """No more bytes: the body is whole, or it broke off."""


class Rest(Protocol):
    """The part of a long reply that is still to come."""

    def start(self, sink: Sink) -> None:
        """Give what has come so far to the sink, then the rest as it comes."""

    def pause(self) -> None:
        """The sink is full."""

    def resume(self) -> None:
        """The sink takes more."""

    def abort(self) -> None:
        """The sink is gone."""
