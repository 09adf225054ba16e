"""The one place where the parts are made and tied together: start, reload, drain, stop."""

import asyncio
import contextlib
import gc
import logging
import platform
import ssl
import time
from collections.abc import Awaitable, Mapping
from pathlib import Path

from aiohttp import web

from proxy import __version__
from proxy.admin import Controls, admin_app
from proxy.edge.framing import Bounds, HeadReader
from proxy.edge.handler import Handler, Serving
from proxy.edge.listener import Listener, bind
from proxy.edge.proof import prove
from proxy.edge.tls import expiry, renew, server_context
from proxy.errors import Fault, PolicyError, StartError
from proxy.exchange import Exchange
from proxy.messages import Reply
from proxy.observe.log import ExchangeLog, Sink
from proxy.observe.metrics import Facts, Metrics, RouteFacts, SecretFacts
from proxy.observe.web import observe_app
from proxy.pipeline.build import Routes, build
from proxy.pipeline.gate import Gate, Permit
from proxy.pipeline.modes import Switch, stance_of
from proxy.policy.model import Policy, Route, UpstreamSettings
from proxy.policy.reader import Loaded, read_policy
from proxy.policy.values import Endpoint, Stance
from proxy.store.base import Store
from proxy.store.opening import open_store
from proxy.switchfile import SwitchFile
from proxy.upstream.pool import Pool
from proxy.verdict import Mode, RuleName
from proxy.watch import look, watch

_log = logging.getLogger("hookgate")

_RETRY_SECONDS = 3.0

_FIXED = ("listen", "observe", "admin", "store", "state_directory", "workers")
"""Settings that a running gate cannot change: sockets are bound and state is open."""


_Far = tuple[UpstreamSettings, int, bytes]
"""What makes a pool: its settings, the largest answer held whole, and the authorities that vouch for the bot."""


class App:
    """One gate: a policy served."""

    def __init__(self, path: Path, environ: Mapping[str, str], sink: Sink) -> None:
        self._path = path
        self._environ = environ
        self._sink = sink
        self._loaded = read_policy(path, environ)
        self._seen = look(self._loaded.watched)
        policy = self._loaded.policy
        self._switch_file = SwitchFile(Path(policy.state_directory))
        self._switch = Switch()
        self._pools: dict[_Far, Pool] = {}
        self._store: Store = open_store(policy.store.url)
        self._log = ExchangeLog(sink, policy.log.level)
        self._metrics = Metrics(self._facts)
        self._reloaded = True
        self._refused: tuple[Fault, ...] = ()
        self._reloaded_at = time.time()
        self._certificate_expiry: float | None = None
        self._reloading = asyncio.Lock()
        self._draining = False
        self._tls: ssl.SSLContext | None = None
        self._runners: list[web.AppRunner] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._handler: Handler
        self._listener: Listener
        self.address: Endpoint
        """Where the gate really listens."""
        self.observing: Endpoint

    # -- start

    async def start(self) -> None:
        """Bind everything and serve; raises ``StartError`` with the remedy and leaves nothing half open."""
        async with self._reloading:  # a reload that is asked for meanwhile comes after it
            await self._start()

    async def _start(self) -> None:
        policy = self._loaded.policy
        loop = asyncio.get_running_loop()
        prove(loop, policy.limits)
        self._switch_file.prepare()
        self._switch = self._switch_file.read()
        try:
            await self._store.open()
            self._take_certificate(policy)
            self._handler = Handler(self._serving(self._loaded, self._routes(self._loaded), self._pools), self._observe)
            self._metrics.declare(map(self._route_facts, policy.routes))
            self._listener = Listener(self._handler, policy.limits, self._tls, proxied=policy.listen.proxy_protocol)
            self.observing = await self._serve_web(observe_app(self._metrics, self._facts, self._unready), policy.observe.address)
            await self._serve_web(admin_app(self._controls(), self._loaded.admin_token), policy.admin.address)
            self.address = await self._listener.open(policy.listen.address)
        except BaseException:
            await self._close()
            raise
        self._tasks = [loop.create_task(self._watch()), loop.create_task(self._retry()), loop.create_task(self._tick())]
        for warning in self._loaded.warnings:
            _log.warning("%s", warning)
        _log.info("listening", extra={"facts": {"address": str(self.address), "observe": str(self.observing)}})
        # What start-up made lives as long as we do: the collector need not walk it again.
        gc.collect()
        gc.freeze()

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

    async def _serve_web(self, app: web.Application, address: Endpoint) -> Endpoint:
        sock = bind(address, 0o600)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        self._runners.append(runner)
        site = web.SockSite(runner, sock)
        await site.start()
        if address.path:
            return address
        return Endpoint(address.host, sock.getsockname()[1])

    # -- a policy becomes what serves

    def _routes(self, loaded: Loaded) -> Routes:
        return build(loaded.policy, loaded.secrets, loaded.schemas, self._store, self._switch, self._metrics.store_failed)

    def _serving(self, loaded: Loaded, routes: Routes, pools: dict[_Far, Pool]) -> Serving:
        """``pools`` gets what the policy needs: pools in use where they are the same, else new ones."""
        policy = loaded.policy
        towards = {}
        for route in policy.routes:
            settings = _upstream_of(route, policy)
            # The authorities by content: their file may be swapped under the same name.
            authorities = Path(settings.ca_file).read_bytes() if settings.ca_file else b""
            far = (settings, policy.limits.answer_buffer, authorities)
            if far not in pools:
                pools[far] = self._pools.get(far) or Pool(settings, policy.limits.answer_buffer)
            towards[route.name] = pools[far]

        def forward(permit: Permit) -> Awaitable[Reply]:
            return towards[permit.route].forward(permit)

        limits = policy.limits
        bounds = Bounds(limits.header_bytes, limits.header_count, limits.uri_bytes, policy.trusted_proxies, routes.managed)
        heads = HeadReader(bounds)
        return Serving(routes, heads, policy.trusted_proxies, forward, {route.name: _answers(route) for route in policy.routes})

    async def reload(self) -> str:
        """Read the policy anew and take it whole, or not at all.

        Raises:
            PolicyError: the former policy stays in force.
        """
        async with self._reloading:
            pools: dict[_Far, Pool] = {}
            try:
                # In a thread: reading takes milliseconds, and requests go on meanwhile.
                loaded = await asyncio.to_thread(read_policy, self._path, self._environ)
                self._check_fixed(loaded.policy)
                routes = await asyncio.to_thread(self._routes, loaded)
                serving = self._serving(loaded, routes, pools)
                self._take_certificate(loaded.policy)
            except Exception as error:
                self._reloaded = False
                _close_others(pools, self._pools)
                faults = self._faults(error)
                for fault in faults if faults != self._refused else ():
                    _log.error("policy not taken: %s", fault)
                self._refused = faults
                raise PolicyError(faults) from None
            self._take(loaded, serving)
            _close_others(self._pools, pools)
            self._pools = pools
        return loaded.sha256

    def _faults(self, error: Exception) -> tuple[Fault, ...]:
        if isinstance(error, PolicyError):
            return error.faults
        # SECURITY: the text of an error that is not ours may quote what was read.
        why = str(error) if isinstance(error, StartError) else f"reading what it names failed: {type(error).__name__}"
        return (Fault(str(self._path), 0, 0, "", why),)

    def _take(self, loaded: Loaded, serving: Serving) -> None:
        self._loaded = loaded
        self._metrics.declare(map(self._route_facts, loaded.policy.routes))
        self._handler.serving = serving
        self._listener.limits = loaded.policy.limits
        self._listener.trust(serving.trusted)
        self._log.level = loaded.policy.log.level
        self._turn_gates()
        self._reloaded = True
        self._refused = ()
        self._reloaded_at = time.time()
        _log.info("policy taken", extra={"facts": {"sha256": loaded.sha256}})

    def _check_fixed(self, policy: Policy) -> None:
        now = self._loaded.policy
        changed = [name for name in _FIXED if getattr(policy, name) != getattr(now, name)]
        if changed:
            raise PolicyError(
                tuple(
                    Fault(str(self._path), 0, 0, name, "cannot change while the gate runs: restart it to take this policy")
                    for name in changed
                )
            )

    # -- the switch

    def _gates(self) -> dict[str, Gate]:
        return {gate.name: gate for gate in self._handler.serving.routes.gates.values()}

    def turn(self, stance: Stance | None, route: str | None) -> None:
        """Turn the switch: at once, and kept over a restart. ``None`` gives control back to the policy.

        Raises:
            KeyError: no such route.
            OSError: it is turned, but could not be kept.
        """
        if route is not None and route not in self._gates():
            raise KeyError(route)
        self._switch = self._switch.turned(stance, route)
        self._turn_gates()
        _log.warning("switch turned", extra={"facts": {"mode": str(stance or "policy"), "route": route or "all"}})
        # Last: in an emergency the switch must turn, even where a full disk forgets it at the next restart.
        self._switch_file.write(self._switch)

    def _turn_gates(self) -> None:
        gates = self._gates()
        policy = self._loaded.policy
        for route in policy.routes:
            gates[route.name].stance = stance_of(self._switch.of(route.name), route.mode, policy.mode)

    def _controls(self) -> Controls:
        return Controls(
            switch=lambda: self._switch,
            turn=self.turn,
            stances=lambda: {name: gate.stance for name, gate in self._gates().items()},
            reload=self.reload,
        )

    # -- what it tells

    def _observe(self, exchange: Exchange) -> None:
        self._metrics.observe(exchange)
        self._log.observe(exchange)

    def _facts(self) -> Facts:
        policy = self._loaded.policy
        return Facts(
            in_flight=self._handler.in_flight,
            connections=len(self._listener.lines),
            entries=self._store.entries(),
            stances={name: _word(gate.stance) for name, gate in self._gates().items()},
            switch=self._switch.engaged,
            policy=self._loaded.sha256,
            reloaded=self._reloaded,
            reloaded_at=self._reloaded_at,
            certificate_expiry=self._certificate_expiry,
            insecure=sum(route.insecure for route in policy.routes),
            version=__version__,
            python=platform.python_version(),
            log_dropped=self._sink.dropped,
        )

    def _route_facts(self, route: Route) -> RouteFacts:
        present = {
            RuleName.TRANSPORT: route.rules.transport,
            RuleName.IP: route.rules.ip,
            RuleName.RATE: route.rules.rate,
            RuleName.SIZE: route.rules.size,
            RuleName.CONTENT: route.rules.content,
            RuleName.SIGNATURE: route.rules.signature,
            RuleName.TIMESTAMP: route.rules.timestamp,
            RuleName.REPLAY: route.rules.replay,
            RuleName.SCHEMA: route.rules.json_schema,
        }
        secrets = tuple(SecretFacts(secret.id, secret.created) for secret in self._loaded.secrets.get(route.name, ()))
        return RouteFacts(route.name, route.provider, tuple(name for name, rule in present.items() if rule is not None), secrets)

    async def _unready(self) -> str:
        if self._draining:
            return "draining"
        reached = await asyncio.gather(*(pool.reachable(1.0) for pool in self._pools.values()))
        return "" if all(reached) else "upstream"

    async def _watch(self) -> None:
        await watch(lambda: self._loaded.watched, self._try_to_reload, self._seen)

    async def _try_to_reload(self) -> None:
        with contextlib.suppress(PolicyError):  # told by reload itself; the former policy stays
            await self.reload()

    async def _retry(self) -> None:
        """A refused policy may name a file that is still to come: a mounted secret can be a minute behind its policy."""
        while True:
            await asyncio.sleep(_RETRY_SECONDS)
            if not self._reloaded:
                try:
                    await self._try_to_reload()
                except Exception:  # the next try may go better
                    _log.exception("a policy could not be read")

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            self._log.tick()

    # -- stop

    async def stop(self) -> bool:
        """Drain and close; True when no request was left behind."""
        limits = self._loaded.policy.limits
        self._draining = True
        _log.info("draining")
        await asyncio.sleep(limits.drain_delay)
        whole = await self._listener.drain(limits.drain_timeout)
        await self._close()
        return whole

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for pool in self._pools.values():
            pool.close()
        for runner in self._runners:
            await runner.cleanup()
        await self._store.close()
        self._log.tick()


def _close_others(pools: Mapping[_Far, Pool], kept: Mapping[_Far, Pool]) -> None:
    for far in pools.keys() - kept.keys():
        pools[far].close()


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


def _word(stance: Stance) -> str:
    return "share" if stance.mode is Mode.ENFORCE and stance.share < 100 else stance.mode.value
