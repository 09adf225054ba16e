"""The gate as a whole over its life: what a start, a reload and an end must not lose."""

import asyncio
import hashlib
import json
import signal
import socket
import sqlite3
import ssl
import struct
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from urllib.request import urlopen

import pytest
import trustme

from proxy.app import App
from proxy.observe.log import Sink
from proxy.watch import watch
from tests.edge.lines import Line, request
from tests.edge.stages import policy, staged, update
from tests.gates import PATIENCE, ROOT, serving, status, until
from tests.upstream.bots import OK, Talk, always, scripted


def test_the_end_waits_for_requests_whose_sender_has_left(tmp_path: Path) -> None:
    """A sender that hangs up while the bot works does not take its request from the drain: delivered is remembered as such."""
    answer = threading.Event()

    def slow(talk: Talk) -> None:
        while talk.request() is not None:
            answer.wait(20)
            talk.send(OK)

    file = tmp_path / "policy.yaml"
    with scripted(slow) as bot:
        file.write_text(policy(f"http://127.0.0.1:{bot.port}", store={"url": "sqlite:claims.db"}))
        with serving(file) as gate:
            with Line(gate) as line:
                line.send(update(77))
                until(lambda: bot.requests or None, "the update to reach the bot")
                line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            until(lambda: gate.metric("hookgate_connections") == 0 or None, "the sender to be gone")
            gate.process.send_signal(signal.SIGTERM)
            until(lambda: any(line.get("message") == "draining" for line in gate.lines()) or None, "the drain to begin")
            answer.set()
            assert gate.stop() == 0
        with serving(file) as gate:
            assert status(gate.send(update(77, b"Connection: close\r\n"))) == 200
        assert len(bot.requests) == 1


def test_a_swapped_authority_is_taken(tmp_path: Path) -> None:
    """When the file of the bot's authorities is swapped, requests go by the new ones without a restart."""
    own = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.issue_cert("127.0.0.1").configure_cert(context)
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    file = tmp_path / "policy.yaml"
    with scripted(always(OK), tls=context) as bot:
        text = json.loads(policy("https://127.0.0.1:1"))
        text["upstream"] = {"url": f"https://127.0.0.1:{bot.port}", "ca_file": "ca.pem"}
        file.write_text(json.dumps(text))
        with serving(file) as gate, Line(gate) as line:
            assert line.ask(request()).status == 502
            own.cert_pem.write_to_path(tmp_path / "ca.pem")
            until(lambda: line.ask(request()).status == 200 or None, "the new authority to count")
            trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
            until(lambda: line.ask(request()).status == 502 or None, "the old authority to count no more")


def test_a_proxy_is_trusted_from_the_reload_on(tmp_path: Path) -> None:
    """Who is trusted changes with the policy for connections that are open, too: what is in front keeps them for hours."""
    with staged(tmp_path, always(OK)) as stage, Line(stage.gate) as line:
        text = stage.gate.policy.read_text()

        def client() -> bytes:
            assert line.ask(request(fields=b"X-Forwarded-For: 149.154.160.1\r\n")).status == 200
            return stage.bot.requests[-1].partition(b"\r\nX-Forwarded-For: ")[2].partition(b"\r\n")[0]

        assert client() == b"127.0.0.1"
        stage.gate.policy.write_text(json.dumps({**json.loads(text), "trusted_proxies": ["127.0.0.1/32"]}))
        until(lambda: client() == b"149.154.160.1" or None, "the proxy to be trusted")
        stage.gate.policy.write_text(text)
        until(lambda: client() == b"127.0.0.1" or None, "the proxy to be trusted no more")


@asynccontextmanager
async def _made(file: Path) -> AsyncIterator[App]:
    """A gate in this process that is not started yet; what was begun is ended."""
    with (file.parent / "log").open("wb") as opened:
        sink = Sink(opened.fileno())
        app = App(file, {}, sink)
        try:
            yield app
        finally:
            await app.stop()
            sink.close()


async def test_a_reload_during_the_start(tmp_path: Path) -> None:
    """A reload asked for while the gate starts waits for the start, and then takes place."""
    file = tmp_path / "policy.yaml"
    file.write_text(policy("http://127.0.0.1:1", store={"url": "sqlite:claims.db"}))
    async with _made(file) as app:
        with closing(sqlite3.connect(tmp_path / "claims.db", isolation_level=None)) as holder:
            holder.execute("BEGIN EXCLUSIVE")  # the start waits for it, up to two seconds
            start = asyncio.create_task(app.start())
            await asyncio.sleep(0)
            file.write_text(policy("http://127.0.0.1:2", store={"url": "sqlite:claims.db"}))
            reload = asyncio.create_task(app.reload())
            await asyncio.wait({reload}, timeout=0.5)
            holder.execute("ROLLBACK")
        await start
        assert await reload == hashlib.sha256(file.read_bytes()).hexdigest()


async def test_a_file_that_changes_during_the_start(tmp_path: Path) -> None:
    """A policy that changed after it was read, but before the gate listened, is taken without another change."""
    file = tmp_path / "policy.yaml"
    file.write_text(policy("http://127.0.0.1:1"))
    async with _made(file) as app:
        file.write_text(policy("http://127.0.0.1:2"))
        wanted = hashlib.sha256(file.read_bytes()).hexdigest()
        await app.start()
        page = f"http://127.0.0.1:{app.observing.port}/"
        async with asyncio.timeout(PATIENCE):
            while wanted not in await asyncio.to_thread(_read, page):  # noqa: ASYNC110 - a bounded wait of a test
                await asyncio.sleep(0.05)


def _read(page: str) -> str:
    with urlopen(page, timeout=PATIENCE) as answer:  # noqa: S310 - our own page
        text: str = answer.read().decode()
        return text


async def test_the_watch_outlives_what_breaks_it(tmp_path: Path) -> None:
    """A look that fails, for want of a thread say, is not the last one: the next change is still seen."""
    file = tmp_path / "policy.yaml"
    file.write_text("one")
    looks = 0
    seen = asyncio.Event()

    def paths() -> tuple[Path, ...]:
        nonlocal looks
        looks += 1
        if looks == 2:
            file.write_text("two")
            raise RuntimeError("can't start new thread")
        return (file,)

    async def changed() -> None:
        seen.set()

    task = asyncio.create_task(watch(paths, changed))
    try:
        await asyncio.wait_for(seen.wait(), PATIENCE)
    finally:
        task.cancel()


_LOADING = """
import argparse, pathlib, signal, sys

class Watch:
    def find_spec(self, name, *rest):
        if name == "proxy.cli.service":
            signal.raise_signal(signal.SIGHUP)
            sys.exit(7)

sys.meta_path.insert(0, Watch())
from proxy.cli.serve import run
run(argparse.Namespace(policy=pathlib.Path("policy.yaml")))
"""


def test_a_hang_up_while_the_gate_loads() -> None:
    """SIGHUP does not end a gate whose modules are still being loaded: it will read the policy anyway."""
    assert subprocess.run([sys.executable, "-c", _LOADING], cwd=ROOT, timeout=PATIENCE).returncode == 7  # noqa: S603 - our own


@pytest.mark.parametrize(
    "said", [{"mode": "off"}, {"mode": "report", "route": []}, {"mode": "report", "route": 1}, {"mode": ["report"]}, [], "report"]
)
def test_what_the_switch_does_not_do(tmp_path: Path, said: object) -> None:
    """The switch turns no checks off, and what it cannot read it refuses with a sentence: nothing is turned."""
    with staged(tmp_path, always(OK)) as stage:
        body = json.dumps(said).encode()
        raw = b"POST /mode HTTP/1.1\r\nHost: gate\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        with Line(str(tmp_path / "run" / "admin.sock")) as line:
            assert line.ask(raw).status == 400
        assert stage.gate.metric("hookgate_switch_engaged") == 0
