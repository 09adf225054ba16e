"""What a server was not told of in a long outage: bounded, and what had to be forgotten is in doubt, never new."""

import asyncio
from collections.abc import Iterator

import pytest

from proxy.errors import StoreError
from proxy.store import redis_claims
from proxy.store.base import IN_DOUBT
from proxy.store.redis_claims import Claims
from proxy.store.redis_watch import Watch
from proxy.store.wire import Operation

BODY, WINDOW = b"a" * 16, 3600.0


class Outage:
    """A server to which everything is sent, and nothing comes back but what a test says."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.sent: list[Operation] = []
        watch = Watch(loop, lambda operation, key: self.sent.append(operation))
        self.claims = Claims(loop, lambda operation, key: self.sent.append(operation), lambda *_: False, watch, 30.0)

    def lose(self) -> None:
        """The last operation may have reached the server, or not."""
        self.sent.pop().fail(StoreError("gone"), sent=True)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """So many settlements are remembered."""
    monkeypatch.setattr(redis_claims, "_OWED", 50)
    yield 50


async def test_forgotten_is_in_doubt(few: int) -> None:
    """A delivery of which the server was never told, and we no longer know, is in doubt when it comes again."""
    outage = Outage()
    claims = outage.claims
    first = claims.claim(b"delivered", BODY, WINDOW)
    outage.sent.pop().answer(None)
    (value,) = (held.value for held in claims.pending.values())
    told = claims.settle(b"delivered", delivered=True)
    outage.lose()
    assert first.settled and told.settled
    for number in range(2 * few):
        lost = claims.claim(b"%d" % number, BODY, WINDOW)
        outage.lose()
        assert lost.settled
    assert len(claims.unsettled) <= few
    again = claims.claim(b"delivered", BODY, WINDOW)
    outage.sent.pop().answer(value)
    outage.sent.pop().answer(0)
    assert again.settled
    assert again.result() == IN_DOUBT
