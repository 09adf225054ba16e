"""Everything that a process tells of finished exchanges: numbers, lines, causes, the audit."""

import asyncio
from pathlib import Path

from proxy.exchange import Exchange
from proxy.keyring.base import Keyring
from proxy.observe.audit import Audit
from proxy.observe.chain import Chain
from proxy.observe.chainfile import ChainFile
from proxy.observe.log import ExchangeLog, Sink
from proxy.observe.metrics import Metrics
from proxy.pipeline.inquiry import Inquiry, causes_of, gone
from proxy.policy.reader import Loaded
from proxy.policy.secrets import Secret
from proxy.verdict import Outcome


class Telling:
    """``tell`` takes a finished exchange, ``inquire`` one that has findings."""

    def __init__(self, loaded: Loaded, sink: Sink, metrics: Metrics, keyring: Keyring | None = None) -> None:
        self._keyring = keyring
        self._log = ExchangeLog(sink, loaded.policy.log.level)
        self._metrics = metrics
        self._audit = audit_of(loaded)
        # Chosen once: without an audit nothing of it is asked for on the way of a request.
        self.tell = self._tell if self._audit is None else self._tell_audited
        self._inquiry = Inquiry(self.tell)
        self._former: dict[str, tuple[Secret, ...]] = {}
        self.inquire = self._inquiry.take

    def open(self, loaded: Loaded) -> None:
        """Begin; raises ``StartError`` where the audit cannot be written."""
        if self._audit is not None:
            self._audit.open()
        self._inquiry.causes = causes_of(loaded.policy, loaded.secrets, self._former, self._keyring)

    def take(self, before: Loaded, now: Loaded) -> None:
        """Go by another policy."""
        self._log.level = now.policy.log.level
        self._former = gone(self._former, before.secrets, now.secrets)
        self._inquiry.causes = causes_of(now.policy, now.secrets, self._former, self._keyring)

    def tick(self) -> None:
        """Called a few times a second: write what waits."""
        self._log.tick()
        if self._audit is not None:
            self._audit.tick()

    async def caught_up(self) -> None:
        """What has been answered has been counted, so that a scrape shows the refusal that came before it."""
        await self._inquiry.caught_up()

    async def close(self) -> None:
        """Tell what waits still."""
        self._inquiry.finish()
        self._log.close()
        if self._audit is not None:
            await asyncio.to_thread(self._audit.close)

    @property
    def audit_dropped(self) -> int:
        """Lines of the audit that could not be written."""
        return self._audit.dropped if self._audit is not None else 0

    def _tell(self, exchange: Exchange) -> None:
        self._metrics.observe(exchange)
        self._log.observe(exchange)

    def _tell_audited(self, exchange: Exchange) -> None:
        self._tell(exchange)
        if self._audit is not None and exchange.outcome is Outcome.REFUSED:
            self._audit.observe(exchange)


def audit_of(loaded: Loaded) -> Audit | None:
    """The audit that the policy wants, one for each who writes: they share the file."""
    settings, key = loaded.policy.audit, loaded.audit_key
    return Audit(ChainFile(Path(settings.file), Chain(key.reveal() if key else b""))) if settings is not None else None
