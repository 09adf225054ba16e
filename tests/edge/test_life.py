"""Under load: a drain that loses nothing, reloads that nobody feels, a bot that dies and comes back."""

import hashlib
import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.edge.lines import Line, chunked, request
from tests.edge.stages import policy, staged, update
from tests.gates import Gate, free_port, serving, until
from tests.upstream.bots import OK, ScriptedBot, Talk, always

CLIENTS = 8
RELOADS = 200 if os.environ.get("HOOKGATE_LONG") else 30


class Hammer(threading.Thread):
    """Sends one request after the other on one connection until told, or until the gate says that it closes."""

    def __init__(self, gate: Gate, make: Callable[[], bytes], *, reconnects: bool) -> None:
        super().__init__(daemon=True)
        self._gate = gate
        self._make = make
        self._reconnects = reconnects
        self.statuses: list[int] = []
        self.error: Exception | None = None
        self.enough = threading.Event()

    def run(self) -> None:
        """Hammer."""
        try:
            while not self.enough.is_set():
                with Line(self._gate) as line:
                    self._hammer(line)
                if not self._reconnects:
                    break
        except Exception as error:
            self.error = error

    def _hammer(self, line: Line) -> None:
        while not self.enough.is_set():
            found = line.ask(self._make())
            self.statuses.append(found.status)
            if found.field(b"Connection") == b"close":
                break


@contextmanager
def hammers(gate: Gate, make: Callable[[], bytes], *, reconnects: bool = True) -> Iterator[list[Hammer]]:
    """Some of them at work; at the end each has stopped, and none met an error."""
    made = [Hammer(gate, make, reconnects=reconnects) for _ in range(CLIENTS)]
    for one in made:
        one.start()
    until(lambda: all(one.statuses or one.error for one in made), "the load to begin")
    yield made
    for one in made:
        one.enough.set()
    for one in made:
        one.join(30)
    assert [one.error for one in made if one.error] == []


def in_force(gate: Gate, text: str) -> None:
    """Wait until the gate serves this very policy."""
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    until(lambda: gate.metric("hookgate_policy_info", sha256=sha256), "the new policy")


def soon(talk: Talk) -> None:
    """Answer after a moment, so that requests are under way."""
    while talk.request() is not None:
        time.sleep(0.005)
        talk.send(OK)


@pytest.mark.parametrize("delay", ["0s", "300ms"])
def test_a_drain_loses_nothing(tmp_path: Path, delay: str) -> None:
    """SIGTERM under load: every request that was sent gets its whole answer, the last one says close, and the exit code is 0."""
    with staged(tmp_path, soon, limits={"drain_delay": delay}) as stage, ExitStack() as stack:
        late = stack.enter_context(Line(stage.gate))
        uploading = request(b"x" * 50_000)
        late.send(uploading[:-10])
        unused = [stack.enter_context(Line(stage.gate)) for _ in range(3)]
        assert {line.ask(request()).status for line in unused} == {200}
        with hammers(stage.gate, request, reconnects=False) as working:
            stage.gate.process.send_signal(signal.SIGTERM)
            until(lambda: "draining" in stage.gate.output(), "the drain to begin")
            late.send(uploading[-10:])
            assert late.answer().status == 200
            assert stage.gate.stop() == 0
        assert {status for one in working for status in one.statuses} == {200}
        assert all(line.closed() for line in unused)
        # Nothing was forwarded that got no answer.
        answered = sum(len(one.statuses) for one in working) + 1 + len(unused)
        assert len(stage.bot.requests) == answered


def test_a_drain_ends_in_time(tmp_path: Path) -> None:
    """A request that does not end is given up at the drain's deadline, and the exit code says so."""
    with staged(tmp_path, Talk.hold, limits={"drain_timeout": "500ms"}, timeout="60s") as stage, Line(stage.gate) as line:
        line.send(request())
        until(lambda: stage.gate.metric("hookgate_in_flight_requests") == 1, "the request to be under way")
        assert stage.gate.stop() == 1


def test_reloads_under_load(tmp_path: Path) -> None:
    """Reload after reload, each to another pool towards the bot and every tenth of a broken policy: no request fails."""
    with staged(tmp_path, always(OK), log={"level": "error"}) as stage:
        text = stage.gate.policy.read_text()
        with hammers(stage.gate, lambda: request() if time.monotonic_ns() % 5 else chunked((b"{}",))) as working:
            for number in range(1, RELOADS + 1):
                broken = number % 10 == 0
                wanted = text.replace('"timeout": "10s"', f'"timeout": "{10000 + number}ms"')
                stage.gate.policy.write_text(wanted.replace('"routes"', '"ruotes"') if broken else wanted)
                stage.gate.process.send_signal(signal.SIGHUP)
                if broken:
                    until(lambda: not stage.gate.metric("hookgate_policy_last_reload_successful"), "the fault to be noticed")
                else:
                    in_force(stage.gate, wanted)
            done = sum(len(one.statuses) for one in working)
        assert done > 100
        assert {status for one in working for status in one.statuses} == {200}
        assert stage.gate.stop() == 0


def test_a_changed_file_is_taken(tmp_path: Path) -> None:
    """A changed policy is in force soon without a signal; a broken one leaves the old in force, whole, and drops the gauge."""
    with staged(tmp_path, always(OK)) as stage, Line(stage.gate) as line:
        text = stage.gate.policy.read_text()
        moved = request(path=b"/moved")
        assert (line.ask(request()).status, line.ask(moved).status) == (200, 404)
        stage.gate.policy.write_text(text.replace('"/w"', '"/moved"'))
        until(lambda: line.ask(moved).status == 200, "the new policy")
        assert line.ask(request()).status == 404
        stage.gate.policy.write_text(text.replace('"signature"', '"singature"'))
        until(lambda: not stage.gate.metric("hookgate_policy_last_reload_successful"), "the fault to be noticed")
        assert (line.ask(request()).status, line.ask(moved).status) == (404, 200)
        assert line.ask(moved.replace(b"0123", b"3210")).status == 401
        until(lambda: "singature" in stage.gate.output(), "the fault to be told")
        stage.gate.policy.write_text(text)
        until(lambda: line.ask(request()).status == 200, "the old policy again")
        assert stage.gate.metric("hookgate_policy_last_reload_successful") == 1


def test_requests_end_with_the_policy_they_began_with(tmp_path: Path) -> None:
    """A request whose head came under one policy is judged and forwarded by it, though another has come since."""
    with staged(tmp_path, always(OK)) as stage, Line(stage.gate) as line:
        text = stage.gate.policy.read_text()
        raw = request(b"x" * 1000)
        line.send(raw[:-1])
        until(lambda: stage.gate.metric("hookgate_in_flight_requests") == 1, "the body to be awaited")
        changed = text.replace('"/w"', '"/moved"').replace(str(stage.bot.port), str(free_port()))
        stage.gate.policy.write_text(changed)
        in_force(stage.gate, changed)
        assert line.send(raw[-1:]).answer().status == 200
        assert line.ask(raw).status == 404


def test_a_bot_that_dies_and_comes_back(tmp_path: Path) -> None:
    """While the bot is killed and restarted, senders that try again get 200, 502 or 504 alone, and every update is delivered."""
    port = free_port()
    file = tmp_path / "policy.yaml"
    file.write_text(policy(f"http://127.0.0.1:{port}", timeout="1s", log={"level": "error"}))
    acknowledged: set[int] = set()

    class Sender(Hammer):
        """Sends each update until it is taken, as Telegram does."""

        def _hammer(self, line: Line) -> None:
            while not self.enough.is_set():
                raw = update()
                while (status := line.ask(raw).status) != 200:
                    self.statuses.append(status)
                    time.sleep(0.005)
                self.statuses.append(200)
                acknowledged.add(json.loads(raw.partition(b"\r\n\r\n")[2])["update_id"])

    with serving(file) as gate:
        bots = [ScriptedBot(soon, port=port)]
        senders = [Sender(gate, request, reconnects=False) for _ in range(CLIENTS)]

        def failed() -> int:
            return sum(one.statuses.count(502) for one in senders)

        def noticed(before: int) -> bool:
            return failed() > before

        for one in senders:
            one.start()
        for _ in range(5):
            until(lambda: len(bots[-1].requests) > 40, "the bot to be busy")
            before = failed()
            bots[-1].close()
            until(partial(noticed, before), "the senders to notice")
            bots.append(ScriptedBot(soon, port=port))
        until(lambda: len(bots[-1].requests) > 40, "the bot to be busy again")
        for one in senders:
            one.enough.set()
        for one in senders:
            one.join(30)
        bots[-1].close()
    said = b"".join(raw for bot in bots for raw in bot.requests)
    delivered = {int(number) for number in re.findall(rb'"update_id":(\d+)', said)}
    assert [one.error for one in senders if one.error] == []
    assert {status for one in senders for status in one.statuses} <= {200, 502, 504}
    assert len(acknowledged) > 100
    assert acknowledged <= delivered
