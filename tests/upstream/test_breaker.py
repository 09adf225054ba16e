"""A silent bot is left alone for a while: its requests are answered at once, keep no claim, and one at a time tries again."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.upstream.breaker import Breaker
from tests.edge.lines import Answer, Line, request
from tests.edge.stages import policy, update
from tests.gates import PATIENCE, Gate, free_port, serving, until
from tests.upstream.bots import OK, Script, Talk, always, scripted


@contextmanager
def towards(
    folder: Path, port: int, failures: int, pause: str, *, top: dict[str, Any] | None = None, **upstream: Any
) -> Iterator[Gate]:
    """A gate whose breaker opens after so many failures, for so long; ``top`` stands at the policy's top."""
    written = json.loads(policy(f"http://127.0.0.1:{port}", **(top or {})))
    written["upstream"].update({"breaker": {"failures": failures, "open": pause}, **upstream})
    file = folder / "policy.yaml"
    file.write_text(json.dumps(written))
    with serving(file) as gate:
        yield gate


def ask(gate: Gate, raw: bytes = b"") -> tuple[int, int]:
    """Status and Retry-After (0 for none) of the answer to an update."""
    with Line(gate) as line:
        return told(line.ask(raw or update()))


def told(found: Answer) -> tuple[int, int]:
    """Status and Retry-After of an answer."""
    return found.status, int(found.field(b"Retry-After") or 0)


def opened(gate: Gate) -> float:
    """Whether the breaker is open, by the gauge."""
    return gate.metric("hookgate_upstream_breaker_open", route="telegram")


def test_an_open_breaker_asks_nobody(tmp_path: Path) -> None:
    """After so many failures in a row the bot hears nothing, the sender learns when to come again, and no claim stays behind."""
    port = free_port()
    with towards(tmp_path, port, 3, "1m") as gate:
        assert [ask(gate) for _ in range(3)] == [(502, 1)] * 3
        assert opened(gate) == 1
        with scripted(always(OK), port=port) as bot:
            for status, wait in (ask(gate) for _ in range(5)):
                assert status == 502
                assert 30 <= wait <= 60
            assert not bot.talks
        assert gate.metric("hookgate_store_entries") == 0
        assert gate.metric("hookgate_requests_total", route="telegram", reason="upstream_unreachable") == 8


def test_one_of_several_workers(tmp_path: Path) -> None:
    """Each worker has a breaker of its own; the gauge tells of any that is open."""
    with (
        towards(tmp_path, free_port(), 3, "1m", top={"workers": 2, "store": {"url": "sqlite:claims.db"}}) as gate,
        Line(gate) as line,
    ):
        assert opened(gate) == 0
        assert [told(line.ask(update())) for _ in range(3)] == [(502, 1)] * 3  # one connection, one worker
        assert told(line.ask(update()))[1] >= 30
        assert opened(gate) == 1


def test_the_bot_comes_back(tmp_path: Path) -> None:
    """Once the pause is over the next request tries, and when the bot answers all go through again."""
    port = free_port()
    raw = update()
    with towards(tmp_path, port, 1, "300ms") as gate:
        assert ask(gate, raw) == (502, 1)
        with scripted(always(OK), port=port) as bot:
            until(lambda: ask(gate, raw)[0] == 200, "the bot to be tried again")
            assert [ask(gate) for _ in range(3)] == [(200, 0)] * 3
            assert opened(gate) == 0
            assert len(bot.requests) == 4


def test_one_tries_for_all(tmp_path: Path) -> None:
    """When a pause is over one request is sent, however many come; while it has no answer, the others are answered at once."""
    port, release = free_port(), threading.Event()

    def slow(talk: Talk) -> None:
        while talk.request() is not None:
            release.wait(20)
            talk.send(OK)

    with towards(tmp_path, port, 1, "4s") as gate, ExitStack() as stack:
        assert ask(gate) == (502, 1)
        with scripted(slow, port=port) as bot:
            until(lambda: gate.metric("hookgate_upstream_breaker_open"), "the breaker to open")
            probe = stack.enter_context(Line(gate))
            found = until(lambda: _sent(gate, probe, bot.talks), "one request to be let through")
            assert found
            began = time.monotonic()
            assert {ask(gate)[0] for _ in range(5)} <= {502, 504}
            # On a machine that is very busy another pause may have gone by.
            assert len(bot.requests) <= 1 + (time.monotonic() - began) / 4
            release.set()
            assert probe.answer().status in {200, 504}
            until(lambda: ask(gate) == (200, 0), "all to be sent again")


def _sent(gate: Gate, line: Line, talks: list[Talk]) -> bool:
    """Send an update; True once one is with the bot, unanswered."""
    line.send(update())
    until(lambda: talks or gate.metric("hookgate_in_flight_requests") == 0, "the update to be sent or refused")
    if not talks:
        assert line.answer().status == 502
    return bool(talks)


def test_silence_after_the_request(tmp_path: Path) -> None:
    """A bot that takes requests and says nothing is left alone too; those who wait for their turn are told at once."""
    with (
        scripted(Talk.hold) as bot,
        towards(tmp_path, bot.port, 1, "1m", first_byte_timeout="500ms", connections=1) as gate,
        ExitStack() as stack,
    ):
        lines = [stack.enter_context(Line(gate)).send(update()) for _ in range(6)]
        assert sorted(line.answer().status for line in lines) == [502] * 5 + [504]
        assert opened(gate) == 1
        assert len(bot.talks) == 1


@pytest.mark.parametrize("silent", [Talk.reset, lambda talk: None], ids=["reset", "closed"])
def test_an_answer_between(tmp_path: Path, silent: Script) -> None:
    """Failures that are not in a row leave the breaker closed, whether the bot resets or closes without a word."""
    count = 0

    def now_and_then(talk: Talk) -> None:
        nonlocal count
        if talk.request() is None:
            return
        count += 1
        if count % 3:
            silent(talk)
        else:
            talk.send(b"HTTP/1.1 500 Broken\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")

    with scripted(now_and_then) as bot, towards(tmp_path, bot.port, 3, "1m") as gate:
        assert [ask(gate)[0] for _ in range(12)] == [502, 502, 500] * 4
        assert opened(gate) == 0
        bot.script = silent
        assert [ask(gate)[0] for _ in range(4)] == [502] * 4
        assert opened(gate) == 1
        assert len(bot.talks) == 15


def test_kept_connections_that_break_together(tmp_path: Path) -> None:
    """A bot that restarts breaks all its connections at once: that is no row of failures, and the next request is tried."""
    together, release = threading.Barrier(5), threading.Event()

    def restarting(talk: Talk) -> None:
        if talk.number > 5:
            always(OK)(talk)
            return
        talk.request()
        together.wait(PATIENCE)
        talk.send(OK)
        talk.request()
        release.wait(PATIENCE)
        talk.reset()

    with scripted(restarting) as bot, towards(tmp_path, bot.port, 3, "1m") as gate, ExitStack() as stack:
        lines = [stack.enter_context(Line(gate)) for _ in range(5)]
        assert [one.answer().status for one in [line.send(update()) for line in lines]] == [200] * 5
        for line in lines:
            line.send(update())
        until(lambda: len(bot.requests) == 10, "all with the bot")
        release.set()
        assert [told(line.answer()) for line in lines] == [(502, 0)] * 5
        assert opened(gate) == 0
        assert ask(gate) == (200, 0)


def test_nonsense_is_an_answer(tmp_path: Path) -> None:
    """A bot that says what is no HTTP, or breaks off within its answer, is there: the breaker stays closed."""
    for said in (b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Le"):

        def speak(talk: Talk, said: bytes = said) -> None:
            talk.request()
            talk.send(said)

        folder = tmp_path / str(len(said))
        folder.mkdir()
        with scripted(speak) as bot, towards(folder, bot.port, 2, "1m") as gate:
            assert {ask(gate) for _ in range(5)} == {(502, 0)}
            assert opened(gate) == 0
            assert len(bot.requests) == 5


def test_never(tmp_path: Path) -> None:
    """With ``failures: 0`` every request is tried."""
    with scripted(resetting) as bot, towards(tmp_path, bot.port, 0, "1m") as gate:
        assert {ask(gate) for _ in range(30)} == {(502, 0)}
        assert len(bot.talks) == 30


def resetting(talk: Talk) -> None:
    """Take a request and reset."""
    talk.request()
    talk.reset()


def beginning(pause: float) -> Script:
    """Begin the answer at once, and end it after a pause."""

    def answer(talk: Talk) -> None:
        while talk.request() is not None:
            talk.send(b"HTTP/1.1 200 OK\r\nContent-Le")
            if talk.stopped.wait(pause):
                return
            talk.send(b"ngth: 4\r\n\r\ndone")

    return answer


def test_the_first_byte_has_its_own_deadline(tmp_path: Path) -> None:
    """A bot that begins in time may take until ``timeout`` for the rest, request after request, and not longer."""
    with (
        scripted(beginning(1.3)) as bot,
        towards(tmp_path, bot.port, 1, "1m", first_byte_timeout="1s", timeout="3s") as gate,
        Line(gate) as line,
    ):
        for _ in range(2):
            assert line.ask(request()).status == 200
        bot.script = beginning(60.0)
        began = time.monotonic()
        with ExitStack() as stack:  # both at once, so that one of them opens a connection
            lines = [stack.enter_context(Line(gate)).send(request()) for _ in range(2)]
            assert 504 in {one.answer().status for one in lines}
        assert time.monotonic() - began >= 2.9
        assert opened(gate) == 0


def test_counting() -> None:
    """The breaker opens at its limit, names whole seconds until the next try, lets one through, and closes on an answer."""
    breaker = Breaker(2, 1.5)
    assert [breaker.failed(10.0), breaker.wait(10.0), breaker.failed(10.0)] == [False, 0, True]
    assert [breaker.wait(10.0), breaker.wait(10.6), breaker.wait(11.4)] == [2, 1, 1]
    assert [breaker.wait(11.5), breaker.wait(11.5), breaker.failed(12.0), breaker.wait(12.9)] == [0, 2, False, 1]
    assert breaker.wait(13.0) == 0
    breaker.answered()
    assert (breaker.open, breaker.failures, breaker.wait(13.0), breaker.wait(13.0)) == (False, 0, 0, 0)
