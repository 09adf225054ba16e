"""How often: bursts, refill, waiting times, whom it counts, and that memory has a bound."""

import tracemalloc
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.networks import UNIX, Address
from proxy.policy.model import RateRule
from proxy.rules.rate import Rate
from proxy.verdict import Fail, Reason
from tests.pipeline.judging import address, compiled, head, request

HEAD = head()


def rate(limit: str = "10/s", burst: int = 5, per: str = "client") -> Rate:
    """The rule."""
    return Rate(RateRule.model_validate({"limit": limit, "burst": burst, "per": per}))


def waits(rule: Rate, now: float, client: str | Address = "198.51.100.7") -> int | None:
    """Seconds that the sender is asked to wait; ``None`` when it may pass."""
    found = rule.check(HEAD._replace(started=now, client=client if isinstance(client, Address) else address(client)))
    return found.retry_after if isinstance(found, Fail) else None


def test_burst() -> None:
    """As many as the burst pass at once, the next is refused."""
    rule = rate()
    assert [waits(rule, 100.0) for _ in range(7)] == [None] * 5 + [1, 1]


def test_refill() -> None:
    """One more passes after each interval, and not a moment sooner."""
    rule = rate("10/s", 5)
    for _ in range(5):
        waits(rule, 100.0)
    assert waits(rule, 100.09) == 1
    assert waits(rule, 100.1) is None
    assert waits(rule, 100.1) == 1
    assert [waits(rule, 100.4) for _ in range(4)] == [None, None, None, 1]


def test_a_long_pause_fills_the_burst_and_no_more() -> None:
    """After any pause exactly the burst passes."""
    rule = rate("10/s", 5)
    assert [waits(rule, 1e6) for _ in range(6)] == [None] * 5 + [1]


def test_steady() -> None:
    """A sender that keeps to the limit is never refused; one that doubles it gets half through."""
    rule = rate("10/s", 1)
    assert {waits(rule, 100 + index / 10) for index in range(1000)} == {None}
    fast = rate("10/s", 1)
    passed = sum(waits(fast, 100 + index / 20) is None for index in range(1000))
    assert 498 <= passed <= 502


@pytest.mark.parametrize(("limit", "wait"), [("10/s", 1), ("1/s", 1), ("30/min", 2), ("1/min", 60), ("1/h", 3600), ("7/min", 9)])
def test_waiting_time(limit: str, wait: int) -> None:
    """Retry-After is the time to the next chance in whole seconds, rounded up; who waits that long passes."""
    rule = rate(limit, 1)
    assert waits(rule, 100.0) is None
    assert waits(rule, 100.0) == wait
    assert waits(rule, 100.0 + wait) is None


def test_knocking_costs_nothing() -> None:
    """A refused request does not push the next chance away."""
    rule = rate("1/s", 1)
    assert waits(rule, 100.0) is None
    assert {waits(rule, 100.0 + index / 1000) for index in range(1, 990)} == {1}
    assert waits(rule, 101.0) is None


CLIENTS = [
    ("two IPv4 neighbours", "192.0.2.1", "192.0.2.2", False),
    ("one /64", "2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True),
    ("neighbouring /64", "2001:db8::1", "2001:db8:0:1::1", False),
    ("mapped and plain", "192.0.2.1", "::ffff:192.0.2.1", True),
]


@pytest.mark.parametrize(("one", "other", "same"), [row[1:] for row in CLIENTS], ids=[row[0] for row in CLIENTS])
def test_who_is_counted(one: str, other: str, same: bool) -> None:
    """An IPv4 client counts by its address, an IPv6 client by its /64."""
    rule = rate("1/min", 1)
    assert waits(rule, 100.0, one) is None
    assert (waits(rule, 100.0, other) is not None) is same


def test_unix_clients_are_one() -> None:
    """Everybody behind a unix socket is one client."""
    rule = rate("1/min", 1)
    assert waits(rule, 100.0, UNIX) is None
    assert waits(rule, 100.0, UNIX) == 60


def test_per_route() -> None:
    """Counted by route, all clients share one bucket."""
    rule = rate("1/min", 2, per="route")
    assert [waits(rule, 100.0, f"192.0.2.{last}") for last in range(3)] == [None, None, 60]


def test_bounded() -> None:
    """However many clients come, what is remembered has a bound, and nobody's counter is pushed out."""
    rule = rate("1/h", 1)
    victim = address("203.0.113.9")
    assert waits(rule, 0.0, victim) is None
    crowd = [Address(str(number), 4, number, str(IPv4Address(number))) for number in range(150_000)]
    for client in crowd[:110_000]:
        waits(rule, 1.0, client)
    tracemalloc.start()
    passed = sum(waits(rule, 1.5, client) is None for client in crowd[110_000:])
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert passed == 0, "newcomers share one bucket"
    assert grown < 100_000
    assert waits(rule, 1.6, victim) == 3599


def test_room_comes_back() -> None:
    """Clients whose time is over make room for others."""
    rule = rate("100000/s", 1)
    crowd = [Address(str(number), 4, number, str(IPv4Address(number))) for number in range(100_000)]
    for client in crowd:
        assert waits(rule, 1.0, client) is None
    assert waits(rule, 1000.0, "203.0.113.9") is None
    assert waits(rule, 1000.0, "203.0.113.10") is None


async def test_each_route_counts_for_itself(tmp_path: Path) -> None:
    """What one route has seen does not count for another."""
    rules: dict[str, Any] = {"insecure": True, "rules": {"rate": {"limit": "1/min", "burst": 1}}}
    first = await compiled(tmp_path, rules)
    second = await compiled(tmp_path, rules)
    assert (await first.judge(request())).reason is Reason.NONE
    assert (await first.judge(request())).reason is Reason.RATE_LIMITED
    assert (await second.judge(request())).reason is Reason.NONE


async def test_answer(tmp_path: Path) -> None:
    """The sender is told 429 and when to come back; the policy may say another time."""
    gate = await compiled(tmp_path, {"insecure": True, "rules": {"rate": {"limit": "1/min"}}})
    assert (await gate.judge(request())).status == 200
    assert (await gate.judge(request())).ended[1:3] == (429, 60)
    gate = await compiled(
        tmp_path, {"insecure": True, "rules": {"rate": {"limit": "1/min", "answer": {"status": 503, "retry_after": 7}}}}
    )
    await gate.judge(request())
    assert (await gate.judge(request())).ended[1:3] == (503, 7)


@settings(max_examples=200, deadline=None)
@given(
    steps=st.lists(st.floats(0, 3, allow_nan=False), min_size=1, max_size=200),
    requests=st.integers(1, 50),
    burst=st.integers(1, 20),
)
def test_never_more_than_promised(steps: list[float], requests: int, burst: int) -> None:
    """In any stretch of time no more pass than the burst and what the limit gives, whatever the pattern."""
    rule = rate(f"{requests}/s", burst)
    now, passed = 100.0, []
    for pause in steps:
        now += pause
        if waits(rule, now) is None:
            passed.append(now)
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            assert last - first + 1 <= burst + (passed[last] - passed[first]) * requests + 1e-6
