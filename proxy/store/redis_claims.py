"""The operations on claims in a Redis: each is a command, and what its reply means."""

import asyncio
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

from proxy.errors import StoreError
from proxy.store.base import CONFLICT, DELIVERED, IN_DOUBT, NEW, Claim, Claimed
from proxy.store.redis_dial import told
from proxy.store.redis_values import OWNED, Held, digest_of, is_delivered, is_reserved, left, remembered, window_of
from proxy.store.redis_watch import Watch
from proxy.store.resp import ErrorReply, Reply
from proxy.store.scripts import CONFIRM, RATE, RELEASE, RENEW, TAKE_OVER
from proxy.store.wire import Aside, Operation
from proxy.wakeup import Wakeup

_OWED = 10_000
"""Settlements remembered for a server that does not take them; the oldest is forgotten, and its claim becomes doubtful."""
_CHANGES = 10
"""How often a claim may end between the two questions about it, before we give up."""
_FOR_EVER = b"%d" % (1 << 52)


class Claims:
    """What this process has reserved, and what it has settled without the server knowing yet."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        submit: Callable[[Operation, bytes], None],
        again: Callable[[Operation, bytes, ErrorReply], bool],
        watch: Watch,
        lease: float,
    ) -> None:
        self.loop = loop
        self.submit = submit
        """Sends an operation to where its key lives."""
        self.again = again
        """Whether an error made the operation be sent once more: a moved key, a forgotten script."""
        self.watch = watch
        self.mine = b"R" + secrets.token_bytes(OWNED - 1)
        self.pending: dict[bytes, Held] = {}
        self.unsettled: dict[bytes, Settling] = {}
        """By the value of the reservation."""
        self._lease = lease
        self._count = 0
        self._tails: dict[float, tuple[bytes, bytes, bytes]] = {}

    def claim(self, key: bytes, digest: bytes, window: float) -> Wakeup[Claim]:
        """Reserve a key of the server's."""
        wakeup: Wakeup[Claim] = Wakeup(self.loop)
        held = self.pending.get(key)
        if held is not None:
            wakeup.set_result(held.answer(digest, self.loop))
        else:
            self.submit(_Claiming(self, wakeup, key, digest, window), key)
        return wakeup

    def settle(self, key: bytes, *, delivered: bool) -> Wakeup[None]:
        """Confirm or release a key, if it is reserved here."""
        wakeup: Wakeup[None] = Wakeup(self.loop)
        held = self.pending.pop(key, None)
        if held is None:
            wakeup.set_result(None)
        else:
            self.submit(Settling(self, held, wakeup, delivered=delivered), key)
        return wakeup

    def take(self, key: bytes, interval: float, slack: float) -> Wakeup[float]:
        """Count one request for a key of the server's; see ``SharedRates``."""
        wakeup: Wakeup[float] = Wakeup(self.loop)
        packed = RATE.pack(key, b"%d" % round(interval * 1e6), b"%d" % round(slack * 1e6))
        self.submit(_Taking(self, key, packed, wakeup), key)
        return wakeup

    def owed(self) -> Iterator["Settling"]:
        """What the server is still to be told, and is not being told now."""
        return (settling for settling in list(self.unsettled.values()) if settling.idle)

    def renew(self, now: float) -> None:
        """Have the leases of long requests begin anew."""
        for held in self.pending.values():
            if now - held.renewed > self._lease / 3:
                held.renewed = now
                self.submit(Aside(RENEW.pack(held.key, held.value, self.tail(held.window)[1])), held.key)

    def leave(self) -> None:
        """End the leases of what is still reserved: it becomes doubtful for all others at once."""
        for held in self.pending.values():
            held.settle(False)
            self.submit(Aside(RENEW.pack(held.key, held.value, b"%d" % round(held.window * 1000))), held.key)

    def value(self, window: bytes, digest: bytes) -> bytes:
        """What stands for a new reservation."""
        self._count += 1
        return b"%b%b%b%b" % (self.mine, self._count.to_bytes(8), window, digest)

    def tail(self, window: float) -> tuple[bytes, bytes, bytes]:
        """Of a window: its eight bytes, lease and window in milliseconds, and the end of the command that reserves."""
        tail = self._tails.get(window)
        if tail is None:
            milliseconds = max(1, round(window * 1000))
            life = b"%d" % (milliseconds + round(self._lease * 1000))
            end = b"$2\r\nNX\r\n$3\r\nGET\r\n$2\r\nPX\r\n$%d\r\n%b\r\n" % (len(life), life)
            tail = self._tails[window] = (milliseconds.to_bytes(8), life, end)
        return tail


class _Keyed(ABC):
    """A command about one key. An error is an error, unless the server only wants it sent once more."""

    __slots__ = ("claims", "key", "packed", "twice")

    claims: Claims
    key: bytes
    packed: bytes
    twice: bool

    def answer(self, reply: Reply) -> None:
        """Take the reply."""
        if isinstance(reply, ErrorReply):
            if self.twice or not self.claims.again(self, self.key, reply):
                self.fail(StoreError(told(reply)), sent=False)
            else:
                self.twice = True
        else:
            self.take(reply)

    @abstractmethod
    def take(self, reply: Reply) -> None:
        """What the server did."""

    @abstractmethod
    def fail(self, error: StoreError, *, sent: bool) -> None:
        """There will be no reply."""


class _Claiming(_Keyed):
    """``SET key reservation NX GET PX life``: one round trip, one step of the server's."""

    __slots__ = ("changes", "digest", "value", "wakeup", "window")

    def __init__(self, claims: Claims, wakeup: Wakeup[Claim], key: bytes, digest: bytes, window: float) -> None:
        self.claims = claims
        self.key = key
        self.digest = digest
        self.window = window
        self.wakeup = wakeup
        self.twice = False
        self.changes = 0
        written, _, end = claims.tail(window)
        self.value = value = claims.value(written, digest)
        self.packed = b"*7\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$41\r\n%b\r\n%b" % (len(key), key, value, end)

    def take(self, reply: Reply) -> None:
        if reply is None:
            self.reserve(NEW)
        elif isinstance(reply, bytes) and is_delivered(reply):
            self._tell(DELIVERED if digest_of(reply) == self.digest else CONFLICT)
        elif isinstance(reply, bytes) and is_reserved(reply):
            self._meet(reply)
        else:
            self.fail(StoreError("a key holds what Hookgate has not written: set store.prefix to one of its own"), sent=False)

    def fail(self, error: StoreError, *, sent: bool, found: Claim = NEW) -> None:
        if sent:  # it may be reserved now, and nobody will forward it
            self.claims.unsettled[self.value] = Settling(self.claims, self._held(found), None, delivered=False)
        if not self.wakeup.settled:
            self.wakeup.set_exception(error)

    def reserve(self, claim: Claim) -> None:
        """It is ours, unless its waiter has gone: then nobody could ever settle it."""
        held = self._held(claim)
        if self.wakeup.settled:
            self.claims.submit(Settling(self.claims, held, None, delivered=False), self.key)
            return
        self.claims.pending[self.key] = held
        self.wakeup.set_result(claim)

    def foreign(self, reserved: bytes, lease: float) -> None:
        """It is reserved by somebody else, who has so many seconds left to settle or renew it."""
        self._tell(Claim(Claimed.IN_FLIGHT, self.claims.watch.end(self.key, reserved, lease)))

    def _meet(self, reserved: bytes) -> None:
        """What a reservation means that we did not make now."""
        claims = self.claims
        if reserved[:OWNED] != claims.mine:
            if digest_of(reserved) != self.digest:
                self._tell(CONFLICT)
            else:
                claims.submit(_TakingOver(self, reserved, window_of(reserved), IN_DOUBT), self.key)
            return
        held = claims.pending.get(self.key)
        settling = claims.unsettled.get(reserved)
        if held is not None:
            self._tell(held.answer(self.digest, claims.loop))
        elif settling is not None and settling.delivered:
            self._tell(DELIVERED if settling.held.digest == self.digest else CONFLICT)
        else:
            # Reserved here, and then nobody waited for it any more: it was never forwarded, or is being released.
            # How one that we have forgotten ended, too many being owed, nobody knows.
            doubtful = settling.held.doubtful if settling is not None else reserved != self.value
            claims.submit(_TakingOver(self, reserved, _FOR_EVER, IN_DOUBT if doubtful else NEW), self.key)

    def _held(self, claim: Claim) -> Held:
        return Held(self.digest, self.window, self.key, self.value, self.claims.loop.time(), doubtful=claim is IN_DOUBT)

    def _tell(self, claim: Claim) -> None:
        if not self.wakeup.settled:
            self.wakeup.set_result(claim)


class _TakingOver(_Keyed):
    """Of a reservation whose lease may have run out."""

    __slots__ = ("claiming", "found", "reserved")

    def __init__(self, claiming: _Claiming, reserved: bytes, window: bytes, found: Claim) -> None:
        self.claims = claiming.claims
        self.key = claiming.key
        self.claiming = claiming
        self.reserved = reserved
        self.found = found
        self.twice = False
        life = self.claims.tail(claiming.window)[1]
        self.packed = TAKE_OVER.pack(claiming.key, reserved, window, claiming.value, life)

    def take(self, reply: Reply) -> None:
        claiming = self.claiming
        if reply == 0:
            claiming.reserve(self.found)
        elif isinstance(reply, int) and reply > 0:
            claiming.foreign(self.reserved, reply / 1000)
        elif claiming.changes < _CHANGES:
            claiming.changes += 1
            self.claims.submit(claiming, self.key)
        else:
            claiming.fail(StoreError("a claim changes faster than it can be read"), sent=False)

    def fail(self, error: StoreError, *, sent: bool) -> None:
        self.claiming.fail(error, sent=sent, found=self.found)


class Settling(_Keyed):
    """Confirm, release or leave in doubt. What the server does not take is kept, and told again until it does."""

    __slots__ = ("delivered", "held", "idle", "wakeup")

    def __init__(self, claims: Claims, held: Held, wakeup: Wakeup[None] | None, *, delivered: bool) -> None:
        self.claims = claims
        self.key = held.key
        self.held = held
        self.wakeup = wakeup
        self.delivered = delivered
        self.twice = False
        self.idle = wakeup is None
        claims.unsettled[held.value] = self
        if len(claims.unsettled) > _OWED:
            del claims.unsettled[next(iter(claims.unsettled))]
        if delivered or held.doubtful:
            kept = remembered(held.digest) if delivered else left(held.window, held.digest)
            self.packed = CONFIRM.pack(held.key, held.value, kept, b"%d" % max(1, round(held.window * 1000)))
        else:
            self.packed = RELEASE.pack(held.key, held.value)

    def take(self, reply: Reply) -> None:
        self.claims.unsettled.pop(self.held.value, None)
        self.held.settle(self.delivered)
        if self.wakeup is not None and not self.wakeup.settled:
            self.wakeup.set_result(None)

    def fail(self, error: StoreError, *, sent: bool) -> None:
        self.idle = True
        self.twice = False
        # The server does not know it yet; those who wait here may.
        self.held.settle(self.delivered)
        if self.wakeup is not None and not self.wakeup.settled:
            self.wakeup.set_exception(error)


class _Taking(_Keyed):
    """One request counted for a rate."""

    __slots__ = ("wakeup",)

    def __init__(self, claims: Claims, key: bytes, packed: bytes, wakeup: Wakeup[float]) -> None:
        self.claims = claims
        self.key = key
        self.packed = packed
        self.wakeup = wakeup
        self.twice = False

    def take(self, reply: Reply) -> None:
        if not self.wakeup.settled:
            self.wakeup.set_result(reply / 1e6 if isinstance(reply, int) else 0.0)

    def fail(self, error: StoreError, *, sent: bool) -> None:
        if not self.wakeup.settled:
            self.wakeup.set_exception(error)
