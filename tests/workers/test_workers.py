"""Several workers are one gate: started, replaced, told and ended together, and nothing of it costs a request."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge.lines import Line
from tests.edge.stages import update
from tests.gates import PATIENCE, ROOT, Gate, free_port, serving, status, until
from tests.upstream.bots import OK, ScriptedBot, Talk, always, scripted
from tests.workers.crews import alive, children, crew, of_workers, sending, sockets, workers


class Quiet:
    """A bot that can be told to say nothing for a while."""

    def __init__(self) -> None:
        self.silent = False

    def __call__(self, talk: Talk) -> None:
        while talk.request() is not None:
            if self.silent:
                talk.hold()
            talk.send(OK)


BOT = Quiet()
GONE = b"GET /w HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def gang(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gate, ScriptedBot]]:
    """Three workers that several tests share; each leaves the policy and the switch as it found them."""
    with crew(tmp_path_factory.mktemp("gang"), 3, BOT) as made:
        yield made


def successor(gate: Gate, victim: int) -> None:
    """Wait until somebody else sits in this worker's place, and serves."""
    until(lambda: (len(workers(gate)) == 3 and victim not in workers(gate)) or None, "a successor")
    until(lambda: gate.metric("hookgate_workers") == 3 or None, "the successor to serve")


def total(gate: Gate, **labels: str) -> float:
    """Requests that the gate has counted."""
    return gate.metric("hookgate_requests_total", **labels)


def test_all_of_them_serve_and_their_numbers_are_sums(gang: tuple[Gate, ScriptedBot]) -> None:
    """Connections are spread evenly over the workers, and the metrics are those of one gate."""
    gate, _ = gang
    until(lambda: gate.metric("hookgate_connections") == 0 or None, "earlier tests' connections to end")
    before = total(gate, route="telegram", outcome="forwarded")
    lines = [Line(gate) for _ in range(30)]
    try:
        served = Counter[str]()
        for line in lines:
            found = line.ask(update())
            assert found.status == 200
        assert total(gate, route="telegram", outcome="forwarded") == before + 30
        assert gate.metric("hookgate_connections") == 30
        assert gate.get("/metrics").count("\nhookgate_build_info{") == 1
        for pid in workers(gate):
            served[str(pid)] = sockets(pid)
        assert len(served) == 3
        assert max(served.values()) - min(served.values()) <= 6, served
    finally:
        for line in lines:
            line.sock.close()
    assert gate.get("/readyz") == "ready\n"
    assert "connections" in gate.get("/")


def test_a_killed_worker_is_replaced_and_its_numbers_stay(gang: tuple[Gate, ScriptedBot]) -> None:
    """kill -9 of a worker under load: another one takes its place, what it has told stays counted, the others go on."""
    gate, _ = gang
    with sending(gate) as senders:
        senders.going()
        before = total(gate)
        victim = workers(gate)[0]
        os.kill(victim, signal.SIGKILL)
        successor(gate, victim)
        until(
            lambda: any("worker has ended: killed by SIGKILL" in line.get("message", "") for line in gate.lines()) or None,
            "a word",
        )
        senders.going(100)
        assert total(gate) >= before
        assert set(senders.statuses) == {200}
        assert senders.broken <= 4
    # Nobody asks any more: whatever is missing now was the dead one's.
    before, victim = total(gate), workers(gate)[0]
    os.kill(victim, signal.SIGKILL)
    successor(gate, victim)
    assert total(gate) == before


def test_what_a_killed_worker_had_at_the_bot_is_in_doubt(gang: tuple[Gate, ScriptedBot]) -> None:
    """A repeat of what was with the bot when its worker died is forwarded once more and marked, and counted."""
    gate, bot = gang
    counted = gate.metric("hookgate_ambiguous_total", route="telegram")
    ours = set(workers(gate))
    BOT.silent = True
    with Line(gate) as line:
        line.send(update(5))
        until(lambda: b'"update_id":5,' in b"".join(bot.requests) or None, "the update to reach the bot")
        BOT.silent = False
        for pid in ours:
            os.kill(pid, signal.SIGKILL)
    until(lambda: (len(set(workers(gate)) - ours) == 3) or None, "successors")
    assert status(gate.send(update(5, b"Connection: close\r\n"))) == 200
    assert status(gate.send(update(5, b"Connection: close\r\n"))) == 200
    seen = [b"Hookgate-Redelivery: maybe" in one for one in bot.requests if b'"update_id":5,' in one]
    assert sorted(seen) == [False, True]
    until(lambda: gate.metric("hookgate_workers") == 3 or None, "the successors to serve")
    assert gate.metric("hookgate_ambiguous_total", route="telegram") == counted + 1


def switch(gate: Gate, *words: str) -> str:
    """Turn the switch from the command line."""
    command = [sys.executable, "-m", "proxy", "mode", str(gate.policy), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=True)  # noqa: S603 - our own
    return done.stdout


def test_the_switch_turns_on_all_of_them(gang: tuple[Gate, ScriptedBot]) -> None:
    """Once the switch is turned every worker goes by it, also one that is started later; turning it costs no request."""
    forged = update(1).replace(b"a-secret", b"b-secret")
    gate, _ = gang
    with sending(gate) as senders:
        lines = [Line(gate) for _ in range(12)]
        assert {line.ask(forged).status for line in lines} == {401}
        senders.going()
        assert "telegram: report" in switch(gate, "report")
        # From here on, without waiting: the command has ended, so all of them know.
        assert {line.ask(forged).status for line in lines} == {200}
        assert gate.metric("hookgate_switch_engaged") == 1
        for line in lines:
            line.sock.close()
        victim = workers(gate)[0]
        os.kill(victim, signal.SIGKILL)
        successor(gate, victim)
        until(lambda: gate.get("/readyz") == "ready\n" or None, "readiness")
        lines = [Line(gate) for _ in range(12)]
        assert {line.ask(forged).status for line in lines} == {200}
        switch(gate, "policy")
        assert {line.ask(forged).status for line in lines} == {401}
        for line in lines:
            line.sock.close()
        assert set(senders.statuses) == {200}


def test_a_policy_is_taken_by_all_or_by_none(gang: tuple[Gate, ScriptedBot]) -> None:
    """Reloads under load: an unsound policy changes nothing, a sound one counts on every worker at once; no request fails."""
    gate, _ = gang
    with sending(gate) as senders:
        sound = json.loads(gate.policy.read_text())
        gate.policy.write_text("version: 2\n")
        until(lambda: gate.metric("hookgate_policy_last_reload_successful") == 0 or None, "the refusal")
        victim = workers(gate)[0]
        os.kill(victim, signal.SIGKILL)
        successor(gate, victim)  # it has the old policy
        senders.going()
        former = json.dumps(sound)
        sound["routes"][0]["path"] = "/elsewhere"
        gate.policy.write_text(json.dumps(sound))
        until(lambda: gate.metric("hookgate_policy_last_reload_successful") == 1 or None, "the policy to be taken")
        lines = [Line(gate) for _ in range(12)]
        for line in lines:
            assert line.ask(GONE).status == 404
            line.sock.close()
        gate.policy.write_text(former)
        gate.process.send_signal(signal.SIGHUP)
        senders.going()
        assert set(senders.statuses) == {200}
        until(lambda: gate.send(GONE).startswith(b"HTTP/1.1 405") or None, "the former policy to be back")


def test_the_end_loses_nothing(tmp_path: Path) -> None:
    """SIGTERM under load: whatever was asked is answered, the parent ends with 0, and no worker outlives it."""

    def slow(talk: Talk) -> None:
        while talk.request() is not None:
            time.sleep(0.02)
            talk.send(OK)

    with crew(tmp_path, 3, slow, limits={"drain_delay": "200ms"}) as (gate, bot), sending(gate, 8) as senders:
        senders.going()
        ours = workers(gate)
        gate.process.send_signal(signal.SIGTERM)
        until(lambda: "not ready" in _page(gate) or None, "readiness to fall")
        assert gate.process.wait(PATIENCE) == 0
        senders.stop()
        assert set(senders.statuses) == {200}
        assert Counter(bot.requests).most_common(1)[0][1] == 1
        assert len(bot.requests) == len(senders.statuses)
        assert not any(map(alive, ours))


def _page(gate: Gate) -> str:
    with socket.create_connection(("127.0.0.1", gate.observe), timeout=PATIENCE) as sock:
        sock.sendall(b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        return b"".join(iter(lambda: sock.recv(65536), b"")).decode()


def test_no_worker_outlives_a_parent_that_was_killed(tmp_path: Path) -> None:
    """When the parent is killed its workers let requests end and end too; the next gate finds the address free."""
    with crew(tmp_path, 2, always(OK), listen={"address": f"127.0.0.1:{free_port()}"}) as (gate, _):
        ours = workers(gate)
        assert len(ours) == 2
        gate.stop(signal.SIGKILL)
        until(lambda: not any(map(alive, ours)) or None, "the workers to end")
        with serving(gate.policy) as second:
            assert status(second.send(update(9, b"Connection: close\r\n"))) == 200


def test_workers_that_cannot_live_end_the_gate(tmp_path: Path) -> None:
    """Workers that die as soon as they are started: the gate gives up with a sentence and exit code 1, and goes on until then."""
    with crew(tmp_path, 2, always(OK)) as (gate, _):
        (tmp_path / "claims.db").chmod(0o600)
        deadline = time.monotonic() + PATIENCE
        while gate.process.poll() is None and time.monotonic() < deadline:
            for pid in children(gate.process.pid):  # what they are forked from, too
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        assert gate.process.wait(PATIENCE) == 1
        why = r"workers die as soon as they are started \((killed by SIGKILL|none could be made) the last time\)"
        assert re.search(why, gate.output())
        assert "Traceback" not in gate.output()


def test_a_start_that_cannot_be_is_told_once(tmp_path: Path) -> None:
    """A store that no worker can open ends the start with the store's own sentence and exit code 1; nobody is left."""
    (tmp_path / "claims.db").write_text("this is no database, and long enough to be told from an empty file" * 10)
    file = tmp_path / "policy.yaml"
    file.write_text(of_workers(2, "http://127.0.0.1:1"))
    command = [sys.executable, "-m", "proxy", "serve", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE * 2, check=False)  # noqa: S603 - our own
    assert done.returncode == 1
    assert "move the file away" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_the_number_of_workers_can_be_given(tmp_path: Path) -> None:
    """--workers overrides the policy either way, for the checks too: memory: is refused with what to use instead."""
    file = tmp_path / "policy.yaml"
    with scripted(always(OK)) as bot:
        text = json.loads(of_workers(1, f"http://127.0.0.1:{bot.port}"))
        file.write_text(json.dumps({**text, "store": {"url": "memory:"}}))
        command = [sys.executable, "-m", "proxy", "serve", str(file), "--workers"]
        done = subprocess.run([*command, "2"], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)  # noqa: S603 - our own
        assert done.returncode == 78
        assert re.search(r"store\.url: memory: is not shared.*sqlite:PATH or redis://", done.stderr)
        done = subprocess.run([*command, "0"], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)  # noqa: S603 - our own
        assert done.returncode == 2


def test_one_worker_is_one_process(tmp_path: Path) -> None:
    """A gate of one worker starts no other process."""
    with crew(tmp_path, 1, always(OK)) as (gate, _):
        assert children(gate.process.pid) == []


def test_no_secret_stands_in_an_argument(gang: tuple[Gate, ScriptedBot]) -> None:
    """What a worker needs comes over a socket that nobody else holds: its arguments and its log name no secret and no path."""
    gate, _ = gang
    for pid in workers(gate):
        told = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert b"a-secret" not in told
        assert b"/telegram" not in told
    assert "a-secret" not in gate.output()


def test_a_worker_that_is_told_to_leave(gang: tuple[Gate, ScriptedBot]) -> None:
    """SIGTERM to one worker recycles it: its requests end, its successor serves, no request is lost."""
    gate, _ = gang
    with sending(gate) as senders:
        senders.going()
        victim = workers(gate)[0]
        os.kill(victim, signal.SIGTERM)
        successor(gate, victim)
        senders.going()
        assert senders.broken == 0
        assert set(senders.statuses) == {200}


def test_signals_for_the_group_are_the_parents(gang: tuple[Gate, ScriptedBot]) -> None:
    """A terminal's Ctrl-C or hang-up reaches every process of the group: workers leave it to their parent."""
    gate, _ = gang
    ours = workers(gate)
    for pid in ours:
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGHUP)
    assert status(gate.send(update(0, b"Connection: close\r\n"))) == 200
    assert workers(gate) == ours
