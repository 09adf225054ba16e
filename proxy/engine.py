"""The serving half of a process: from a policy in hand to requests served. It reads no policy file and asks nobody."""

import asyncio
import gc
import logging
import ssl
from collections.abc import Awaitable, Mapping
from pathlib import Path
from socket import socket
from typing import NamedTuple

from proxy.edge.budget import Budgets
from proxy.edge.framing import Bounds, HeadReader
from proxy.edge.handler import Handler, Serving
from proxy.edge.listener import Listener
from proxy.edge.seats import Seats
from proxy.edge.statuses import statuses_of
from proxy.edge.tls import expiry, server_context
from proxy.errors import StartError
from proxy.keyring.ring import Ring
from proxy.load import Load
from proxy.messages import Reply
from proxy.observe.log import Sink
from proxy.observe.metrics import Metrics
from proxy.pipeline.build import Routes, build
from proxy.pipeline.facts import route_facts
from proxy.pipeline.gate import Permit
from proxy.pipeline.modes import Switch, stance_of
from proxy.pipeline.telling import Telling
from proxy.policy.endpoints import Endpoint
from proxy.policy.model import Policy, Route, UpstreamSettings
from proxy.policy.reader import Loaded
from proxy.revocations import Revoked, mark
from proxy.rules.sharing import Shared
from proxy.store.base import Store
from proxy.store.opening import open_store
from proxy.upstream.again import SecondTry
from proxy.upstream.pool import Pool
from proxy.upstream.translation import Forwarder, translated
from proxy.verdict import Mode

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

    def __init__(
        self,
        loaded: Loaded,
        switch: Switch,
        sink: Sink,
        metrics: Metrics,
        seats: Seats | None = None,
        rates: Shared | None = None,
    ) -> None:
        """``seats`` and ``rates`` where other workers serve the same policy at the same socket."""
        self._loaded = loaded
        self._switch = switch
        self._sink = sink
        self._metrics = metrics
        self._seats = seats
        self._rates = rates
        self._budgets = Budgets(rates)
        self._pools: dict[_Far, Pool] = {}
        self._store: Store = open_store(
            loaded.policy.store.url, loaded.redis, lease=lease(loaded.policy), event=metrics.store_failed
        )
        self._ring = Ring(told=metrics.keys_fetched)
        self._telling = Telling(loaded, sink, metrics, self._ring)
        self._revoked: Revoked = {}
        self._certificate_expiry: float | None = None
        self._draining = False
        self._ticking: asyncio.Task[None] | None = None
        self._handler: Handler
        self._listener: Listener

    # -- start

    async def open(self) -> None:
        """Open what the policy needs, listening aside; raises ``StartError`` with the remedy. ``close`` undoes it."""
        policy = self._loaded.policy
        await self._store.open()
        self._telling.open(self._loaded)
        tls = self._encrypted(policy)
        serving = self._serving(self._loaded, self._routes(self._loaded), self._pools)
        self._handler = Handler(serving, self._telling.tell, self._telling.inquire)
        self._metrics.declare(route_facts(self._loaded))
        self._listener = Listener(self._handler, policy.limits, tls, proxied=policy.listen.proxy_protocol, seats=self._seats)
        self._ticking = asyncio.get_running_loop().create_task(self._tick())

    async def listen(self, sock: socket) -> Endpoint:
        """Serve what comes in at a bound socket; gives its address (port 0 becomes the real one)."""
        self._ring.prefetch()
        address = await self._listener.open(self._loaded.policy.listen.address, sock)
        # What start-up made lives as long as we do: the collector need not walk it again, and what is under way less often.
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000)
        return address

    def _encrypted(self, policy: Policy) -> ssl.SSLContext | None:
        """The TLS of new connections, from what its files hold now."""
        settings = policy.listen.tls
        if settings is None:
            return None
        try:
            context = server_context(settings)
        except OSError as error:
            raise StartError(f"the certificate {settings.certificate} and its key cannot be used: {error.strerror}") from None
        self._certificate_expiry = expiry(settings)
        return context

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
            self._listener.tls = self._encrypted(loaded.policy)
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
        mark(self._revoked, loaded.secrets)  # one may have been revoked since the policy was read
        self._telling.take(self._loaded, loaded)
        self._loaded = loaded
        self._metrics.declare(route_facts(loaded))
        self._handler.serving = serving
        self._ring.prefetch()
        self._listener.limits = loaded.policy.limits
        self._listener.trust(serving.trusted)
        self.turn(self._switch)
        _close_others(self._pools, pools)
        self._pools = pools

    def turn(self, switch: Switch) -> None:
        """Go by this switch from now on."""
        self._switch = switch
        policy = self._loaded.policy
        serving = self._handler.serving
        serving.budget.enforcing = stance_of(switch.everything, None, policy.mode).mode is Mode.ENFORCE
        gates = {gate.name: gate for gate in serving.routes.gates.values()}
        for route in policy.routes:
            gates[route.name].stance = stance_of(switch.of(route.name), route.mode, policy.mode)

    def revoke(self, revoked: Revoked) -> None:
        """Take secrets out of service, from the next request on."""
        self._revoked = revoked
        mark(revoked, self._loaded.secrets)

    def _routes(self, loaded: Loaded) -> Routes:
        failed = self._metrics.store_failed
        return build(
            loaded.policy,
            loaded.secrets,
            loaded.schemas,
            self._store,
            self._switch,
            failed,
            keyring=self._ring,
            rates=self._rates,
        )

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
        answers = {route.name: statuses_of(route) for route in policy.routes}
        return Serving(routes, heads, policy.trusted_proxies, forward, answers, self._budgets.of(policy))

    def _pool(self, settings: UpstreamSettings, answer_buffer: int) -> Pool:
        if settings.retry == "never":
            return Pool(settings, answer_buffer)
        return SecondTry(settings, answer_buffer, self._metrics.resent)

    # -- what it tells

    async def counted(self) -> None:
        """Returns when all that was answered has been counted, or after a moment."""
        await self._telling.caught_up()

    def load(self) -> Load:
        """What the moment tells."""
        return Load(
            in_flight=self._handler.in_flight,
            connections=len(self._listener.lines),
            entries=self._store.entries(),
            certificate_expiry=self._certificate_expiry,
            log_dropped=self._sink.dropped,
            audit_dropped=self._telling.audit_dropped,
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
            self._telling.tick()

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
        await self._telling.close()


def _close_others(pools: Mapping[_Far, Pool], kept: Mapping[_Far, Pool]) -> None:
    for far in pools.keys() - kept.keys():
        pools[far].close()


def lease(policy: Policy) -> float:
    """Longer than any request can be under way; what takes longer all the same is renewed."""
    upstreams = [_upstream_of(route, policy) for route in policy.routes]
    return max(upstream.whole for upstream in upstreams) + 5.0


def _upstream_of(route: Route, policy: Policy) -> UpstreamSettings:
    settings = route.upstream or policy.upstream
    assert settings is not None  # noqa: S101 - the reader refuses a route without one
    return settings
