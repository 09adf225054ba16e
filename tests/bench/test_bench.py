"""The bench itself: it still runs, it times nothing that does not do its work, and it leaves nothing out and nothing behind.

No figure is judged here: a busy machine must not fail a test.
"""

import dataclasses
import json
import re
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.gates import PATIENCE

from .__main__ import QUICK, run
from .answers import ANSWER, delivered
from .errors import BenchError
from .peers import PEERS, Peer, Values
from .processes import ROOT, python
from .update import BODY_BYTES, FIRST_UPDATE_ID, Sender

PLAIN = next(peer for peer in PEERS if peer.name == "plain")


def _marked(mark: str) -> list[int]:
    """Processes that were born with ``mark`` in their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in entry.read_text(errors="replace"):
                found.append(int(entry.parent.name))
        except OSError:
            continue  # ended meanwhile, or not ours to read
    return found


def test_the_bench_still_runs(tmp_path: Path) -> None:
    """The command behind `make bench` measures, prints a table and writes the figures."""
    figures = tmp_path / "figures.json"
    command = [sys.executable, "-m", "tests.bench", "--quick", "--only", "hookgate,plain", "--json", str(figures)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=4 * PATIENCE, check=False)  # noqa: S603 - ours
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "plain aiohttp proxy  HMAC" in ended.stdout
    assert re.search(r"^Hookgate, (plain|compiled) +whole Telegram policy ", ended.stdout, re.MULTILINE)
    found = json.loads(figures.read_text())
    assert len(found["costs"]["plain"]["microseconds"]) == QUICK.rounds
    assert found["workers"].keys() == {"1", "2", "4"}
    assert len([goal for goal in found["goals"] if goal["met"] is not None]) == 9, "two of each kind, one peer's"


def test_a_run_leaves_no_process_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bot, proxies and generators have ended when a run has."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv("BENCH_RUN", mark)
    seen = []

    def proxy_command(values: Values) -> list[str]:
        seen.extend(_marked(mark))
        return PLAIN.command(values)

    report = run(QUICK._replace(requests=20), (dataclasses.replace(PLAIN, command=proxy_command),))
    assert not report.failed
    assert len(seen) == 1, "the bot runs while the proxy is started"
    assert not _marked(mark)


def test_a_proxy_that_checks_nothing_is_not_timed_as_one_that_does() -> None:
    """A peer that claims a check and lets a forged request through fails, by name and with the reason."""
    careless = Peer("plain", "careless", "HMAC", (), lambda values: python("bot", values["PORT"]))
    report = run(QUICK, (careless,))
    assert "a forged request got 'HTTP/1.1 200 OK'" in report.failed["plain"]
    assert not report.costs


def test_a_proxy_that_does_not_start_is_named() -> None:
    """What could not be measured stands in the report with its last words."""
    broken = dataclasses.replace(PLAIN, command=lambda _: python("no_such_module"))
    assert "failed: plain aiohttp proxy: ended with 1: " in run(QUICK, (broken,)).text()


def test_a_proxy_that_is_not_installed_is_named() -> None:
    """A missing peer stands in the report, with the way to get it."""
    absent = dataclasses.replace(PLAIN, present=lambda: False, install="get it")
    assert "missing: plain aiohttp proxy (get it)" in run(QUICK, (absent,)).text()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 11\r\n\r\n{"ok":true}',
        b"",
    ],
    ids=["refused", "acknowledged-duplicate", "failed-with-the-same-body", "closed"],
)
def test_only_the_bots_own_answer_counts(answer: bytes) -> None:
    """An answer that did not come from the bot, or says that it failed, stops the measurement."""
    with pytest.raises(BenchError):
        delivered(answer)


def test_an_answer_counts_once_it_is_whole() -> None:
    """However an answer is cut, it counts with its last byte and not before."""
    assert not any(delivered(ANSWER[:size]) for size in range(1, len(ANSWER)))
    assert delivered(ANSWER)


def test_every_timed_request_is_a_new_update_of_one_kilobyte() -> None:
    """Bodies are JSON of exactly 1024 bytes, with rising update ids, so replay protection lets each of them through once."""
    requests = Sender("a secret of the test").requests(FIRST_UPDATE_ID, 3)
    bodies = [request.partition(b"\r\n\r\n")[2] for request in requests]
    assert {len(body) for body in bodies} == {BODY_BYTES}
    assert [json.loads(body)["update_id"] for body in bodies] == [FIRST_UPDATE_ID, FIRST_UPDATE_ID + 1, FIRST_UPDATE_ID + 2]
