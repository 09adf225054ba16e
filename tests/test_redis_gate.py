"""A gate whose Redis is stopped, paused, frozen, emptied or failed over under load: no verdict waits, none is skipped."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.conftest import Gates
from tests.gates import TELEGRAM, Gate, RecordingBot, until
from tests.redises import GO, STOP, Server, Watched, server
from tests.trickle import BUSY_SECONDS, DECIDED_SECONDS, Trickle, trickle

RECOVERY_SECONDS = 2.0


def policy(url: str, bot: RecordingBot, rules: str = "") -> str:
    """The small policy with this store."""
    return TELEGRAM.format(bot=bot.port).replace('"memory:"', f'"{url}"') + rules


@pytest.fixture
def harmed() -> Iterator[Server]:
    """A server of the test's own."""
    with server() as made:
        yield made


def nothing_waits_and_nothing_passes(gate: Gate, load: Trickle, bot: RecordingBot, *, reached: int = 0) -> None:
    """Every answer was there in time, and the bot saw exactly what was checked; ``reached`` what it saw before."""
    load.stop()
    slowest = max(one.seconds for one in load.answers)
    assert slowest < DECIDED_SECONDS + BUSY_SECONDS, f"an answer took {slowest:.3f} s"
    assert {one.status for one in load.answers} <= {200, 503}
    passed = sum(one.status == 200 for one in load.answers)
    assert len(bot.requests) - reached == passed
    refused = len(load.answers) - passed
    assert gate.metric("hookgate_requests_total", reason="store_unreachable") == refused
    assert gate.metric("hookgate_store_errors_total", operation="claim") == refused


def pause(redis: Server) -> None:
    """Let it answer nobody for a second, new connections neither."""
    redis.operator.client_pause(1000)


def unpaused(redis: Server) -> None:
    """Wait until it answers again; nothing else can be said to it meanwhile."""
    redis.operator.ping()


Harm = tuple[Callable[[Server], None], Callable[[Server], None]]

HARMS: dict[str, Harm] = {
    "stopped": (Server.kill, Server.start),
    "paused": (pause, unpaused),
    "frozen": (lambda redis: redis.signal(STOP), lambda redis: redis.signal(GO)),
}


def outage(load: Trickle, redis: Server, harm: Harm, seconds: float) -> None:
    """Harm it until it is noticed, and a while longer; heal it, and see the gate recover in time."""
    began = time.monotonic()
    harm[0](redis)
    until(lambda: load.seen(503, began), "a refusal")
    time.sleep(seconds)
    harm[1](redis)
    healed = time.monotonic()
    until(lambda: load.seen(200, healed), "an answer of the bot")
    assert load.delay(200, healed) < RECOVERY_SECONDS + BUSY_SECONDS


@pytest.mark.parametrize("name", HARMS)
def test_outage(gate: Gates, bot: RecordingBot, harmed: Server, name: str) -> None:
    """An outage of the store is answered with 503 in time, and over two seconds after the store is back."""
    running = gate(policy(harmed.url, bot))
    with trickle(running) as load:
        until(lambda: load.seen(200, 0), "the first answer")
        outage(load, harmed, HARMS[name], 0.5)
        nothing_waits_and_nothing_passes(running, load, bot)


@pytest.mark.long
@pytest.mark.timeout(0)
def test_two_hundred_outages(gate: Gates, bot: RecordingBot, harmed: Server) -> None:
    """The same two hundred times in a row, each kind in turn."""
    running = gate(policy(harmed.url, bot))
    with trickle(running) as load:
        until(lambda: load.seen(200, 0), "the first answer")
        for number in range(200):
            outage(load, harmed, list(HARMS.values())[number % len(HARMS)], 0.05 * (number % 7))
        nothing_waits_and_nothing_passes(running, load, bot)


def test_allow(gate: Gates, bot: RecordingBot, harmed: Server) -> None:
    """With on_store_error: allow everything is forwarded in time, and what went unchecked is counted."""
    running = gate(policy(harmed.url, bot, "    rules: {replay: {on_store_error: allow}}\n"))
    with trickle(running) as load:
        until(lambda: load.seen(200, 0), "the first answer")
        harmed.signal(STOP)
        began = time.monotonic()
        until(lambda: len(load.since(began)) > 30, "requests during the outage")
        load.stop()
        assert {one.status for one in load.answers} == {200}
        assert max(one.seconds for one in load.answers) < DECIDED_SECONDS + BUSY_SECONDS
        assert len(bot.requests) == len(load.answers)
        assert running.metric("hookgate_store_errors_total", operation="claim") >= 30


def test_emptied(gate: Gates, bot: RecordingBot, harmed: Server) -> None:
    """A store that was emptied under load goes on, and is counted, for the alert."""
    running = gate(policy(harmed.url, bot))
    with trickle(running) as load:
        until(lambda: load.seen(200, 0), "the first answer")
        assert running.metric("hookgate_store_errors_total", operation="emptied") == 0
        harmed.client().flushall()
        until(lambda: running.metric("hookgate_store_errors_total", operation="emptied") == 1, "the count", 2.0 + BUSY_SECONDS)
        nothing_waits_and_nothing_passes(running, load, bot)
    until(lambda: "it was emptied" in running.output(), "the line in the log")


@pytest.mark.parametrize("way", ["stopped", pytest.param("frozen", marks=pytest.mark.long)])
def test_failover(gate: Gates, bot: RecordingBot, way: str) -> None:
    """A master that dies is answered with 503 in time; two seconds after the Sentinel names the new one, all is well again."""
    with ExitStack() as stack:
        watched = Watched(stack)
        running = gate(policy(watched.url, bot))
        with trickle(running) as load:
            until(lambda: load.seen(200, 0), "the first answer")
            HARMS[way][0](watched.master)
            until(lambda: watched.announced() != watched.master.port, "the failover")
            announced = time.monotonic()
            until(lambda: load.seen(200, announced), "an answer of the bot")
            assert load.delay(200, announced) < RECOVERY_SECONDS + BUSY_SECONDS
            nothing_waits_and_nothing_passes(running, load, bot)


def test_no_server_at_the_start(gate: Gates, bot: RecordingBot, harmed: Server) -> None:
    """A gate comes up without its store, says so in a sentence, refuses, and serves as soon as the store is there."""
    harmed.kill()
    running = gate(policy(harmed.url, bot))
    with trickle(running, pause=0.05) as load:
        until(lambda: load.seen(503, 0), "a refusal")
        assert running.get("/livez")
        harmed.start()
        healed = time.monotonic()
        until(lambda: load.seen(200, healed), "an answer of the bot")
        nothing_waits_and_nothing_passes(running, load, bot)
    until(lambda: "it answers again" in running.output(), "the line in the log")
    told = [line["message"] for line in running.lines() if "store redis://" in str(line.get("message"))]
    assert told[0] == (
        f"store redis://127.0.0.1:{harmed.port}: it cannot be reached: connection refused; "
        "until it answers, requests are decided by on_store_error"
    )
    assert "Traceback" not in running.output()


def test_a_password_from_the_environment(gate: Gates, bot: RecordingBot) -> None:
    """The password comes from where the policy says, and stands in no line of the log and no metric."""
    canary = "CANARY-0a1b2c3d4e5f"
    with server(f"requirepass {canary}") as guarded:
        text = policy(guarded.url, bot).replace("store: {", "store: {password: {from_env: REDIS_PASSWORD}, ")
        running = gate(text, {"REDIS_PASSWORD": canary})
        with trickle(running) as load:
            until(lambda: load.seen(200, 0), "an answer of the bot")
        assert canary not in running.output() + running.get("/metrics") + running.get("/")
        running.stop()
        wrong = gate(text, {"REDIS_PASSWORD": f"{canary}-not"}, "wrong.yaml")
        until(lambda: "check store.username and store.password" in wrong.output(), "the line in the log")
        assert canary not in wrong.output()
