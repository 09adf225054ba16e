"""Which server a key lives on: always the same one, or in a Cluster the master of its slot, as the map says that is kept here."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

from proxy.errors import StoreError
from proxy.store.link import Link, reason
from proxy.store.redis_dial import Dialer, Node
from proxy.store.resp import ErrorReply, pack
from proxy.store.wire import Aside, Operation, Wire

_SLOTS = 16384
_MARKERS = 16
"""Marks of a Cluster, each in a slot of its own, evenly spread: an emptied node takes some of them with it."""
_PAUSE_SECONDS = 0.2
"""Between two questions for the map at least."""

First = Callable[[Link], Iterable[Operation]]
Told = Callable[[Node, str | None], None]


class Nodes(Protocol):
    """The servers of one place."""

    def submit(self, operation: Operation, key: bytes) -> None:
        """Send an operation to where its key lives."""

    def moved(self, operation: Operation, key: bytes, reply: ErrorReply) -> bool:
        """Send it to where the server says that its key lives now; False when there is no such place."""

    def of(self, key: bytes) -> Link | None:
        """The link to where a key lives."""

    def links(self) -> Sequence[Link]:
        """All of them."""

    def marks(self, prefix: bytes) -> tuple[bytes, ...]:
        """Keys that stand for the whole store: when one vanishes, others have."""

    async def ready(self) -> None:
        """Wait until every key has a server that answers."""

    async def close(self) -> None:
        """End all connections."""


class Server:
    """One server, or the one that the Sentinels name."""

    def __init__(self, dialer: Dialer, node: Node, first: First, told: Told) -> None:
        self._link = Link(dialer.dial, first, lambda why: told(node, why))

    def submit(self, operation: Operation, key: bytes) -> None:
        """There is no other."""
        self._link.submit(operation)

    def moved(self, operation: Operation, key: bytes, reply: ErrorReply) -> bool:
        """SECURITY: a lone server that sends us elsewhere is not followed."""
        return False

    def of(self, key: bytes) -> Link | None:
        """The one."""
        return self._link

    def links(self) -> Sequence[Link]:
        """The one."""
        return (self._link,)

    def marks(self, prefix: bytes) -> tuple[bytes, ...]:
        """One is enough."""
        return (prefix + b"generation",)

    async def ready(self) -> None:
        """Wait for its first handshake."""
        await self._link.ready.wait()

    async def close(self) -> None:
        """End it."""
        await self._link.close()


class Cluster:
    """The masters of a Cluster. The map is asked for when a server says that a key has moved, and while a server is away."""

    def __init__(self, dialer: Dialer, seeds: Sequence[Node], first: First, told: Told) -> None:
        from redis.crc import key_slot  # late: for Clusters alone

        self._slot = key_slot
        self._dialer = dialer
        self._seeds = tuple(seeds)
        self._first = first
        self._told = told
        self._table: list[Link | None] = [None] * _SLOTS
        self._links: dict[Node, Link] = {}
        self._stale = asyncio.Event()
        self._whole = asyncio.Event()
        self._why = "the map of the Cluster is not known yet"
        self._mapper = asyncio.get_running_loop().create_task(self._keep_mapped())

    def submit(self, operation: Operation, key: bytes) -> None:
        """To the master of its slot."""
        link = self._table[self._slot(key)]
        if link is None:
            operation.fail(StoreError(self._why), sent=False)
        else:
            link.submit(operation)

    def moved(self, operation: Operation, key: bytes, reply: ErrorReply) -> bool:
        """``MOVED slot host:port`` for good, ``ASK slot host:port`` for this once; only to a master that we know."""
        words = reply.split()
        host, _, port = words[2].decode("ascii", "replace").rpartition(":") if len(words) == 3 else ("", "", "")
        link = self._links.get((host.strip("[]"), int(port) if port.isdigit() else 0))
        self._stale.set()
        if link is None:
            return False
        if reply.kind == b"ASK":
            link.submit(Aside(pack(b"ASKING")))
        else:
            self._table[self._slot(key)] = link
        link.submit(operation)
        return True

    def of(self, key: bytes) -> Link | None:
        """The link to the master of its slot."""
        return self._table[self._slot(key)]

    def links(self) -> Sequence[Link]:
        """One for each master."""
        return tuple(self._links.values())

    def marks(self, prefix: bytes) -> tuple[bytes, ...]:
        """Numbered, the first that falls into each stretch of slots: the same for every gate, and they move with their slots."""
        found: dict[int, bytes] = {}
        number = 0
        while len(found) < _MARKERS:
            key = b"%bgeneration:%d" % (prefix, number)
            found.setdefault(self._slot(key) * _MARKERS // _SLOTS, key)
            number += 1
        return tuple(found.values())

    async def ready(self) -> None:
        """Wait for the map, and for the first handshake with every master on it."""
        await self._whole.wait()
        for link in self.links():
            await link.ready.wait()

    async def close(self) -> None:
        """End all of them."""
        self._mapper.cancel()
        await asyncio.gather(self._mapper, return_exceptions=True)
        for link in self.links():
            await link.close()

    async def _keep_mapped(self) -> None:
        while True:
            self._stale.clear()
            try:
                masters = await self._dialer.slots([*self._links, *self._seeds])
            except Exception as error:
                self._why = reason(error)
                if not self._links:
                    self._told(self._seeds[0], self._why)
                self._stale.set()
            else:
                await self._take(masters)
            await asyncio.sleep(_PAUSE_SECONDS)
            if all(link.ready.is_set() for link in self.links()):
                await self._stale.wait()

    async def _take(self, masters: dict[Node, list[tuple[int, int]]]) -> None:
        for node in masters.keys() - self._links.keys():
            self._links[node] = Link(self._dial(node), self._first, self._tell(node))
        table: list[Link | None] = [None] * _SLOTS
        for node, stretches in masters.items():
            for first, last in stretches:
                table[first : last + 1] = [self._links[node]] * (last + 1 - first)
        self._table = table
        self._why = "a part of the Cluster has no master"
        gone = [self._links.pop(node) for node in self._links.keys() - masters.keys()]
        self._whole.set()
        for link in gone:
            await link.close()

    def _dial(self, node: Node) -> Callable[[], Awaitable[Wire]]:
        return lambda: self._dialer.node(node)

    def _tell(self, node: Node) -> Callable[[str | None], None]:
        def tell(why: str | None) -> None:
            if why is not None:
                self._stale.set()
            self._told(node, why)

        return tell
