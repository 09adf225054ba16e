"""A real Prometheus scrapes a real gate and judges the shipped alert rules; series stay as many as they were at the start."""

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from tests.conftest import Gates
from tests.gates import PATIENCE, ROOT, TELEGRAM, TOKEN, TOKEN_FIELD, Gate, RecordingBot, end, free_port, post, status, until

RULES = ROOT / "deploy" / "prometheus" / "rules.yaml"
POLICY = "trusted_proxies: [127.0.0.1/32]\n" + TELEGRAM
LISTED, UNLISTED = "149.154.167.220", "203.0.113.7"
"""A client in Telegram's published networks, and one of TEST-NET-3 (RFC 5737)."""

CONFIGURATION = """\
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [rules.yaml]
scrape_configs:
  - job_name: hookgate
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


def program(name: str) -> str:
    """Where a program of Prometheus' is; demanded, not wished for."""
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is not installed; it comes with Prometheus (Debian: the package prometheus)")
    return found


def in_seconds(rules: str) -> str:
    """The rules with each minute of a range, an offset or a ``for`` made a second, so that a test can wait for them."""
    quick, count = re.subn(r"(\[|offset |for: )(\d+)m\b", r"\g<1>\g<2>s", rules)
    assert count > 20
    return quick


class Prometheus:
    """A running Prometheus."""

    def __init__(self, port: int) -> None:
        self._port = port

    def api(self, path: str) -> Any:
        """``data`` of one answer of its API; nothing while it does not answer."""
        try:
            with urlopen(f"http://127.0.0.1:{self._port}/api/v1/{path}", timeout=PATIENCE) as answer:
                return json.load(answer)["data"]
        except HTTPError as error:
            error.close()
            return None
        except OSError:
            return None

    def query(self, expression: str) -> float:
        """The one value of an expression; -1 where there is none."""
        found = (self.api(f"query?query={quote(expression)}") or {"result": []})["result"]
        return float(found[0]["value"][1]) if found else -1.0

    def alerts(self) -> dict[str, str]:
        """The state of each alert that is not quiet."""
        return {alert["labels"]["alertname"]: alert["state"] for alert in self.api("alerts")["alerts"]}

    def evaluates(self) -> None:
        """Wait until the rules of authenticity have been evaluated once more."""

        def last() -> object:
            return self.api("rules")["groups"][0]["lastEvaluation"]

        before = last()
        until(lambda: last() != before, "an evaluation of the rules")


@contextmanager
def prometheus(folder: Path, gate: Gate) -> Iterator[Prometheus]:
    """A Prometheus that scrapes the gate every second, until the end of the block."""
    (folder / "rules.yaml").write_text(in_seconds(RULES.read_text()))
    configuration = folder / "prometheus.yaml"
    configuration.write_text(CONFIGURATION.format(port=gate.observe))
    port = free_port()
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [
                program("prometheus"),
                f"--config.file={configuration}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--storage.tsdb.retention.time=1h",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            server = Prometheus(port)
            until(lambda: process.poll() is not None or server.api("status/runtimeinfo"), "Prometheus to answer")
            assert process.poll() is None, (folder / "prometheus.log").read_text()
            yield server
        finally:
            end(process)


def series(gate: Gate) -> set[str]:
    """Every series that a scrape shows, by name and labels."""
    return {line.rpartition(" ")[0] for line in gate.get("/metrics").splitlines() if not line.startswith("#")}


@pytest.mark.timeout(120)
def test_alert_fires(gate: Gates, bot: RecordingBot, tmp_path: Path) -> None:
    """Wrong signatures from Telegram's own addresses fire TelegramHashMismatch; the same from a stranger do not."""
    running = gate(POLICY.format(bot=bot.port))
    number = 0

    def send(token: str, client: str) -> int:
        nonlocal number
        number += 1
        return status(
            running.send(post("/telegram", b'{"update_id":%d}' % number, {TOKEN_FIELD: token, "X-Forwarded-For": client}))
        )

    with prometheus(tmp_path, running) as server:
        until(lambda: server.query('up{job="hookgate"}') == 1, "the first scrape")
        assert {send(TOKEN, LISTED) for _ in range(10)} == {200}
        assert {send("wrong", UNLISTED) for _ in range(20)} == {401}
        mismatches = 'sum(hookgate_signature_mismatch_total{sender="%s"})'
        until(lambda: server.query(mismatches % "unlisted") == 20, "a scrape that shows the stranger's")
        server.evaluates()
        server.evaluates()
        assert "TelegramHashMismatch" not in server.alerts()

        def fires() -> bool:
            # Again and again, because a busy machine may scrape late and the range is but fifteen seconds here.
            assert {send("wrong", LISTED) for _ in range(5)} == {401}
            return server.alerts().get("TelegramHashMismatch") == "firing"

        until(fires, "TelegramHashMismatch to fire", 2 * PATIENCE)
        share = server.query('route:hookgate_mismatches_listed:share15m{route="telegram"}')
        assert 0.001 < share <= 1
        rules = [rule for group in server.api("rules")["groups"] for rule in group["rules"]]
        assert len(rules) > 15
        assert {rule["name"] for rule in rules if rule["health"] == "err"} == set(), "every rule can be evaluated"
    assert len(bot.requests) == 10


def test_scrape_is_well_formed(gate: Gates, bot: RecordingBot) -> None:
    """promtool has nothing to say against the format, the names and the help of what is scraped."""
    running = gate(POLICY.format(bot=bot.port))
    running.send(post("/telegram", b'{"update_id":1}', {TOKEN_FIELD: TOKEN}))
    checked = subprocess.run(  # noqa: S603 - our own command
        [program("promtool"), "check", "metrics"],
        input=running.get("/metrics"),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    own = [line for line in (checked.stdout + checked.stderr).splitlines() if line.startswith("hookgate_")]
    assert (checked.returncode, own) == (0, [])


ODD = (
    "POST /telegram HTTP/1.1\r\nHost: {n}.example.com\r\nContent-Length: 2\r\nX-Forwarded-For: 10.{a}.{b}.7\r\n"
    f"Content-Type: application/json\r\n{TOKEN_FIELD}: {{n}}\r\n\r\n{{{{}}}}",
    "POST /path-{n} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nUser-Agent: {n}\r\n\r\n",
    "GET /telegram?{n} HTTP/1.1\r\nHost: x\r\nX-Request-Id: {n}\r\n\r\n",
    "PUT /telegram HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nX-{n}: {n}\r\n\r\n",
    f"POST /telegram HTTP/1.1\r\nHost: x\r\nContent-Type: a/x-{{n}}\r\nContent-Length: 0\r\n{TOKEN_FIELD}: {TOKEN}\r\n\r\n",
    f"POST /telegram HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{TOKEN_FIELD}: {TOKEN}\r\n"
    "Content-Length: 2\r\n\r\n[]",
)
BROKEN = (
    "M{n} /telegram HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /{n} HTTP/9.{a}\r\n\r\n",
    "POST /telegram HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: {n}\r\n\r\n",
    "{n}\r\n\r\n",
)


def one_answer(line: socket.socket, raw: bytes) -> bytes:
    """Send a request over a connection that stays and read the whole answer."""
    line.sendall(raw)
    answer = b""
    while True:
        head, end, rest = answer.partition(b"\r\n\r\n")
        found = re.search(rb"Content-Length: (\d+)", head)
        if end and len(rest) >= int(found[1] if found else 0):
            return answer
        came = line.recv(65536)
        assert came, answer
        answer += came


@pytest.mark.timeout(120)
def test_series_stay_as_many(gate: Gates, bot: RecordingBot) -> None:
    """Ten thousand requests, each odd in its own way, add not one series: nothing of a sender's choosing becomes a label."""
    running = gate(POLICY.format(bot=bot.port))
    before = series(running)
    statuses = set()
    with socket.create_connection(("127.0.0.1", running.port), timeout=PATIENCE) as line:
        for n in range(9_500):
            raw = ODD[n % len(ODD)].format(n=n, a=n // 250 % 250, b=n % 250)
            statuses.add(status(one_answer(line, raw.encode())))
    for n in range(500):
        raw = BROKEN[n % len(BROKEN)].format(n=n, a=n % 10)
        statuses.add(status(running.send(raw.encode())))
    assert statuses >= {400, 401, 404, 405, 415}
    assert 200 not in statuses
    # The processes' own gauges come and go with the interpreter; ours may not.
    assert {name for name in series(running) if name.startswith("hookgate_")} == {
        name for name in before if name.startswith("hookgate_")
    }
    assert len(series(running)) == len(before)
    assert running.metric("hookgate_requests_total") == 10_000
    assert not bot.requests
