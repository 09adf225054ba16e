"""Exchanges → Prometheus series. Labels come from closed lists of the policy only, and all series exist from the start.

The hot path adds to plain numbers; ``prometheus_client`` renders them when scraped (its own counters cost ten times as much).
Counts outlive a reload: a route that keeps its name keeps its numbers.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from proxy.exchange import Exchange
from proxy.observe.histogram import Histogram
from proxy.observe.series import Series
from proxy.verdict import RULE_REASONS, UNROUTED, Cause, Mode, Outcome, Reason, RuleName, outcome_of

STANCES: Final = ("enforce", "report", "off", "share")
STORE_OPERATIONS: Final = ("claim", "confirm", "release", "rate", "emptied")
"""The last one is no operation of ours: a store that is shared was found without what it had held."""
KEY_FETCHES: Final = ("fetched", "unchanged", "failed")
"""How a fetch of keys that stand elsewhere can end."""


class SecretFacts(NamedTuple):
    """What is told of a secret: its id and when it was made (unix seconds, ``None`` when unknown)."""

    id: str
    created: float | None


class RouteFacts(NamedTuple):
    """What is told of a route besides its counts."""

    name: str
    provider: str
    rules: tuple[RuleName, ...]
    secrets: tuple[SecretFacts, ...]


class Facts(NamedTuple):
    """What only the moment of a scrape can tell; given by whoever ties the parts together."""

    in_flight: int
    connections: int
    entries: int
    stances: dict[str, str]
    """Route → one of ``STANCES``."""
    switch: bool
    policy: str
    """SHA-256 of the policy in force."""
    reloaded: bool
    reloaded_at: float
    certificate_expiry: float | None
    insecure: int
    version: str
    python: str
    log_dropped: int
    audit_dropped: int = 0
    silent: tuple[str, ...] = ()
    """Routes whose bot is left alone for a while, because it keeps silent."""


class Metrics(Collector):
    """The numbers of this process."""

    def __init__(self, facts: Callable[[], Facts]) -> None:
        self._facts = facts
        self._routes: dict[str, RouteFacts] = {}
        self._series: dict[str, Series] = {"-": Series(UNROUTED)}
        self.store_errors = dict.fromkeys(STORE_OPERATIONS, 0)
        self.key_fetches = dict.fromkeys(KEY_FETCHES, 0)
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def describe(self) -> list[Metric]:
        """Nothing: a registry that asks would collect before the first policy is there."""
        return []

    def declare(self, routes: Iterable[RouteFacts]) -> None:
        """Make every series of a policy exist. A route that comes back later goes on with its old numbers."""
        declared = {route.name: route for route in routes}
        for route in declared.values():
            series = self._series.setdefault(route.name, Series(Reason))
            for rule in route.rules:
                for reason in (*RULE_REASONS[rule], Reason.RULE_BROKE):
                    for mode in (Mode.ENFORCE, Mode.REPORT):
                        series.findings.setdefault((rule, reason, mode), 0)
            if RuleName.SIGNATURE in route.rules:
                for listed in (True, False):
                    for cause in Cause:
                        series.mismatches.setdefault((listed, cause), 0)
            for secret in route.secrets:
                series.secrets.setdefault(secret.id, [0.0, 0.0])
        self._routes = declared

    def observe(self, exchange: Exchange) -> None:
        """Count one exchange."""
        self._series[exchange.route].observe(exchange)

    def resent(self, route: str) -> None:
        """Count a request that was sent again because a kept connection broke: the bot may have seen the first."""
        self._series[route].ambiguous += 1

    def store_failed(self, operation: str) -> None:
        """Count a store operation that failed."""
        self.store_errors[operation] += 1

    def keys_fetched(self, result: str) -> None:
        """Count a fetch of keys that stand elsewhere."""
        self.key_fetches[result] += 1

    def matched(self) -> dict[tuple[str, str], list[float]]:
        """How often each secret of the policy matched, and when last (unix seconds, 0 for never), by route and id."""
        self._fold()
        return {(name, s.id): self._series[name].secrets[s.id] for name, route in self._routes.items() for s in route.secrets}

    def render(self) -> bytes:
        """The text format (version 0.0.4)."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """All families, in the order of the surface."""
        self._fold()
        yield from self._counts()
        yield from self._histograms()
        yield from self._secrets()
        yield from _gauges(self._facts())
        errors = CounterMetricFamily("hookgate_store_errors", "Operations that the store did not answer.", labels=["operation"])
        for operation, count in self.store_errors.items():
            errors.add_metric([operation], count)
        yield errors
        fetches = CounterMetricFamily("hookgate_key_fetches", "Fetches of keys that stand elsewhere.", labels=["result"])
        for result, count in self.key_fetches.items():
            fetches.add_metric([result], count)
        yield fetches

    def _fold(self) -> None:
        for series in list(self._series.values()):
            series.fold()

    def _counts(self) -> Iterator[Metric]:
        requests = CounterMetricFamily("hookgate_requests", "Requests by how they ended.", labels=["route", "outcome", "reason"])
        findings = CounterMetricFamily(
            "hookgate_findings", "What rules found, reported findings included.", labels=["route", "rule", "reason", "mode"]
        )
        mismatches = CounterMetricFamily(
            "hookgate_signature_mismatch",
            "Signatures that did not match; listed senders are those in the provider's published networks.",
            labels=["route", "provider", "sender", "cause"],
        )
        ambiguous = CounterMetricFamily(
            "hookgate_ambiguous",
            "Requests whose earlier try may have reached the bot: delivered again, or dropped.",
            labels=["route"],
        )
        quarantined = CounterMetricFamily(
            "hookgate_quarantined", "Requests refused but acknowledged, so that the sender stops.", labels=["route"]
        )
        # A scrape runs in a thread of its own: what the loop may add to meanwhile is copied first.
        routes = self._routes
        for name in ("-", *routes):
            series = self._series[name]
            for reason, count in list(series.requests.items()):
                outcome = Outcome.FORWARDED if reason is Reason.NONE else outcome_of(reason)
                requests.add_metric([name, outcome.value, reason.value], count)
            for (rule, reason, mode), count in list(series.findings.items()):
                findings.add_metric([name, rule.value, reason.value, mode.value], count)
            if name not in routes:
                continue
            for (listed, cause), count in list(series.mismatches.items()):
                sender = "listed" if listed else "unlisted"
                mismatches.add_metric([name, routes[name].provider, sender, cause.value], count)
            ambiguous.add_metric([name], series.ambiguous)
            quarantined.add_metric([name], series.quarantined)
        yield from (requests, findings, mismatches, ambiguous, quarantined)

    def _histograms(self) -> Iterator[Metric]:
        families = (
            ("hookgate_request_duration_seconds", "From the first byte of a request to its answer.", "total"),
            ("hookgate_verification_duration_seconds", "Our own part of a request.", "own"),
            ("hookgate_upstream_duration_seconds", "The bot's part of a request.", "upstream"),
            ("hookgate_request_body_bytes", "Sizes of request bodies.", "body"),
        )
        for name, help_text, attribute in families:
            family = HistogramMetricFamily(name, help_text, labels=["route"])
            for route in self._routes:
                histogram: Histogram = getattr(self._series[route], attribute)
                family.add_metric([route], histogram.buckets(), histogram.sum)
            yield family

    def _secrets(self) -> Iterator[Metric]:
        matches = CounterMetricFamily("hookgate_secret_matches", "Requests that a secret proved.", labels=["route", "secret"])
        last = GaugeMetricFamily(
            "hookgate_secret_last_match_timestamp_seconds", "When a secret last matched; 0 for never.", labels=["route", "secret"]
        )
        created = GaugeMetricFamily(
            "hookgate_secret_created_timestamp_seconds", "When a secret's file was written.", labels=["route", "secret"]
        )
        for name, route in self._routes.items():
            for secret in route.secrets:
                count, moment = self._series[name].secrets[secret.id]
                matches.add_metric([name, secret.id], count)
                last.add_metric([name, secret.id], moment)
                if secret.created is not None:
                    created.add_metric([name, secret.id], secret.created)
        yield from (matches, last, created)


def _gauges(facts: Facts) -> Iterator[Metric]:
    def gauge(name: str, help_text: str, value: float) -> Metric:
        return GaugeMetricFamily(name, help_text, value=value)

    yield gauge("hookgate_in_flight_requests", "Requests under way.", facts.in_flight)
    yield gauge("hookgate_connections", "Open connections of senders.", facts.connections)
    modes = GaugeMetricFamily("hookgate_mode", "1 for the mode in force.", labels=["route", "mode"])
    for route, stance in facts.stances.items():
        for word in STANCES:
            modes.add_metric([route, word], float(word == stance))
    yield modes
    breakers = GaugeMetricFamily(
        "hookgate_upstream_breaker_open", "1 while requests are answered 502 without asking the silent bot.", labels=["route"]
    )
    for route in facts.stances:
        breakers.add_metric([route], float(route in facts.silent))
    yield breakers
    yield gauge("hookgate_switch_engaged", "1 while the switch overrides the policy.", float(facts.switch))
    info = GaugeMetricFamily("hookgate_policy_info", "The policy in force.", labels=["sha256"])
    info.add_metric([facts.policy], 1)
    yield info
    yield gauge("hookgate_policy_last_reload_successful", "1 if the last reload was taken.", float(facts.reloaded))
    yield gauge("hookgate_policy_last_reload_success_timestamp_seconds", "When a policy was last taken.", facts.reloaded_at)
    expiry = GaugeMetricFamily(
        "hookgate_certificate_expiry_timestamp_seconds", "When the listener's certificate ends.", labels=[]
    )
    if facts.certificate_expiry is not None:
        expiry.add_metric([], facts.certificate_expiry)
    yield expiry
    yield gauge("hookgate_store_entries", "Claims that the store holds.", facts.entries)
    yield gauge("hookgate_insecure_routes", "Routes without any rule of authenticity.", facts.insecure)
    yield CounterMetricFamily(
        "hookgate_log_dropped", "Log lines dropped because the sink was slow or broken.", value=facts.log_dropped
    )
    yield CounterMetricFamily("hookgate_audit_dropped", "Audit lines that could not be written.", value=facts.audit_dropped)
    build = GaugeMetricFamily("hookgate_build_info", "What runs.", labels=["version", "python"])
    build.add_metric([facts.version, facts.python], 1)
    yield build
