"""A gate in one process: keeper, engine and the two inner addresses tied together; start, reload, drain, stop."""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

from proxy.addresses import Addresses
from proxy.admin import admin_app
from proxy.edge.binding import bind
from proxy.edge.proof import prove
from proxy.engine import Engine
from proxy.keeper import Keeper
from proxy.observe.log import Sink
from proxy.observe.metrics import Facts, Metrics
from proxy.observe.web import observe_app
from proxy.pipeline.modes import Switch
from proxy.policy.endpoints import Endpoint
from proxy.policy.reader import Loaded
from proxy.revocations import Matched, Revoked

_log = logging.getLogger("hookgate")


class App:
    """One gate: a policy served."""

    def __init__(
        self, path: Path, environ: Mapping[str, str], sink: Sink, *, loaded: Loaded | None = None, workers: int | None = None
    ) -> None:
        """``loaded`` is the policy where it has been read already; ``workers`` overrides its number of them."""
        self._keeper = Keeper(
            path,
            environ,
            self._take,
            self._turn,
            loaded=loaded,
            workers=workers,
            revoke=self._revoke,
            matched=self._matched,
        )
        self.try_to_reload = self._keeper.try_to_reload
        self._metrics = Metrics(self._facts)
        self._engine = Engine(self._keeper.loaded, Switch(), sink, self._metrics)
        self._addresses = Addresses()
        self.address: Endpoint
        """Where the gate really listens."""
        self.observing: Endpoint

    async def start(self) -> None:
        """Bind everything and serve; raises ``StartError`` with the remedy and leaves nothing half open."""
        keeper = self._keeper
        async with keeper.changing:
            policy = keeper.loaded.policy
            prove(asyncio.get_running_loop(), policy.limits)
            keeper.open()
            try:
                await self._engine.open()
                self._engine.turn(keeper.switch)
                page = observe_app(self._render, self._told, self._engine.unready)
                self.observing = await self._addresses.open(page, policy.observe.address)
                desk = admin_app(keeper.controls(), keeper.loaded.admin_token)
                await self._addresses.open(desk, policy.admin.address)
                self.address = await self._engine.listen(bind(policy.listen.address))
            except BaseException:
                await self._close()
                raise
            keeper.start()
        _log.info("listening", extra={"facts": {"address": str(self.address), "observe": str(self.observing)}})

    async def _take(self, loaded: Loaded) -> None:
        self._engine.take(await self._engine.prepare(loaded))

    async def _turn(self, switch: Switch) -> None:
        self._engine.turn(switch)

    async def _revoke(self, revoked: Revoked) -> None:
        self._engine.revoke(revoked)

    async def _matched(self) -> Matched:
        return self._metrics.matched()

    async def reload(self) -> str:
        """Read the policy anew and take it whole, or not at all; raises ``PolicyError`` when it is not taken."""
        return await self._keeper.reload()

    def _facts(self) -> Facts:
        return self._keeper.facts(self._engine.load())

    async def _told(self) -> Facts:
        return self._facts()

    async def _render(self) -> bytes:
        await self._engine.counted()
        # In a thread: rendering takes milliseconds, and requests must not wait for a scrape.
        return await asyncio.to_thread(self._metrics.render)

    async def stop(self) -> bool:
        """Drain and close; True when no request was left behind."""
        whole = await self._engine.drain()
        await self._close()
        return whole

    async def _close(self) -> None:
        self._keeper.close()
        await self._addresses.close()
        await self._engine.close()
