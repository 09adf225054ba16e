"""Replies that recur: what is recalled is what would have been read."""

import asyncio
import random
from collections.abc import Callable

from proxy.messages import Reply
from proxy.upstream.connection import Connection
from proxy.upstream.recurring import RecurringReplies
from tests.upstream.test_answers import SAYS

PIECES = (b"\r\n", b"\r\n\r\n", b"Content-Length: 4\r\n", b"Connection: close\r\n", b"Transfer-Encoding: chunked\r\n", b"0", b" ")


class Wire(asyncio.Transport):
    """Takes what is written, and ends when it is told to."""

    closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Nobody reads it."""

    def is_closing(self) -> bool:
        """Whether it has been ended."""
        return self.closing

    def get_write_buffer_size(self) -> int:
        """All is sent."""
        return 0

    def abort(self) -> None:
        """The end."""
        self.closing = True


def read(data: bytes, memory: RecurringReplies) -> Reply | None:
    """What a fresh connection with this memory makes of the bytes in one read: the whole reply, where they are exactly one."""
    found: list[bool] = []
    done: Callable[[Connection, bool], None] = lambda connection, reusable: found.append(reusable)  # noqa: E731
    connection = Connection(asyncio.get_running_loop(), 1 << 24, done, done, memory)
    connection.connection_made(Wire())
    waiter = connection.send(b"", bodyless=False, deadline=0.0)
    connection.data_received(data)
    try:
        return waiter.result() if found == [True] else None
    except Exception:
        return None


def mutant(data: bytes, chance: random.Random) -> bytes:
    """The same with a piece put in or a few bytes dropped."""
    at = chance.randint(0, len(data))
    return data[:at] + chance.choice((b"", *PIECES)) + data[at + chance.choice((0, 0, 1, 5)) :]


async def test_recalled_is_what_would_be_read() -> None:
    """No bytes at all are recalled as anything but the one whole reply that a fresh parser reads in them."""
    chance = random.Random(7)  # noqa: S311 - a repeatable one
    recurring = RecurringReplies()
    said = [one for one in SAYS.values() if len(one) < 1000]
    hits = 0
    for _ in range(6_000):
        data = chance.choice(said)
        if chance.random() < 0.5:
            data = mutant(data, chance)
        reply = read(data, RecurringReplies())
        known = recurring.recall(data)
        if known is not None:
            assert reply is not None, data
            assert known[0].reply(known[1])._replace(kept=None) == reply, data
            hits += 1
        if chance.random() < 0.2:
            read(data, recurring)
    assert hits > 300


async def test_bounded() -> None:
    """However many heads there are, few dozen are kept, and no long one."""
    recurring = RecurringReplies()
    for number in range(500):
        data = b"HTTP/1.1 200 OK\r\nX: %b%d\r\nContent-Length: 1\r\n\r\n." % (b"x" * 3000 * (number % 2), number)
        assert read(data, recurring) is not None
    assert 0 < len(recurring._known) <= 64
    assert all(len(head) < 2100 for head in recurring._known)
