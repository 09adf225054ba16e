"""The serving half of a process: from a policy in hand to requests served. It reads no policy file and asks nobody."""

import asyncio
import gc
import logging
import ssl
from collections.abc import Awaitable, Iterable, Mapping
from pathlib import Path
from socket import socket
from typing import NamedTuple

from proxy.edge.framing import Bounds, HeadReader
from proxy.edge.handler import Handler, Serving
from proxy.edge.listener import Listener
from proxy.edge.seats import Seats
from proxy.edge.tls import expiry, renew, server_context
from proxy.errors import StartError
from proxy.exchange import Exchange
from proxy.keeper import Load
from proxy.keyring.ring import Ring
from proxy.messages import Reply
from proxy.observe.log import ExchangeLog, Sink
from proxy.observe.metrics import Metrics, RouteFacts, SecretFacts
from proxy.pipeline.build import Routes, build
from proxy.pipeline.gate import Permit
from proxy.pipeline.inquiry import Inquiry, causes_of, gone
from proxy.pipeline.modes import Switch, stance_of
from proxy.policy.model import Policy, Route, UpstreamSettings
from proxy.policy.reader import Loaded
from proxy.policy.secrets import Secret
from proxy.policy.values import Endpoint
from proxy.revocations import Revoked, mark
from proxy.store.base import Store
from proxy.store.opening import open_store
from proxy.upstream.again import SecondTry
from proxy.upstream.pool import Pool
from proxy.upstream.translation import Forwarder, translated
from proxy.verdict import RuleName

_log = logging.getLogger("hookgate")

_TICK_SECONDS = 0.1

_Far = tuple[UpstreamSettings, int, bytes]
"""What makes a pool: its settings, the largest answer held whole, and the authorities that vouch for the bot."""


class Prepared(NamedTuple):
    """A policy compiled and ready to be taken; nothing has changed yet."""

    loaded: Loaded
    serving: Serving
    pools: dict[_Far, Pool]


class Engine:
    """Serves one policy after the other, under one switch."""

    def __init__(self, loaded: Loaded, switch: Switch, sink: Sink, metrics: Metrics, seats: Seats | None = None) -> None:
        """``seats`` where other workers serve the same policy at the same socket."""
        self._loaded = loaded
        self._switch = switch
        self._sink = sink
        self._metrics = metrics
        self._seats = seats
        self._pools: dict[_Far, Pool] = {}
        self._store: Store = open_store(
            loaded.policy.store.url, loaded.redis, lease=_lease(loaded.policy), event=metrics.store_failed
        )
        self._ring = Ring()
        self._log = ExchangeLog(sink, loaded.policy.log.level)
        self._inquiry = Inquiry(self._observe)
        self._former: dict[str, tuple[Secret, ...]] = {}
        self._certificate_expiry: float | None = None
        self._draining = False
        self._tls: ssl.SSLContext | None = None
        self._ticking: asyncio.Task[None] | None = None
        self._handler: Handler
        self._listener: Listener

    # -- start

    async def open(self) -> None:
        """Open what the policy needs, listening aside; raises ``StartError`` with the remedy. ``close`` undoes it."""
        policy = self._loaded.policy
        await self._store.open()
        self._take_certificate(policy)
        serving = self._serving(self._loaded, self._routes(self._loaded), self._pools)
        self._handler = Handler(serving, self._observe, self._inquiry.take)
        self._inquiry.causes = causes_of(policy, self._loaded.secrets, self._former)
        self._metrics.declare(route_facts(self._loaded))
        self._listener = Listener(
            self._handler, policy.limits, self._tls, proxied=policy.listen.proxy_protocol, seats=self._seats
        )
        self._ticking = asyncio.get_running_loop().create_task(self._tick())

    async def listen(self, sock: socket) -> Endpoint:
        """Serve what comes in at a bound socket; gives its address (port 0 becomes the real one)."""
        self._ring.prefetch()
        address = await self._listener.open(self._loaded.policy.listen.address, sock)
        # What start-up made lives as long as we do: the collector need not walk it again.
        gc.collect()
        gc.freeze()
        return address

    def _take_certificate(self, policy: Policy) -> None:
        settings = policy.listen.tls
        if settings is None:
            return
        try:
            if self._tls is None:
                self._tls = server_context(settings)
            else:
                renew(self._tls, settings)
        except OSError as error:
            raise StartError(f"the certificate {settings.certificate} and its key cannot be used: {error.strerror}") from None
        self._certificate_expiry = expiry(settings)

    # -- a policy becomes what serves

    async def prepare(self, loaded: Loaded) -> Prepared:
        """Compile a policy; raises where it cannot be served, and then nothing is left behind.

        A swapped certificate counts from here on: it is tried before it is taken, and goes with either policy.
        """
        pools: dict[_Far, Pool] = {}
        try:
            # In a thread: compiling takes milliseconds, and requests go on meanwhile.
            routes = await asyncio.to_thread(self._routes, loaded)
            serving = self._serving(loaded, routes, pools)
            self._take_certificate(loaded.policy)
        except BaseException:
            _close_others(pools, self._pools)
            raise
        return Prepared(loaded, serving, pools)

    def drop(self, prepared: Prepared) -> None:
        """A policy that was prepared is not taken after all."""
        _close_others(prepared.pools, self._pools)

    def take(self, prepared: Prepared) -> None:
        """Serve by this policy from now on; requests under way end with the one they began with."""
        loaded, serving, pools = prepared
        self._former = gone(self._former, self._loaded.secrets, loaded.secrets)
        self._inquiry.causes = causes_of(loaded.policy, loaded.secrets, self._former)
        self._loaded = loaded
        self._metrics.declare(route_facts(loaded))
        self._handler.serving = serving
        self._ring.prefetch()
        self._listener.limits = loaded.policy.limits
        self._listener.trust(serving.trusted)
        self._log.level = loaded.policy.log.level
        self.turn(self._switch)
        _close_others(self._pools, pools)
        self._pools = pools

    def turn(self, switch: Switch) -> None:
        """Go by this switch from now on."""
        self._switch = switch
        policy = self._loaded.policy
        gates = {gate.name: gate for gate in self._handler.serving.routes.gates.values()}
        for route in policy.routes:
            gates[route.name].stance = stance_of(switch.of(route.name), route.mode, policy.mode)

    def revoke(self, revoked: Revoked) -> None:
        """Take secrets out of service, from the next request on."""
        mark(revoked, self._loaded.secrets)

    def _routes(self, loaded: Loaded) -> Routes:
        failed = self._metrics.store_failed
        return build(loaded.policy, loaded.secrets, loaded.schemas, self._store, self._switch, failed, keyring=self._ring)

    def _serving(self, loaded: Loaded, routes: Routes, pools: dict[_Far, Pool]) -> Serving:
        """``pools`` gets what the policy needs: pools in use where they are the same, else new ones."""
        policy = loaded.policy
        towards: dict[str, Forwarder] = {}
        for route in policy.routes:
            settings = _upstream_of(route, policy)
            # The authorities by content: their file may be swapped under the same name.
            authorities = Path(settings.ca_file).read_bytes() if settings.ca_file else b""
            far = (settings, policy.limits.answer_buffer, authorities)
            if far not in pools:
                pools[far] = self._pools.get(far) or self._pool(settings, policy.limits.answer_buffer)
            towards[route.name] = translated(pools[far], route, loaded)

        def forward(permit: Permit) -> Awaitable[Reply]:
            return towards[permit.route].forward(permit)

        limits = policy.limits
        bounds = Bounds(limits.header_bytes, limits.header_count, limits.uri_bytes, policy.trusted_proxies, routes.managed)
        heads = HeadReader(bounds)
        return Serving(routes, heads, policy.trusted_proxies, forward, {route.name: _answers(route) for route in policy.routes})

    def _pool(self, settings: UpstreamSettings, answer_buffer: int) -> Pool:
        if settings.retry == "never":
            return Pool(settings, answer_buffer)
        return SecondTry(settings, answer_buffer, self._metrics.resent)

    # -- what it tells

    def _observe(self, exchange: Exchange) -> None:
        self._metrics.observe(exchange)
        self._log.observe(exchange)

    def load(self) -> Load:
        """What the moment tells."""
        return Load(
            in_flight=self._handler.in_flight,
            connections=len(self._listener.lines),
            entries=self._store.entries(),
            certificate_expiry=self._certificate_expiry,
            log_dropped=self._sink.dropped,
            silent=self._silent(),
        )

    def _silent(self) -> tuple[str, ...]:
        policy = self._loaded.policy
        refusing = {settings for (settings, _, _), pool in self._pools.items() if pool.refusing}
        return tuple(route.name for route in policy.routes if _upstream_of(route, policy) in refusing)

    async def unready(self) -> str:
        """Why no request should be sent here; empty when it should."""
        if self._draining:
            return "draining"
        reached = await asyncio.gather(*(pool.reachable(1.0) for pool in self._pools.values()))
        return "" if all(reached) else "upstream"

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            self._log.tick()

    # -- stop

    async def drain(self, *, delayed: bool = True) -> bool:
        """Let requests end and close the listener; True when none was left behind.

        ``delayed`` gives the policy's time to whoever has to notice first that we are not ready any more.
        """
        limits = self._loaded.policy.limits
        self._draining = True
        _log.info("draining")
        if delayed:
            await asyncio.sleep(limits.drain_delay)
        return await self._listener.drain(limits.drain_timeout)

    async def close(self) -> None:
        """Let go of everything."""
        if self._ticking is not None:
            self._ticking.cancel()
        for pool in self._pools.values():
            pool.close()
        await self._ring.close()
        await self._store.close()
        self._inquiry.finish()
        self._log.tick()


def route_facts(loaded: Loaded) -> Iterable[RouteFacts]:
    """What the metrics tell of each route besides its counts."""
    for route in loaded.policy.routes:
        rules = route.rules
        present = {
            RuleName.TRANSPORT: rules.transport,
            RuleName.IP: rules.ip,
            RuleName.RATE: rules.rate,
            RuleName.SIZE: rules.size,
            RuleName.CONTENT: rules.content,
            RuleName.SIGNATURE: rules.signature,
            RuleName.TIMESTAMP: rules.timestamp,
            RuleName.REPLAY: rules.replay,
            RuleName.SCHEMA: rules.json_schema,
        }
        secrets = tuple(SecretFacts(secret.id, secret.created) for secret in loaded.secrets.get(route.name, ()))
        yield RouteFacts(route.name, route.provider, tuple(name for name, rule in present.items() if rule is not None), secrets)


def _close_others(pools: Mapping[_Far, Pool], kept: Mapping[_Far, Pool]) -> None:
    for far in pools.keys() - kept.keys():
        pools[far].close()


def _lease(policy: Policy) -> float:
    """Longer than any request can be under way; what takes longer all the same is renewed."""
    upstreams = [_upstream_of(route, policy) for route in policy.routes]
    return max(upstream.connect_timeout + upstream.timeout for upstream in upstreams) + 5.0


def _upstream_of(route: Route, policy: Policy) -> UpstreamSettings:
    settings = route.upstream or policy.upstream
    assert settings is not None  # noqa: S101 - the reader refuses a route without one
    return settings


def _answers(route: Route) -> dict[int, int]:
    """The route's status table with classes such as ``3xx`` spelled out."""
    table: dict[int, int] = {}
    for written, status in route.answers.items():
        codes = range(int(written[0]) * 100, int(written[0]) * 100 + 100) if written.endswith("xx") else (int(written),)
        table.update(dict.fromkeys(codes, status))
    return table
