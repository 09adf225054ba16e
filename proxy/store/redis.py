"""Claims in a Redis or a Valkey, for replicas on several machines. A reservation is a lease that its holder renews.

Every operation is decided within a quarter of a second, whatever the server does. Claims survive our death; the server's own they
survive as far as its persistence and replication go.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any

from proxy.errors import StoreError
from proxy.redis_url import Kind, RedisAccess, written
from proxy.store.base import Claim
from proxy.store.link import Link
from proxy.store.redis_claims import Claims
from proxy.store.redis_dial import Dialer, Node, told
from proxy.store.redis_nodes import Cluster, Nodes, Server
from proxy.store.redis_watch import Watch
from proxy.store.resp import ErrorReply, Reply, pack
from proxy.store.scripts import LOADS
from proxy.store.wire import Aside, Operation
from proxy.wakeup import Wakeup

_log = logging.getLogger("hookgate")

_BEAT_SECONDS = 0.5
"""Between two signs of life: a server that has died is noticed before a request has to wait for it."""
_START_SECONDS = 1.5
"""That ``open`` waits for the server: a gate comes up without one too."""
_BREAKS = frozenset({b"READONLY", b"LOADING", b"MASTERDOWN", b"NOAUTH"})
"""Errors of a server that is not, or not any more, the one to talk to."""


class RedisStore:
    """A store on the servers that ``access`` names.

    ``lease`` (seconds) must be longer than any request can be under way; ``event`` is told ``emptied``, when the server was.
    """

    def __init__(self, access: RedisAccess, lease: float, event: Callable[[str], None]) -> None:
        self._access = access
        self._lease = lease
        self._event = event
        self._prefix = access.prefix.encode() + b":"
        self._claim_prefix = self._prefix + b"claim:"
        self._rate_prefix = self._prefix + b"rate:"
        self._open = False
        self._trouble: dict[Node, str] = {}
        self._complained: dict[str, float] = {}
        self._generations: dict[bytes, bytes] = {}
        self._sizes: dict[Link, int] = {}

    async def open(self) -> None:
        """Find the server. One that does not answer is told in the log, and waited for in the background."""
        self._loop = asyncio.get_running_loop()
        self._dialer = Dialer(self._access)
        url = self._access.url
        self._nodes: Nodes
        if url.kind is Kind.CLUSTER:
            self._nodes = Cluster(self._dialer, url.nodes, self._first, self._told)
        else:
            self._nodes = Server(self._dialer, url.nodes[0], self._first, self._told)
        self._marks = self._nodes.marks(self._prefix)
        self._watch = Watch(self._loop, self._nodes.submit)
        self._claims = Claims(self._loop, self._nodes.submit, self._again, self._watch, self._lease)
        self._open = True
        with suppress(TimeoutError):
            async with asyncio.timeout(_START_SECONDS):
                await self._nodes.ready()
        self._timer = self._loop.call_later(_BEAT_SECONDS, self._beat)

    async def close(self) -> None:
        """Tell what is pending and let go of the server. Keys still reserved become ``IN_DOUBT`` for others."""
        if not self._open:
            return
        self._open = False
        self._timer.cancel()
        self._watch.close()
        self._claims.leave()
        for link in self._nodes.links():
            await link.idle()
        await self._nodes.close()
        await self._dialer.close()

    def claim(self, key: bytes, digest: bytes, window: float) -> Wakeup[Claim]:
        """Reserve ``key``; settled once the server has it."""
        if not self._open:
            return self._closed()
        return self._claims.claim(self._claim_prefix + key, digest, window)

    def confirm(self, key: bytes) -> Wakeup[None]:
        """Remember a reserved key. When this fails, the server is told again until it listens: what happened is not forgotten."""
        return self._claims.settle(self._claim_prefix + key, delivered=True) if self._open else self._closed()

    def release(self, key: bytes) -> Wakeup[None]:
        """Forget a reserved key. When this fails, the server is told again until it listens."""
        return self._claims.settle(self._claim_prefix + key, delivered=False) if self._open else self._closed()

    def take(self, key: bytes, interval: float, slack: float) -> Wakeup[float]:
        """Count one request for ``key``, by the server's clock; see ``SharedRates``."""
        return self._claims.take(self._rate_prefix + key, interval, slack) if self._open else self._closed()

    def entries(self) -> int:
        """Keys of the whole database, half a second old at most; what else lies in it counts too."""
        return max(sum(self._sizes.values()) - len(self._marks), len(self._claims.pending))

    def _closed(self) -> Wakeup[Any]:
        wakeup: Wakeup[Any] = Wakeup(asyncio.get_running_loop())
        wakeup.set_exception(StoreError("the store is closed"))
        return wakeup

    # -- what goes on beside the requests

    def _first(self, link: Link) -> Iterable[Operation]:
        """On a new connection: what the server does not know yet, then whether it is still the same one."""
        for settling in self._claims.owed():
            if self._nodes.of(settling.key) is link:
                settling.idle = False
                yield settling
        yield from self._signs_of_life(link)
        yield Aside(pack(b"INFO", b"memory"), self._check_eviction)

    def _beat(self) -> None:
        self._timer = self._loop.call_later(_BEAT_SECONDS, self._beat)
        for link in self._nodes.links():
            for operation in self._signs_of_life(link):
                link.submit(operation)
        for settling in self._claims.owed():
            if (link_of := self._nodes.of(settling.key)) is not None and link_of.ready.is_set():
                settling.idle = False
                link_of.submit(settling)
        self._claims.renew(self._loop.time())

    def _signs_of_life(self, link: Link) -> Iterable[Operation]:
        """A write for each mark: it also shows a server that takes none any more."""
        for mark in self._marks:
            if self._nodes.of(mark) is link:
                made = secrets.token_hex(8).encode()
                yield Aside(pack(b"SET", mark, made, b"NX", b"GET"), partial(self._see_mark, link, mark, made))
        yield Aside(pack(b"DBSIZE"), partial(self._see_size, link))

    def _see_mark(self, link: Link, mark: bytes, made: bytes, reply: Reply) -> None:
        if isinstance(reply, ErrorReply):
            self._refused(link, reply)
            return
        found = made if reply is None else reply
        before = self._generations.get(mark)
        if isinstance(found, bytes):
            self._generations[mark] = found
            if before not in (None, found):
                self._event("emptied")
                self._complain("it was emptied: what was delivered before may be delivered once more, and replays may pass")

    def _see_size(self, link: Link, reply: Reply) -> None:
        if isinstance(reply, int):
            self._sizes = {one: size for one, size in self._sizes.items() if one in self._nodes.links()} | {link: reply}

    def _check_eviction(self, reply: Reply) -> None:
        if isinstance(reply, bytes) and not isinstance(reply, ErrorReply):
            facts = dict(line.split(b":", 1) for line in reply.split(b"\r\n") if b":" in line)
            policy = facts.get(b"maxmemory_policy", b"noeviction")
            if policy != b"noeviction" and facts.get(b"maxmemory", b"0") != b"0":
                name = policy.decode("ascii", "replace")
                self._complain(f"its maxmemory-policy {name} forgets claims when memory is short: set it to noeviction")

    def _again(self, operation: Operation, key: bytes, reply: ErrorReply) -> bool:
        """Send an operation once more that the server has certainly not done."""
        if reply.kind in (b"MOVED", b"ASK"):
            return self._nodes.moved(operation, key, reply)
        link = self._nodes.of(key)
        if link is None:
            return False
        if reply.kind == b"NOSCRIPT":
            for load in LOADS:
                link.submit(Aside(pack(*load)))
            link.submit(operation)
            return True
        self._refused(link, reply)
        return False

    def _refused(self, link: Link, reply: ErrorReply) -> None:
        if reply.kind in _BREAKS:
            link.drop(told(reply))
        else:
            self._complain(told(reply))

    def _told(self, node: Node, why: str | None) -> None:
        """A server is away, and why, or it is back."""
        before = self._trouble.get(node)
        if why == before:
            return
        name = str(self._access.url) if self._access.url.kind is not Kind.CLUSTER else f"{self._access.url} at {written(node)}"
        if why is None:
            del self._trouble[node]
            _log.warning("store %s: it answers again", name)
        else:
            self._trouble[node] = why
            _log.error("store %s: %s; until it answers, requests are decided by on_store_error", name, why)

    def _complain(self, what: str) -> None:
        """Once a minute for each complaint."""
        now = self._loop.time()
        if now - self._complained.get(what, -60.0) >= 60.0:
            if len(self._complained) > 100:
                self._complained.clear()
            self._complained[what] = now
            _log.error("store %s: %s", self._access.url, what)
