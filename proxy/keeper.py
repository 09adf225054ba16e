"""What a running gate keeps, whether one process serves or several: the policy in force, the switch, the last reload's end.

A policy is taken whole by whoever serves, or by nobody: ``take`` raises before anything has changed.
"""

import asyncio
import contextlib
import logging
import platform
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from proxy import __version__
from proxy.admin import Controls
from proxy.errors import Fault, PolicyError, StartError
from proxy.load import Load
from proxy.observe.metrics import Facts
from proxy.pipeline.modes import Switch, stance_of
from proxy.pipeline.telling import audit_of
from proxy.policy.model import Policy
from proxy.policy.reader import Loaded, read_policy
from proxy.policy.values import Stance
from proxy.revocations import Matched, Revocations, Revoked, changes, secret_states
from proxy.switchfile import SwitchFile
from proxy.verdict import Mode, RuleName
from proxy.watch import look, watch

_log = logging.getLogger("hookgate")

_RETRY_SECONDS = 3.0

_FIXED = ("listen", "observe", "admin", "store", "state_directory", "workers", "audit")
"""Settings that a running gate cannot change: sockets are bound and state is open."""


class Keeper:
    """``take`` makes all who serve take a policy, ``turn`` a switch; both are whole before they return.

    ``loaded`` is the policy where it has been read already; ``workers`` overrides its number of them.
    """

    def __init__(
        self,
        path: Path,
        environ: Mapping[str, str],
        take: Callable[[Loaded], Awaitable[None]],
        turn: Callable[[Switch], Awaitable[None]],
        *,
        loaded: Loaded | None = None,
        workers: int | None = None,
        revoke: Callable[[Revoked], Awaitable[None]],
        matched: Callable[[], Awaitable[Matched]],
    ) -> None:
        self._path = path
        self._environ = environ
        self._workers = workers
        self._take = take
        self._turn = turn
        self._revoke = revoke
        self._matched = matched
        self.loaded = loaded or self._read()
        self._seen = look(self.loaded.watched)
        self._switch_file = SwitchFile(Path(self.loaded.policy.state_directory))
        self.switch = Switch()
        self.revocations = Revocations(Path(self.loaded.policy.state_directory))
        self._audit = audit_of(self.loaded)
        self._reloaded = True
        self._refused: tuple[Fault, ...] = ()
        self._reloaded_at = time.time()
        self.changing = asyncio.Lock()
        """Held while a policy is taken; a start holds it too, so that a reload asked for meanwhile comes after it."""
        self._tasks: list[asyncio.Task[None]] = []

    def _read(self) -> Loaded:
        return read_policy(self._path, self._environ, workers=self._workers)

    def open(self) -> None:
        """Read the switch as it was last turned; raises ``StartError`` where it could not be kept."""
        self._switch_file.prepare()
        self.switch = self._switch_file.read()
        self.revocations.read()
        self.revocations.apply(self.loaded.secrets)
        if self._audit is not None:
            _log.info("audit", extra={"facts": {"last": self._audit.open()}})
            self._tell("start", policy=self.loaded.sha256, version=__version__)

    def _tell(self, event: str, **facts: object) -> None:
        if self._audit is not None:
            self._audit.tell(event, **facts)

    def start(self) -> None:
        """Watch the files from now on, and tell what is sound and still worth a look."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._watch()), loop.create_task(self._retry())]
        for warning in (*self.loaded.warnings, *self.revocations.warnings(self.loaded.secrets)):
            _log.warning("%s", warning)

    def close(self) -> None:
        """Watch no more."""
        for task in self._tasks:
            task.cancel()
        if self._audit is not None:
            self._tell("stop")
            self._audit.close()

    # -- the policy

    async def reload(self) -> str:
        """Read the policy anew and take it whole, or not at all. Gives its SHA-256.

        Raises:
            PolicyError: the former policy stays in force.
        """
        async with self.changing:
            try:
                # In a thread: reading takes milliseconds, and requests go on meanwhile.
                loaded = await asyncio.to_thread(self._read)
                self._check_fixed(loaded.policy)
                self.revocations.apply(loaded.secrets)
                await self._take(loaded)
            except Exception as error:
                self._reloaded = False
                faults = self._faults(error)
                for fault in faults if faults != self._refused else ():
                    _log.error("policy not taken: %s", fault)
                if faults != self._refused:
                    self._tell("reload", taken=False, faults=len(faults))
                self._refused = faults
                raise PolicyError(faults) from None
            self._tell("reload", taken=True, policy=loaded.sha256)
            for route, added, removed in changes(self.loaded.secrets, loaded.secrets):
                self._tell("secrets", route=route, added=added, removed=removed)
            self.revocations.apply(loaded.secrets)  # one may have been revoked meanwhile
            self.loaded = loaded
            self._reloaded = True
            self._refused = ()
            self._reloaded_at = time.time()
            _log.info("policy taken", extra={"facts": {"sha256": loaded.sha256}})
            for warning in self.revocations.warnings(loaded.secrets):
                _log.warning("%s", warning)
        return loaded.sha256

    async def try_to_reload(self) -> None:
        """Reload; a policy that is refused has been told in the log, and the former one stays."""
        with contextlib.suppress(PolicyError):
            await self.reload()

    def _faults(self, error: Exception) -> tuple[Fault, ...]:
        if isinstance(error, PolicyError):
            return error.faults
        # SECURITY: the text of an error that is not ours may quote what was read.
        why = str(error) if isinstance(error, StartError) else f"reading what it names failed: {type(error).__name__}"
        return (Fault(str(self._path), 0, 0, "", why),)

    def _check_fixed(self, policy: Policy) -> None:
        now = self.loaded.policy
        changed = [name for name in _FIXED if getattr(policy, name) != getattr(now, name)]
        if changed:
            raise PolicyError(
                tuple(
                    Fault(str(self._path), 0, 0, name, "cannot change while the gate runs: restart it to take this policy")
                    for name in changed
                )
            )

    async def _watch(self) -> None:
        await watch(lambda: self.loaded.watched, self.try_to_reload, self._seen)

    async def _retry(self) -> None:
        """A refused policy may name a file that is still to come: a mounted secret can be a minute behind its policy."""
        while True:
            await asyncio.sleep(_RETRY_SECONDS)
            if not self._reloaded:
                try:
                    await self.try_to_reload()
                except Exception:  # the next try may go better
                    _log.exception("a policy could not be read")

    # -- the switch

    async def turn(self, stance: Stance | None, route: str | None) -> None:
        """Turn the switch: at once, and kept over a restart. ``None`` gives control back to the policy.

        Raises:
            KeyError: no such route.
            OSError: it is turned, but could not be kept.
        """
        if route is not None and route not in self.stances():
            raise KeyError(route)
        self.switch = self.switch.turned(stance, route)
        await self._turn(self.switch)
        facts = {"mode": str(stance or "policy"), "route": route or "all"}
        _log.warning("switch turned", extra={"facts": facts})
        self._tell("mode", **facts)
        # Last: in an emergency the switch must turn, even where a full disk forgets it at the next restart.
        self._switch_file.write(self.switch)

    def stances(self) -> dict[str, Stance]:
        """What counts for each route at this moment."""
        policy = self.loaded.policy
        return {route.name: stance_of(self.switch.of(route.name), route.mode, policy.mode) for route in policy.routes}

    def pinned(self) -> dict[str, tuple[RuleName, ...]]:
        """The rules that no mode loosens, of each route that has some."""
        return {route.name: route.pinned for route in self.loaded.policy.routes if route.pinned}

    # -- secrets

    async def revoke(self, route: str, id: str) -> int:
        """Take a secret out of service: at once, and for good. Gives how many of the route's secrets are active still.

        Raises:
            KeyError: no such route, or it has no such secret.
            OSError: it is out of service, but this could not be kept.
        """
        if not any(secret.id == id for secret in self.loaded.secrets[route]):
            raise KeyError(id)
        self.revocations.add(route, id, time.time())
        self.revocations.apply(self.loaded.secrets)
        await self._revoke(self.revocations.all)
        left = sum(secret.active(time.time()) for secret in self.loaded.secrets[route])
        facts = {"route": route, "secret": id, "active": left}
        _log.warning("secret revoked", extra={"facts": facts})
        self._tell("revoke", **facts)
        # Last: a leaked secret must die, even where a full disk forgets it at the next restart.
        await asyncio.to_thread(self.revocations.write)
        return left

    async def secrets(self) -> list[dict[str, object]]:
        """Every secret of the policy: its times, its use, whether it counts; never its value."""
        return secret_states(self.loaded.secrets, await self._matched(), time.time())

    # -- what it tells

    def controls(self) -> Controls:
        """What an operator can do and see."""
        return Controls(lambda: self.switch, self.turn, self.stances, self.pinned, self.reload, self.secrets, self.revoke)

    def facts(self, load: Load) -> Facts:
        """Everything that only the moment of a scrape can tell."""
        return Facts(
            in_flight=load.in_flight,
            connections=load.connections,
            entries=load.entries,
            stances={name: _word(stance) for name, stance in self.stances().items()},
            switch=self.switch.engaged,
            policy=self.loaded.sha256,
            reloaded=self._reloaded,
            reloaded_at=self._reloaded_at,
            certificate_expiry=load.certificate_expiry,
            insecure=sum(route.insecure for route in self.loaded.policy.routes),
            version=__version__,
            python=platform.python_version(),
            log_dropped=load.log_dropped,
            audit_dropped=load.audit_dropped + (self._audit.dropped if self._audit else 0),
            silent=load.silent,
        )


def _word(stance: Stance) -> str:
    return "share" if stance.mode is Mode.ENFORCE and stance.share < 100 else stance.mode.value
