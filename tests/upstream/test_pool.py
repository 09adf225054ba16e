"""Connections to the bot: kept and shared, capped, queued for within bounds, and no longer trusted than the bot says."""

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from proxy.engine import lease
from proxy.policy.reader import read_policy
from tests.edge.lines import Line, request
from tests.edge.stages import Stage, policy, staged
from tests.gates import Gate, serving, until
from tests.upstream.bots import OK, ScriptedBot, Talk, always, scripted


class Doors:
    """A bot that answers each request when the test lets it."""

    def __init__(self) -> None:
        self.open = threading.Semaphore(0)

    def serve(self, talk: Talk) -> None:
        """Take a request, wait for the test, answer with the request's body."""
        while (came := talk.request()) is not None:
            self.open.acquire()
            body = came.partition(b"\r\n\r\n")[2]
            talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


@pytest.fixture
def small(tmp_path: Path) -> Iterator[tuple[Gate, ScriptedBot, Doors]]:
    """A gate with two connections to its bot, and three places to wait."""
    doors = Doors()
    with scripted(doors.serve) as bot:
        written: dict[str, Any] = json.loads(policy(f"http://127.0.0.1:{bot.port}", timeout="2s"))
        written["upstream"].update({"connections": 2, "queue": 3})
        file = tmp_path / "policy.yaml"
        file.write_text(json.dumps(written))
        with serving(file) as gate:
            yield gate, bot, doors


def test_a_full_queue(small: tuple[Gate, ScriptedBot, Doors]) -> None:
    """Two requests at the bot, three that wait for their turn and get it in order; the sixth is told at once to come back."""
    gate, bot, doors = small
    with ExitStack() as stack:
        lines = []
        for number in range(5):
            lines.append(stack.enter_context(Line(gate)).send(request(b"%d" % number)))
            until(lambda: gate.metric("hookgate_in_flight_requests") == len(lines), "the request to be under way")
        found = stack.enter_context(Line(gate)).ask(request())
        assert found.status == 503 and int(found.field(b"Retry-After") or 0) >= 1
        assert len(bot.talks) == 2
        for _ in lines:
            doors.open.release()
        assert [line.answer().body for line in lines] == [b"%d" % number for number in range(5)]
        until(lambda: len(bot.requests) == 5, "all of them at the bot")
        assert len(bot.talks) == 2


def test_waiting_in_vain(small: tuple[Gate, ScriptedBot, Doors]) -> None:
    """While the bot hangs, who has it gets 504 in time, and who waits for it an answer as well; the next is served again."""
    gate, _, doors = small
    with ExitStack() as stack:
        lines = [stack.enter_context(Line(gate)).send(request()) for _ in range(5)]
        assert {line.answer().status for line in lines} <= {503, 504}
    for _ in range(100):
        doors.open.release()
    with Line(gate) as line:
        assert line.ask(request(b"again")).body == b"again"


def test_the_wait_has_its_own_end(tmp_path: Path) -> None:
    """Who has waited for its turn as long as the policy allows is told to come back, long before the bot's time is up."""
    doors = Doors()
    with scripted(doors.serve) as bot:
        written: dict[str, Any] = json.loads(policy(f"http://127.0.0.1:{bot.port}", timeout="2m"))
        written["upstream"].update({"connections": 1, "queue_timeout": "200ms"})
        file = tmp_path / "policy.yaml"
        file.write_text(json.dumps(written))
        with serving(file) as gate, Line(gate) as first, Line(gate) as waiting:
            first.send(request(b"first"))
            until(lambda: bot.requests, "the first request at the bot")
            found = waiting.ask(request(b"waits"))
            assert found.status == 503 and int(found.field(b"Retry-After") or 0) >= 1
            doors.open.release()
            assert first.answer().body == b"first"
            assert len(bot.requests) == 1


def test_all_of_it_ends_before_the_senders_patience(tmp_path: Path) -> None:
    """By default turn, opening and answer take less than a minute together, and a claim's lease outlives them."""
    file = tmp_path / "policy.yaml"
    file.write_text(policy("http://127.0.0.1:1", timeout="30s"))
    loaded = read_policy(file, {}).policy
    assert loaded.upstream is not None
    assert loaded.upstream.whole + 5.0 <= 60.0
    assert lease(loaded) > loaded.upstream.whole


def test_who_has_left_waits_no_more(small: tuple[Gate, ScriptedBot, Doors]) -> None:
    """A sender that hangs up while it waits for its turn makes room in the queue, and the bot never sees its request."""
    gate, bot, doors = small
    with ExitStack() as stack:
        lines = [stack.enter_context(Line(gate)).send(request(b"%d" % number)) for number in range(2)]
        until(lambda: len(bot.requests) == 2, "both with the bot")
        for ending in (struct.pack("ii", 1, 0), None, None):  # one resets, two close
            with Line(gate) as line:
                line.send(request(b"left"))
                until(lambda: gate.metric("hookgate_in_flight_requests") > 2, "the request to wait")
                if ending:
                    line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ending)
            until(lambda: gate.metric("hookgate_in_flight_requests") == 2, "the request to be dropped")
        late = stack.enter_context(Line(gate)).send(request(b"stays"))
        for _ in range(3):
            doors.open.release()
        assert late.answer().body == b"stays"
        assert sorted(line.answer().body for line in lines) == [b"0", b"1"]
        assert not any(one.endswith(b"left") for one in bot.requests)
        assert gate.metric("hookgate_requests_total", reason="overloaded") == 3


def test_one_after_the_other_shares_a_connection(tmp_path: Path) -> None:
    """Requests that do not overlap need one connection to the bot, whoever sends them."""
    with staged(tmp_path, always(OK)) as stage:
        for _ in range(30):
            with Line(stage.gate) as line:
                assert line.ask(request()).status == 200
        assert len(stage.bot.talks) == 1


def test_no_longer_than_the_bot_says(tmp_path: Path) -> None:
    """A bot that says how long it keeps a connection is believed: one that keeps it for a second gets a new one each time."""
    answer = b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1, max=100\r\nContent-Length: 0\r\n\r\n"
    with staged(tmp_path, always(answer)) as stage, Line(stage.gate) as line:
        for _ in range(5):
            assert line.ask(request()).status == 200
            time.sleep(0.001)
        assert len(stage.bot.talks) == 5


def descriptors(stage: Stage) -> int:
    """How many files and sockets the gate has open."""
    return len(list(Path(f"/proc/{stage.gate.process.pid}/fd").iterdir()))


def test_nothing_is_left_open(tmp_path: Path) -> None:
    """Senders that reset at any moment, in head, body or answer, leave no socket behind, on neither side."""

    def long(talk: Talk) -> None:
        while talk.request() is not None:
            talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + b"x" * 2_000_000)

    with staged(tmp_path, long, limits={"connections_per_client": 1000}) as stage:
        with Line(stage.gate) as line:
            assert len(line.ask(request()).body) == 2_000_000
        until(lambda: stage.gate.metric("hookgate_connections") == 0, "the connection to end")
        before = descriptors(stage)
        raw = request(b"x" * 100)
        for number in range(300):
            with Line(stage.gate) as line:
                line.send(raw[: (1, 50, -1, len(raw))[number % 4]])
                if number % 8 == 3:
                    line.sock.recv(1)
                line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        until(lambda: stage.gate.metric("hookgate_connections") == 0, "the connections to end")
        until(lambda: descriptors(stage) <= before + 2, "the sockets to be closed")
        assert stage.gate.metric("hookgate_in_flight_requests") == 0
        assert stage.gate.stop() == 0
