"""aiohttp's parsers of HTTP, typed by what the C ones give: not the tuples that their own types promise.

Interfaces, and a base with slots of its own: nothing here can be compiled.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_writer import HttpVersion
from aiohttp.streams import StreamReader

HeadT_co = TypeVar("HeadT_co", covariant=True)


class RawHead(Protocol):
    """What heads of both kinds tell."""

    @property
    def version(self) -> HttpVersion:
        """Major and minor."""

    @property
    def raw_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """The fields as they came."""

    @property
    def should_close(self) -> bool:
        """The connection cannot be used again."""

    @property
    def chunked(self) -> bool:
        """The body came, or comes, in chunks."""


class RawRequest(RawHead, Protocol):
    """A request's head as it was parsed."""

    @property
    def method(self) -> str:
        """As it came."""

    @property
    def path(self) -> str:
        """The whole target, with surrogates for bytes that are no text."""

    @property
    def upgrade(self) -> bool:
        """Another protocol is asked for."""


class RawReply(RawHead, Protocol):
    """A reply's head as it was parsed."""

    @property
    def code(self) -> int:
        """The status."""

    @property
    def reason(self) -> str:
        """The phrase behind it, with surrogates for bytes that are no text."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The fields, to be looked up in any spelling."""


class Parser(Protocol[HeadT_co]):
    """A parser of messages with such heads."""

    def feed_data(self, data: bytes, /) -> tuple[Sequence[tuple[HeadT_co, StreamReader]], bool, bytes]:
        """The messages that begin in these bytes, and what does not count here."""

    def feed_eof(self) -> object:
        """There are no more bytes."""

    def message_consumed(self) -> None:
        """The last message has been answered."""


class NoFlow(BaseProtocol):
    """What a parser's body streams ask of a protocol. Who reads drains them after each read, so nothing needs pausing."""

    def pause_reading(self) -> None:
        """Backpressure is the reader's own."""

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Backpressure is the reader's own."""
