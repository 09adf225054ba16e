"""The numbers: all series from the start, closed labels, exact counts, and a format that promtool accepts."""

import random
import subprocess
import threading
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from proxy.observe.metrics import STANCES, Metrics, RouteFacts, SecretFacts
from proxy.observe.series import BYTES, OWN_SECONDS, SECONDS
from proxy.verdict import RULE_REASONS, UNROUTED, Cause, Finding, Mode, Outcome, Reason, RuleName, outcome_of
from tests.observe.exchanges import BOT, exchange, facts
from tests.pipeline.judging import NOW

FIRST, SECOND, NEXT = "s0", "s1", "s2"
"""Ids of secrets."""


def made(*routes: RouteFacts) -> Metrics:
    """The metrics of a policy with these routes."""
    metrics = Metrics(facts)
    metrics.declare(routes or (BOT,))
    return metrics


def samples(metrics: Metrics) -> Iterator[Sample]:
    """Our own samples as Prometheus reads them."""
    for family in text_string_to_metric_families(metrics.render().decode()):
        if family.name.startswith("hookgate_"):
            yield from family.samples


def series(metrics: Metrics) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    """Every series by name and labels."""
    return {(sample.name, tuple(sorted(sample.labels.items()))) for sample in samples(metrics)}


def value(metrics: Metrics, name: str, **labels: str) -> float:
    """The one series that has exactly these labels."""
    found = [sample.value for sample in samples(metrics) if sample.name == name and sample.labels == labels]
    assert len(found) == 1, (name, labels, found)
    return found[0]


CONTRACT = {
    "hookgate_requests_total": {"route", "outcome", "reason"},
    "hookgate_findings_total": {"route", "rule", "reason", "mode"},
    "hookgate_signature_mismatch_total": {"route", "provider", "sender", "cause"},
    "hookgate_request_duration_seconds_bucket": {"route", "le"},
    "hookgate_verification_duration_seconds_bucket": {"route", "le"},
    "hookgate_upstream_duration_seconds_bucket": {"route", "le"},
    "hookgate_request_body_bytes_bucket": {"route", "le"},
    "hookgate_in_flight_requests": set(),
    "hookgate_connections": set(),
    "hookgate_mode": {"route", "mode"},
    "hookgate_switch_engaged": set(),
    "hookgate_policy_info": {"sha256"},
    "hookgate_policy_last_reload_successful": set(),
    "hookgate_policy_last_reload_success_timestamp_seconds": set(),
    "hookgate_secret_matches_total": {"route", "secret"},
    "hookgate_secret_last_match_timestamp_seconds": {"route", "secret"},
    "hookgate_secret_created_timestamp_seconds": {"route", "secret"},
    "hookgate_certificate_expiry_timestamp_seconds": set(),
    "hookgate_store_errors_total": {"operation"},
    "hookgate_key_fetches_total": {"result"},
    "hookgate_ambiguous_total": {"route"},
    "hookgate_quarantined_total": {"route"},
    "hookgate_store_entries": set(),
    "hookgate_insecure_routes": set(),
    "hookgate_log_dropped_total": set(),
    "hookgate_build_info": {"version", "python"},
}


def test_the_surface() -> None:
    """Every metric that is promised is there from the start, with exactly its labels."""
    found: dict[str, set[str]] = {}
    for sample in samples(made()):
        found.setdefault(sample.name, set(sample.labels))
    assert CONTRACT.items() <= found.items()


def test_all_series_from_the_start() -> None:
    """Each reason, finding, cause and mode of a policy is a series at 0 before the first request."""
    metrics = made()
    for reason in Reason:
        assert value(metrics, "hookgate_requests_total", route="bot", outcome=outcome_of(reason), reason=reason) == 0
    for reason in UNROUTED:
        assert value(metrics, "hookgate_requests_total", route="-", outcome=outcome_of(reason), reason=reason) == 0
    for rule in RuleName:
        for reason in (*RULE_REASONS[rule], Reason.RULE_BROKE):
            for mode in (Mode.ENFORCE, Mode.REPORT):
                assert value(metrics, "hookgate_findings_total", route="bot", rule=rule, reason=reason, mode=mode) == 0
    for cause in Cause:
        for sender in ("listed", "unlisted"):
            labels = {"route": "bot", "provider": "telegram", "sender": sender, "cause": cause.value}
            assert value(metrics, "hookgate_signature_mismatch_total", **labels) == 0
    assert {value(metrics, "hookgate_mode", route="bot", mode=word) for word in STANCES} == {0, 1}
    assert value(metrics, "hookgate_secret_matches_total", route="bot", secret=SECOND) == 0


def test_only_the_rules_that_run() -> None:
    """A route has findings of its own rules only."""
    metrics = made(RouteFacts("bot", "generic", (RuleName.SIZE,), ()))
    rules = {sample.labels["rule"] for sample in samples(metrics) if sample.name == "hookgate_findings_total"}
    assert rules == {"size"}
    assert not [sample for sample in samples(metrics) if sample.name == "hookgate_signature_mismatch_total"]


def test_labels_are_closed() -> None:
    """Ten thousand odd exchanges add not one series, whatever clients, ids and types they bring."""
    metrics = made()
    before = series(metrics)
    chance = random.Random(1)  # noqa: S311 - of a test
    for number in range(10_000):
        rule = chance.choice(list(RuleName))
        finding = Finding(
            rule, chance.choice((*RULE_REASONS[rule], Reason.RULE_BROKE)), chance.choice((Mode.ENFORCE, Mode.REPORT))
        )
        unrouted = number % 3 == 0
        metrics.observe(
            exchange(
                chance.choice(UNROUTED if unrouted else list(Reason)),
                route="-" if unrouted else "bot",
                findings=() if unrouted else (finding,),
                client=f"2001:db8::{number:x}",
                peer=f"198.51.100.{number % 256}\ud800",
                request_id=f"\n{number}",
                update_type=f"type{number}",
                listed=bool(number % 2),
                cause=chance.choice(list(Cause)),
                status=chance.randrange(1000),
                size=chance.randrange(10**9),
                secret="" if unrouted else chance.choice(("", FIRST, SECOND)),
                total=chance.random() * 100,
                ambiguous=number % 5 == 0,
                quarantined=number % 7 == 0,
            )
        )
    metrics.store_failed("claim")
    assert series(metrics) == before


def test_counts() -> None:
    """Each exchange is counted once under how it ended, and each of its findings once under what it was."""
    metrics = made()
    found = Finding(RuleName.SIGNATURE, Reason.SIGNATURE_MISMATCH, Mode.ENFORCE)
    told = Finding(RuleName.IP, Reason.IP_DENIED, Mode.REPORT)
    for _ in range(3):
        metrics.observe(exchange(Reason.SIGNATURE_MISMATCH, findings=(told, found), listed=True, cause=Cause.HEX_CASE))
    metrics.observe(exchange(secret=FIRST, ambiguous=True, arrived=NOW + 5))
    metrics.observe(exchange(Reason.PAYLOAD_INVALID, quarantined=True, secret=FIRST, arrived=NOW + 3))
    metrics.observe(exchange(Reason.UNKNOWN_ROUTE, route="-"))
    metrics.store_failed("confirm")
    assert value(metrics, "hookgate_requests_total", route="bot", outcome="refused", reason="signature_mismatch") == 3
    assert value(metrics, "hookgate_requests_total", route="bot", outcome="forwarded", reason="none") == 1
    assert value(metrics, "hookgate_requests_total", route="-", outcome="refused", reason="unknown_route") == 1
    findings = {"route": "bot", "rule": "signature", "reason": "signature_mismatch"}
    assert value(metrics, "hookgate_findings_total", **findings, mode="enforce") == 3
    assert value(metrics, "hookgate_findings_total", route="bot", rule="ip", reason="ip_denied", mode="report") == 3
    mismatch = {"route": "bot", "provider": "telegram", "cause": "hex_case"}
    assert value(metrics, "hookgate_signature_mismatch_total", **mismatch, sender="listed") == 3
    assert value(metrics, "hookgate_signature_mismatch_total", **mismatch, sender="unlisted") == 0
    assert value(metrics, "hookgate_secret_matches_total", route="bot", secret=FIRST) == 2
    assert value(metrics, "hookgate_ambiguous_total", route="bot") == 1
    assert value(metrics, "hookgate_quarantined_total", route="bot") == 1
    assert value(metrics, "hookgate_store_errors_total", operation="confirm") == 1
    total = sum(sample.value for sample in samples(metrics) if sample.name == "hookgate_requests_total")
    assert total == 6


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.NONE])
def test_every_reason_is_counted_under_one_outcome(reason: Reason) -> None:
    """No reason but none is an outcome forwarded, and repeats are duplicates, not refusals."""
    assert outcome_of(reason) in {Outcome.REFUSED, Outcome.DUPLICATE, Outcome.FAILED, Outcome.ANSWERED}
    assert (outcome_of(reason) is Outcome.DUPLICATE) == (reason in {Reason.REPLAY_DUPLICATE, Reason.REPLAY_IN_FLIGHT})


def buckets(metrics: Metrics, name: str) -> dict[float, float]:
    """The cumulative buckets of a histogram."""
    return {float(sample.labels["le"]): sample.value for sample in samples(metrics) if sample.name == f"{name}_bucket"}


@pytest.mark.parametrize(
    ("name", "field", "bounds"),
    [
        ("hookgate_request_duration_seconds", "total", SECONDS),
        ("hookgate_verification_duration_seconds", "verification", OWN_SECONDS),
        ("hookgate_upstream_duration_seconds", "upstream", SECONDS),
        ("hookgate_request_body_bytes", "size", BYTES),
    ],
)
def test_histograms(name: str, field: str, bounds: tuple[float, ...]) -> None:
    """Each value is in the buckets of its bound and all above; count and sum are those of what was observed."""
    metrics = made()
    given = [bounds[0] / 2, *bounds, *(bound * 1.01 for bound in bounds), bounds[-1] * 9]
    for one in given:
        metrics.observe(exchange(Reason.NONE, **{field: one}))
    found = buckets(metrics, name)
    assert found == {bound: sum(one <= bound for one in given) for bound in (*bounds, float("inf"))}
    assert value(metrics, f"{name}_count", route="bot") == len(given)
    assert value(metrics, f"{name}_sum", route="bot") == pytest.approx(sum(given))


def test_what_did_not_happen_is_not_timed() -> None:
    """A request that never reached the bot has no upstream time, and one without a body no size."""
    metrics = made()
    metrics.observe(exchange(Reason.IP_DENIED, upstream=0.0, size=0))
    assert value(metrics, "hookgate_upstream_duration_seconds_count", route="bot") == 0
    assert value(metrics, "hookgate_request_body_bytes_count", route="bot") == 0
    assert value(metrics, "hookgate_request_duration_seconds_count", route="bot") == 1


def test_a_reload_keeps_counts() -> None:
    """A route that keeps its name keeps its numbers, over a reload that drops it too; a new secret starts at 0."""
    metrics = made()
    metrics.observe(exchange(secret=FIRST, findings=(Finding(RuleName.IP, Reason.IP_DENIED, Mode.REPORT),)))
    other = RouteFacts("other", "generic", (RuleName.SIZE,), ())
    metrics.declare([other])
    of_facts = {"hookgate_mode", "hookgate_upstream_breaker_open"}
    assert not [sample for sample in samples(metrics) if sample.labels.get("route") == "bot" and sample.name not in of_facts]
    metrics.observe(exchange(secret=FIRST))  # it began under the former policy
    metrics.declare([other, BOT._replace(secrets=(SecretFacts("s0", None), SecretFacts("s2", None)))])
    assert value(metrics, "hookgate_requests_total", route="bot", outcome="forwarded", reason="none") == 2
    assert value(metrics, "hookgate_secret_matches_total", route="bot", secret=FIRST) == 2
    assert value(metrics, "hookgate_secret_matches_total", route="bot", secret=NEXT) == 0
    assert value(metrics, "hookgate_findings_total", route="bot", rule="ip", reason="ip_denied", mode="report") == 1


def test_scraped_while_it_counts() -> None:
    """A scrape from another thread neither breaks nor holds up, while requests are counted and policies change."""
    metrics = made()
    stop = threading.Event()
    broken: list[BaseException] = []
    scrapes: list[int] = []

    def scrape() -> None:
        try:
            while not stop.is_set():
                scrapes.append(len(metrics.render()))
        except BaseException as error:
            broken.append(error)

    thread = threading.Thread(target=scrape)
    thread.start()
    number = 0
    while len(scrapes) < 100 and not broken:
        number += 1
        growing = RouteFacts(f"r{number // 9}", "generic", tuple(RuleName)[: number % 9 + 1], (SecretFacts("x", None),))
        metrics.declare([BOT, growing] if number % 10 else [BOT])
        for _ in range(20):
            metrics.observe(exchange(secret=FIRST))
    stop.set()
    thread.join(10)
    assert not broken
    assert value(metrics, "hookgate_requests_total", route="bot", outcome="forwarded", reason="none") == 20 * number
    assert value(metrics, "hookgate_secret_matches_total", route="bot", secret=FIRST) == 20 * number
    assert value(metrics, "hookgate_request_duration_seconds_bucket", route="bot", le="+Inf") == 20 * number


def test_promtool() -> None:
    """Prometheus' own linter has nothing to say."""
    metrics = made()
    metrics.observe(
        exchange(Reason.SIGNATURE_MISMATCH, findings=(Finding(RuleName.SIGNATURE, Reason.SIGNATURE_MISMATCH, Mode.ENFORCE),))
    )
    told = subprocess.run(["promtool", "check", "metrics"], input=metrics.render(), capture_output=True, timeout=60, check=False)  # noqa: S607
    assert (told.returncode, told.stdout, told.stderr) == (0, b"", b"")


def test_without_a_certificate() -> None:
    """Behind a terminator there is no certificate to expire, and the scrape is sound all the same."""
    metrics = Metrics(lambda: facts(certificate_expiry=None))
    metrics.declare([BOT])
    assert not [sample for sample in samples(metrics) if sample.name == "hookgate_certificate_expiry_timestamp_seconds"]
    told = subprocess.run(["promtool", "check", "metrics"], input=metrics.render(), capture_output=True, timeout=60, check=False)  # noqa: S607
    assert told.returncode == 0
