"""The log: one line an exchange with the documented fields, damped with counts, and a sink that nobody ever waits for."""

import errno
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from proxy.observe.log import ExchangeLog, Sink
from proxy.observe.service_log import ServiceLog
from proxy.verdict import Cause, Finding, Mode, Outcome, Reason, RuleName
from tests.gates import until
from tests.observe.exchanges import exchange
from tests.pipeline.judging import NOW, SECRET

FIELDS = [
    "time",
    "level",
    "event",
    "request_id",
    "route",
    "client",
    "peer",
    "outcome",
    "reason",
    "findings",
    "secret",
    "cause",
    "status",
    "bytes",
    "update_type",
    "verification_ms",
    "upstream_ms",
]
"""As documented, in this order."""

LEVELS = {"forwarded": "info", "answered": "info", "duplicate": "info", "refused": "warning", "failed": "error"}
"""How loud each outcome is."""


class Lines:
    """A sink into a file, and what has come out of it."""

    def __init__(self, file: Path, level: str) -> None:
        self._file = file
        self._descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.sink = Sink(self._descriptor)
        self.log = ExchangeLog(self.sink, level)

    def close(self) -> list[dict[str, Any]]:
        """Write the rest; every line as JSON."""
        self.sink.close()
        text = self._file.read_text()
        assert not text or text.endswith("\n")
        return [json.loads(line) for line in text.split("\n")[:-1]]


@pytest.fixture
def lines(tmp_path: Path) -> Callable[..., Lines]:
    """Makes logs."""
    return lambda level="info": Lines(tmp_path / "log", level)


Made = Callable[..., Lines]


def test_fields(lines: Made) -> None:
    """One line has exactly the documented fields, with the exchange's facts in them."""
    made = lines()
    found = (
        Finding(RuleName.IP, Reason.IP_DENIED, Mode.REPORT),
        Finding(RuleName.SIGNATURE, Reason.SIGNATURE_MISMATCH, Mode.ENFORCE),
    )
    given = exchange(
        Reason.SIGNATURE_MISMATCH,
        arrived=NOW + 0.25,
        findings=found,
        cause=Cause.HEX_CASE,
        client="2001:db8::1",
        verification=0.0000424,
        upstream=0.0,
    )
    made.log.observe(given)
    (line,) = made.close()
    assert list(line) == FIELDS
    assert line == {
        "time": "2026-01-01T00:00:00.250Z",
        "level": "warning",
        "event": "exchange",
        "request_id": "0123456789abcdef",
        "route": "bot",
        "client": "2001:db8::1",
        "peer": "198.51.100.7",
        "outcome": "refused",
        "reason": "signature_mismatch",
        "findings": ["ip:ip_denied:report", "signature:signature_mismatch:enforce"],
        "secret": "",
        "cause": "hex_case",
        "status": 401,
        "bytes": 100,
        "update_type": "",
        "verification_ms": 0.042,
        "upstream_ms": 0.0,
    }


def test_a_forwarded_one(lines: Made) -> None:
    """A forwarded exchange tells the secret's id, the update's type and the times; a cause belongs to a mismatch alone."""
    made = lines()
    made.log.observe(exchange(secret="2026-11", update_type="callback_query", upstream=0.0123456))  # noqa: S106 - an id
    (line,) = made.close()
    assert (line["level"], line["outcome"], line["reason"], line["status"]) == ("info", "forwarded", "none", 200)
    assert (line["secret"], line["update_type"], line["upstream_ms"], line["cause"]) == ("2026-11", "callback_query", 12.346, "")


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_is_a_line(reason: Reason, lines: Made) -> None:
    """Whatever the reason and the findings, the line is JSON with the words of the closed lists."""
    made = lines()
    made.log.observe(
        exchange(reason, findings=tuple(Finding(rule, reason, mode) for rule in RuleName for mode in Mode), route="-")
    )
    (line,) = made.close()
    assert (line["reason"], line["route"]) == (reason.value, "-")
    assert len(line["findings"]) == len(RuleName) * len(Mode)
    assert line["level"] == LEVELS[line["outcome"]]


@pytest.mark.parametrize(("level", "told"), [("debug", 4), ("info", 4), ("warning", 2), ("error", 1)])
def test_level(level: str, told: int, lines: Made) -> None:
    """What is below the policy's level is not written, and a reload's level holds from the next exchange on."""
    made = lines(level)
    four = [exchange(reason) for reason in (Reason.NONE, Reason.REPLAY_DUPLICATE, Reason.IP_DENIED, Reason.UPSTREAM_TIMEOUT)]
    for one in four:
        made.log.observe(one)
    made.log.level = "error"
    for one in four:
        made.log.observe(one)
    assert len(made.close()) == told + 1


def damped(found: list[dict[str, Any]]) -> dict[tuple[str, str], int]:
    """How many lines were left out, by route and reason."""
    counts: dict[tuple[str, str], int] = {}
    for line in found:
        if line["event"] == "exchanges_damped":
            kind = line["route"], line["reason"]
            counts[kind] = counts.get(kind, 0) + line["count"]
    return counts


@pytest.mark.parametrize("reason", [Reason.SIGNATURE_MISMATCH, Reason.OVERLOADED])
def test_damped(reason: Reason, lines: Made) -> None:
    """Of a flood ten lines a second of each kind are written, and the rest is told as a count: nothing is lost from the sum."""
    made = lines()
    for second in range(3):
        for number in range(1000):
            made.log.observe(exchange(reason, arrived=NOW + second + number / 1000))
            if number % 100 == 0:
                made.log.observe(exchange(Reason.IP_DENIED, route="other", arrived=NOW + second + number / 1000))
    made.log.tick()
    found = made.close()
    written = [line for line in found if line["event"] == "exchange"]
    assert len([line for line in written if line["reason"] == reason]) == 30
    assert len([line for line in written if line["route"] == "other"]) == 30
    assert damped(found) == {("bot", reason.value): 2970}
    assert all(re.fullmatch(r"2026-01-01T00:00:0[0-2]\.\d{3}Z", line["time"]) for line in found)


def test_damped_at_the_end(lines: Made) -> None:
    """What was left out in the very second in which the log ends is told too."""
    made = lines()
    now = time.time()
    for _ in range(300):
        made.log.observe(exchange(Reason.IP_DENIED, arrived=now))
    made.log.close()
    assert damped(made.close()) == {("bot", "ip_denied"): 290}


def test_damped_beside_slow_ones(lines: Made) -> None:
    """Exchanges that began long ago and end during a flood neither open it up nor get a wrong time."""
    made = lines()
    for number in range(1000):
        made.log.observe(exchange(Reason.IP_DENIED, arrived=NOW + 10))
        made.log.observe(exchange(Reason.NONE, arrived=NOW + number % 10))
    made.log.tick()
    found = made.close()
    assert len([line for line in found if line.get("outcome") == "refused"]) == 10
    assert damped(found) == {("bot", "ip_denied"): 990}
    assert [line["time"] for line in found if line.get("outcome") == "forwarded"][3] == "2026-01-01T00:00:03.000Z"


def test_forwarded_ones_are_never_damped(lines: Made) -> None:
    """What was forwarded has its line, always."""
    made = lines()
    for _ in range(500):
        made.log.observe(exchange())
    assert len(made.close()) == 500


def test_a_clock_that_was_set_back(lines: Made) -> None:
    """After the clock was set back, times are right and damping goes on."""
    made = lines()
    now = time.time()
    made.log.observe(exchange(arrived=now + 3600))
    made.log.tick()
    for _ in range(20):
        made.log.observe(exchange(Reason.IP_DENIED, arrived=now))
    made.log._turn(int(now) + 1)
    found = made.close()
    assert len(found) == 1 + 10 + 1
    assert datetime.fromisoformat(found[1]["time"]).timestamp() == pytest.approx(now, abs=0.01)


# -- the sink


@contextmanager
def pipe(*, blocking: bool = True) -> Iterator[tuple[int, int]]:
    """A pipe whose reader does nothing by itself."""
    reader, writer = os.pipe()
    os.set_blocking(writer, blocking)
    try:
        yield reader, writer
    finally:
        os.close(reader)
        os.close(writer)


def test_nobody_waits_for_a_slow_reader() -> None:
    """With a reader that reads nothing a hundred thousand lines are taken at once; what does not fit is dropped and counted."""
    line = b"x" * 1023
    with pipe() as (reader, writer):
        sink = Sink(writer)
        before = time.monotonic()
        for _ in range(100_000):
            sink.add(line)
        sink.flush()
        assert time.monotonic() - before < 10
        assert 80_000 < sink.dropped < 100_000
        os.set_blocking(reader, False)
        kept = 100_000 - sink.dropped
        got = bytearray()

        def drained() -> bool:
            try:
                got.extend(os.read(reader, 1 << 20))
            except BlockingIOError:
                return False
            return got.count(b"\n") == kept

        until(drained, "the lines that were kept")
        assert bytes(got) == (line + b"\n") * kept
        sink.close()


def test_a_descriptor_that_somebody_made_non_blocking() -> None:
    """Lines through a non-blocking descriptor come whole and complete, however slowly they are read."""
    with pipe(blocking=False) as (reader, writer):
        sink = Sink(writer)
        for number in range(3000):
            sink.add(b'{"n":%d,"fill":"%b"}' % (number, b"x" * 200))
        sink.flush()
        os.set_blocking(reader, False)
        got = bytearray()

        def drained() -> bool:
            try:
                got.extend(os.read(reader, 4096))
            except BlockingIOError:
                return False
            return got.count(b"\n") == 3000

        deadline = time.monotonic() + 60
        while not drained():
            assert time.monotonic() < deadline
        assert [json.loads(line)["n"] for line in bytes(got).splitlines()] == list(range(3000))
        assert sink.dropped == 0
        sink.close()


def test_a_reader_that_is_gone() -> None:
    """Lines into a closed pipe are counted, line by line, and nothing else happens."""
    reader, writer = os.pipe()
    os.close(reader)
    sink = Sink(writer)
    for _ in range(100):
        sink.add(b"line")
    sink.flush()
    until(lambda: sink.dropped == 100, "the lines to be counted")
    sink.close()
    os.close(writer)


def test_a_line_that_broke_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a disk was full in the middle of a line, the next line begins anew and the torn one alone is lost."""
    room = [14]
    write = os.write

    def short(descriptor: int, data: bytes) -> int:
        if room[0] <= 0:
            raise OSError(errno.ENOSPC, "full")
        written = write(descriptor, data[: room[0]])
        room[0] -= written
        return written

    file = tmp_path / "log"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
    sink = Sink(descriptor)
    monkeypatch.setattr("proxy.observe.log.os.write", short)
    for number in range(4):
        sink.add(b'{"n":%d}' % number)
    sink.flush()
    until(lambda: sink.dropped == 3, "the lines to be counted")
    room[0] = 1000
    sink.add(b'{"n":4}')
    sink.close()
    assert file.read_bytes() == b'{"n":0}\n{"n":1\n{"n":4}\n'


# -- the service's own lines


@pytest.fixture
def service(tmp_path: Path) -> Iterator[tuple[logging.Logger, Callable[[], list[dict[str, Any]]]]]:
    """A logger into a sink, and its lines."""
    file = tmp_path / "service"
    sink = Sink(os.open(file, os.O_WRONLY | os.O_CREAT))
    logger = logging.getLogger("hookgate.test")
    handler = ServiceLog(sink)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False

    def read() -> list[dict[str, Any]]:
        sink.close()
        return [json.loads(line) for line in file.read_text().splitlines()]

    yield logger, read
    logger.removeHandler(handler)
    logger.propagate = True


Service = tuple[logging.Logger, Callable[[], list[dict[str, Any]]]]


def test_service_line(service: Service) -> None:
    """A line of the service has time, level, event, message and its facts."""
    logger, read = service
    logger.info("listening", extra={"facts": {"address": "127.0.0.1:1", "path": Path("/x")}})
    (line,) = read()
    assert line | {"time": ""} == {
        "time": "", "level": "info", "event": "hookgate.test", "message": "listening", "address": "127.0.0.1:1", "path": "/x",
    }  # fmt: skip
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])


def test_a_traceback_tells_places_only(service: Service) -> None:
    """What an exception quotes is never written: its type and the places are."""
    logger, read = service

    def deep(secret: str) -> None:
        raise ValueError(f"not {secret}")

    try:
        try:
            deep(SECRET)
        except ValueError as error:
            raise RuntimeError(f"body {SECRET}") from error
    except RuntimeError:
        logger.exception("rule broke")
    (line,) = read()
    assert SECRET not in json.dumps(line)
    assert line["error"] == "RuntimeError"
    assert [place.split(":")[0] for place in line["places"]] == ["test_log.py"]


@pytest.mark.parametrize("text", ["\udcff name", "line\nline", "\x1b[31m", '"},{"', "\u2028", "\u202e"], ids=ascii)
def test_odd_text(text: str, service: Service) -> None:
    """Odd text in a message stays inside one line of JSON and breaks nothing."""
    logger, read = service
    logger.warning("%s", text, extra={"facts": {"file": text}})
    (line,) = read()  # splitlines() ends a line at U+2028, as some readers do
    assert line["message"] == text
    assert line["file"] == text


def test_nothing_is_told_that_may_not_be() -> None:
    """An exchange has no room for a body, a header, a path or a secret's value."""
    assert {*exchange()._fields} == {
        "arrived", "request_id", "route", "peer", "client", "listed", "outcome", "reason", "findings", "secret", "cause",
        "status", "size", "update_type", "quarantined", "ambiguous", "total", "verification", "upstream",
    }  # fmt: skip
    assert {outcome.value for outcome in Outcome} == {"forwarded", "refused", "duplicate", "failed", "answered"}
