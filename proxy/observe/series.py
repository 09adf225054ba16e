"""The numbers of one route. Exchanges are counted a batch at a time: sorted once, their values cost a fraction of one by one.

The loop counts, and a scrape reads in a thread of its own: a lock keeps their additions apart, and who reads folds first.
"""

from collections import Counter, deque
from collections.abc import Iterable
from threading import Lock
from typing import Any, Final

from proxy.exchange import Exchange
from proxy.observe.histogram import Histogram
from proxy.verdict import Cause, Mode, Reason, RuleName

SECONDS: Final[tuple[float, ...]] = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
OWN_SECONDS: Final[tuple[float, ...]] = (0.00005, 0.0001, 0.00015, 0.0002, 0.0003, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25)
BYTES: Final[tuple[float, ...]] = (256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0)
_BATCH: Final = 64


class Series:
    """All counts of one route."""

    def __init__(self, reasons: Iterable[Reason]) -> None:
        self.requests: dict[Reason, int] = dict.fromkeys(reasons, 0)
        self.findings: dict[tuple[RuleName, Reason, Mode], int] = {}
        self.mismatches: dict[tuple[bool, Cause], int] = {}
        self.secrets: dict[str, list[float]] = {}
        """Matches, and when the last one was."""
        self.total = Histogram(SECONDS)
        self.own = Histogram(OWN_SECONDS)
        self.upstream = Histogram(SECONDS)
        self.body = Histogram(BYTES)
        self.ambiguous = 0
        self.quarantined = 0
        self._ended: deque[Exchange] = deque()
        self._counting = Lock()

    def observe(self, exchange: Exchange) -> None:
        """Count one exchange, at the latest when somebody reads."""
        self._ended.append(exchange)
        if len(self._ended) >= _BATCH:
            self.fold()

    def fold(self) -> None:
        """Count what is not counted yet."""
        with self._counting:
            ended = [self._ended.popleft() for _ in range(len(self._ended))]
            if ended:
                self._count(ended)

    def _count(self, exchanges: list[Exchange]) -> None:
        seen: Any = Exchange._make(zip(*exchanges, strict=True))  # each field is the tuple of its values
        for reason, count in Counter(seen.reason).items():
            self.requests[reason] = self.requests.get(reason, 0) + count
        self.total.add(seen.total)
        self.own.add(seen.verification)
        self.upstream.add(list(filter(None, seen.upstream)))
        self.body.add(list(filter(None, seen.size)))
        for secret, last in dict(zip(seen.secret, seen.arrived, strict=True)).items():
            if secret:
                matched = self.secrets[secret]
                matched[0] += seen.secret.count(secret)
                matched[1] = last
        self.ambiguous += sum(seen.ambiguous)
        self.quarantined += sum(seen.quarantined)
        if any(seen.findings):
            for exchange in exchanges:
                self._find(exchange)

    def _find(self, exchange: Exchange) -> None:
        for finding in exchange.findings:
            self.findings[finding] = self.findings.get(finding, 0) + 1
            # What is missing or malformed counts among the mismatches where it is known what would have made it right.
            if finding.rule is RuleName.SIGNATURE and (
                finding.reason is Reason.SIGNATURE_MISMATCH or exchange.cause is not Cause.UNKNOWN
            ):
                self.mismatches[exchange.listed, exchange.cause] += 1
