"""The parent of several workers: it binds, but serves nobody; it keeps the policy, the switch and the numbers.

A policy is taken by all workers or by none, the switch is turned on all of them. Requests never pass through it.
"""

import asyncio
import logging
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from proxy.addresses import Addresses
from proxy.admin import admin_app
from proxy.edge.binding import bind
from proxy.edge.proof import prove
from proxy.errors import StartError
from proxy.keeper import Keeper
from proxy.load import Load
from proxy.observe.log import Sink
from proxy.observe.metrics import Facts, Metrics
from proxy.observe.totals import Totals
from proxy.observe.web import observe_app
from proxy.pipeline.facts import route_facts
from proxy.pipeline.modes import Switch
from proxy.policy.endpoints import Endpoint
from proxy.policy.reader import Loaded
from proxy.revocations import Matched, Revoked, mark
from proxy.workers.crew import Crew
from proxy.workers.member import Gone, Member
from proxy.workers.orders import Start

_log = logging.getLogger("hookgate")

_PREPARE_SECONDS: Final = 30.0
_SWITCH_SECONDS: Final = 5.0
"""A worker that is deaf for so long serves nobody either; its successor begins with what is in force."""
_READY_SECONDS: Final = 3.0
_NUMBERS_SECONDS: Final = 1.0
_TICK_SECONDS: Final = 0.1
_END_SECONDS: Final = 5.0
"""On top of the policy's drain times, for a worker to close what it has open."""


class Supervisor:
    """A gate of several workers; made inside a running loop."""

    def __init__(self, path: Path, environ: Mapping[str, str], sink: Sink, *, loaded: Loaded, workers: int | None) -> None:
        """``loaded`` is the policy as just read; ``workers`` overrides its number of them."""
        self._sink = sink
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
        self._in_force = self._keeper.loaded
        self._revoked: Revoked = {}
        self._metrics = Metrics(self._facts)
        self._totals = Totals(self._metrics, self._pids, self._counts)
        self._crew = Crew(self._in_force.policy.workers, self._begin, self._totals.tell, self._totals.bury)
        sink.lock = self._crew.memory.descriptor
        self._addresses = Addresses()
        self._draining = False
        self._door: socket.socket
        self.lost = self._crew.lost
        self.address: Endpoint
        """Where the gate really listens."""
        self.observing: Endpoint

    async def start(self) -> None:
        """Bind everything and have it served; raises ``StartError`` with the remedy and leaves nothing half open."""
        self._ticking = asyncio.get_running_loop().create_task(self._tick())
        keeper = self._keeper
        async with keeper.changing:
            policy = keeper.loaded.policy
            prove(asyncio.get_running_loop(), policy.limits)
            keeper.open()
            self._metrics.declare(route_facts(keeper.loaded))
            try:
                page = observe_app(self._render, self._told, self._unready)
                self.observing = await self._addresses.open(page, policy.observe.address)
                desk = admin_app(keeper.controls(), keeper.loaded.admin_token)
                await self._addresses.open(desk, policy.admin.address)
                self._door = bind(policy.listen.address)
                await self._crew.start(self._door)
            except BaseException:
                await self._crew.kill()
                await self._close()
                raise
            keeper.start()
        address = policy.listen.address
        self.address = address if address.path else Endpoint(address.host, self._door.getsockname()[1])
        facts = {"address": str(self.address), "observe": str(self.observing), "workers": policy.workers}
        _log.info("listening", extra={"facts": facts})

    def _begin(self, seat: int) -> Start:
        return Start(seat, self._in_force, self._keeper.switch)

    # -- what all agree on

    async def _take(self, loaded: Loaded) -> None:
        crew = self._crew
        asked = crew.ready
        answers = await crew.ask(asked, "prepare", loaded, _PREPARE_SECONDS)
        prepared = [member for member, answer in zip(asked, answers, strict=True) if not isinstance(answer, BaseException)]
        # Who died meanwhile has not refused: its successor begins with what is in force by then.
        refusals = [answer for answer in answers if isinstance(answer, BaseException) and not isinstance(answer, Gone)]
        if refusals or not prepared:
            for member in asked:
                member.tell("drop")
            raise refusals[0] if refusals else StartError("no worker is there to take it")
        mark(self._revoked, loaded.secrets)  # SECURITY: one may have been revoked meanwhile, and successors begin with this
        self._in_force = loaded
        self._metrics.declare(route_facts(loaded))
        late = [member for member in crew.ready if member not in asked]
        self._deaf(late, await crew.ask(late, "prepare", loaded, _PREPARE_SECONDS))
        both = prepared + late
        self._deaf(both, await crew.ask(both, "take", None, _SWITCH_SECONDS))

    async def _turn(self, switch: Switch) -> None:
        members = list(self._crew.members)
        self._deaf(members, await self._crew.ask(members, "turn", switch, _SWITCH_SECONDS))

    async def _revoke(self, revoked: Revoked) -> None:
        self._revoked = revoked
        mark(revoked, self._in_force.secrets)
        members = list(self._crew.members)
        self._deaf(members, await self._crew.ask(members, "revoke", revoked, _SWITCH_SECONDS))

    def _deaf(self, members: list[Member], answers: list[object]) -> None:
        """SECURITY: no worker serves by what is not in force any more: who cannot follow is replaced."""
        for member, answer in zip(members, answers, strict=True):
            if isinstance(answer, BaseException) and not isinstance(answer, Gone):
                _log.error("a worker is replaced: %s", answer)
                member.kill()

    # -- what it tells

    def _pids(self) -> list[int | str]:
        return ["self", *(member.pid for member in self._crew.members)]

    def _counts(self) -> tuple[int, int]:
        return len(self._crew.ready), self._crew.deaths

    def _facts(self) -> Facts:
        loads = [member.load for member in self._crew.members]
        expiries = [load.certificate_expiry for load in loads if load.certificate_expiry is not None]
        return self._keeper.facts(
            Load(
                in_flight=sum(load.in_flight for load in loads),
                connections=sum(load.connections for load in loads),
                entries=max((load.entries for load in loads), default=0),  # each looks at the same store
                certificate_expiry=min(expiries, default=None),
                log_dropped=self._sink.dropped,
                silent=tuple(sorted({route for load in loads for route in load.silent})),
            )
        )

    async def _heed(self) -> None:
        members = self._crew.ready
        answers = await self._crew.ask(members, "numbers", None, _NUMBERS_SECONDS)
        for member, answer in zip(members, answers, strict=True):
            if isinstance(answer, dict):  # else what it told last counts
                member.heed(answer)

    async def _told(self) -> Facts:
        await self._heed()
        return self._facts()

    async def _render(self) -> bytes:
        await self._heed()
        return await asyncio.to_thread(self._totals.render)

    async def _unready(self) -> str:
        if self._draining:
            return "draining"
        answers = await self._crew.ask(self._crew.ready, "ready", None, _READY_SECONDS)
        if "" in answers:
            return ""
        return next((answer for answer in answers if isinstance(answer, str)), "workers")

    async def _matched(self) -> Matched:
        await self._heed()
        return self._totals.matched()

    # -- stop

    async def stop(self) -> bool:
        """Drain and close; True when no request was left behind. Raises ``StartError`` where no worker could be kept alive."""
        self._draining = True
        self._keeper.close()
        # Ours would keep the address open, and connections waiting for nobody.
        self._door.close()
        limits = self._in_force.policy.limits
        whole = await self._crew.drain(limits.drain_delay + limits.drain_timeout + _END_SECONDS)
        await self._close()
        if self.lost.done():
            raise StartError(self.lost.result())
        return whole

    async def _close(self) -> None:
        await self._addresses.close()
        self._ticking.cancel()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            self._sink.flush()
