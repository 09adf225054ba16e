"""A saved request judged as the edge would judge it: the same connection, parser, walls, handler and gates.

Nothing leaves the process: the wire is make-believe, the store is empty and in memory, the bot is one that always answers 200.
"""

import asyncio
import re
from typing import Final, NamedTuple

from proxy.edge.framing import Bounds, HeadReader
from proxy.edge.handler import Handler, Serving
from proxy.edge.intake import Intake
from proxy.edge.listener import Listener
from proxy.errors import HookgateError
from proxy.exchange import Exchange
from proxy.messages import Reply
from proxy.networks import UNIX, Address
from proxy.pipeline.build import build
from proxy.pipeline.explanation import Judged, Watch
from proxy.pipeline.gate import Permit
from proxy.pipeline.inquiry import at_once, causes_of
from proxy.pipeline.modes import Switch
from proxy.policy.reader import Loaded
from proxy.store.memory import MemoryStore
from proxy.verdict import Mode

_LINE: Final = re.compile(rb"[^ \r\n]+ [^\r\n]* HTTP/\d[^\r\n]*(\r?)\n")
_DELIVERED: Final = Reply(200, b"OK", (), b"", None)


class Rehearsal(NamedTuple):
    """How the first request would have ended, and each rule's part in it."""

    exchange: Exchange
    judged: tuple[Judged, ...]
    base: Mode | None
    """What the route stood on for this request; ``None`` where there was no route."""
    more: bool
    """Something came behind the first request."""


async def rehearse(loaded: Loaded, raw: bytes, *, at: float, peer: Address) -> Rehearsal:
    """Judge the bytes of one request that ``peer`` sent at ``at`` (unix seconds), as the policy says and without its switch.

    Where the policy has TLS of its own, the request counts as having come over it, without a client certificate.

    Raises:
        HookgateError: these bytes are no HTTP request; the message says what they lack.
    """
    _demand_request(raw)
    store = MemoryStore()
    await store.open()
    policy = loaded.policy
    routes = build(policy, loaded.secrets, loaded.schemas, store, Switch(), lambda operation: None)
    watches = {gate.name: Watch(gate) for gate in routes.gates.values()}
    limits = policy.limits
    bounds = Bounds(limits.header_bytes, limits.header_count, limits.uri_bytes, policy.trusted_proxies, routes.managed)
    told: asyncio.Future[Rehearsal] = asyncio.get_running_loop().create_future()
    count = 0

    def observe(exchange: Exchange) -> None:
        nonlocal count
        count += 1
        if not told.done():
            watch = watches.get(exchange.route)
            told.set_result(Rehearsal(exchange, watch.judged() if watch else (), watch.base if watch else None, False))

    async def forward(permit: Permit) -> Reply:
        return _DELIVERED

    serving = Serving(routes, HeadReader(bounds, at), policy.trusted_proxies, forward, {})
    handler = Handler(serving, observe, at_once(causes_of(policy, loaded.secrets, {}), observe))
    listener = Listener(handler, limits, None)
    listener.unix = peer is UNIX
    _play(listener, _MakeBelieve(peer, encrypted=policy.listen.tls is not None), raw)
    if not told.done() and not handler.in_flight:
        raise HookgateError("the request has no end of its head: a line with nothing but CRLF must follow the last field")
    rehearsal = await told
    await store.close()
    return rehearsal._replace(more=count > 1)


def _demand_request(raw: bytes) -> None:
    found = _LINE.match(raw.lstrip(b"\r\n")[:65536])
    if found is None:
        raise HookgateError("this is no HTTP request: its first line must be such as POST /path HTTP/1.1")
    if not found[1]:
        raise HookgateError(
            "the lines of this request's head end in LF, and HTTP demands CRLF (RFC 9112 section 2.2); nothing was guessed: "
            "hookgate sign --output http writes a head with the right ends"
        )


def _play(listener: Listener, transport: "_MakeBelieve", raw: bytes) -> None:
    """A sender that connects, says all it has to say, and hangs up."""
    line = Intake(listener)
    line.connection_made(transport)
    line.data_received(raw)
    line.eof_received()


class _Session:
    """What is known of a TLS connection: that it is one."""

    def getpeercert(self, binary_form: bool) -> None:
        """No client certificate."""


class _MakeBelieve(asyncio.Transport):
    """A wire whose other end is nobody: what is written is thrown away."""

    def __init__(self, peer: Address, *, encrypted: bool) -> None:
        super().__init__({"peername": (peer.text, 0) if peer.version else "", "ssl_object": _Session() if encrypted else None})
        self._closing = False

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True

    abort = close

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass
