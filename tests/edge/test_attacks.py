"""What a hostile sender, or a bot at its worst, tried against the gate: each test is an attack that once worked."""

import contextlib
import json
import re
import signal
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from urllib.error import HTTPError

import pytest
import trustme

from tests.edge.lines import Line, request
from tests.edge.stages import Stage, policy, staged, update
from tests.gates import Gate, serving, status, until
from tests.upstream.bots import OK, Talk, always, scripted


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A gate of usual limits; its bot agrees to everything."""
    with staged(tmp_path, always(OK)) as made:
        yield made


@contextlib.contextmanager
def _flooded(port: int, raw: bytes) -> Iterator[None]:
    """One connection that says ``raw`` again and again, and reads what is answered."""
    stopped = threading.Event()

    def say(line: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not stopped.is_set():
                line.sendall(raw)

    def hear(line: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while line.recv(1 << 20):
                pass

    with socket.create_connection(("127.0.0.1", port)) as line:
        threads = [threading.Thread(target=one, args=(line,)) for one in (say, hear)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stopped.set()
            line.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


def test_one_flood_of_pipelined_requests_keeps_nobody_out(stage: Stage) -> None:
    """A connection that pipelines tiny requests without end gets its share of the loop, and no more: others are answered."""
    with Line(stage.gate) as line, _flooded(stage.gate.port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 20_000):
        for _ in range(20):
            asked = time.monotonic()
            assert line.ask(request()).status == 200
            assert time.monotonic() - asked < 3.0


def test_a_reset_before_the_accept_makes_nobody_a_unix_socket(tmp_path: Path) -> None:
    """Who connects, sends and resets while the gate is busy has no address left, and so no request: it is not trusted as unix."""
    with staged(tmp_path, always(OK), trusted_proxies=["unix"]) as stage:
        stage.gate.process.send_signal(signal.SIGSTOP)
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", stage.gate.port)) as line:
                line.sendall(request(fields=b"X-Forwarded-For: 149.154.160.1\r\n"))
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stage.gate.process.send_signal(signal.SIGCONT)
        with Line(stage.gate) as line:
            assert line.ask(request()).status == 200
        assert stage.gate.stop() == 0
        assert {one["peer"] for one in stage.gate.lines() if one["event"] == "exchange"} == {"127.0.0.1"}
        assert not any(b"149.154.160.1" in one for one in stage.bot.requests)


def test_making_room_does_not_lock_a_peer_out(tmp_path: Path) -> None:
    """However often a peer's idle connections are closed for its next one, it is counted by what it really has open."""
    with staged(tmp_path, always(OK), limits={"connections": 4, "connections_per_client": 4}) as stage:
        for _ in range(3):
            with contextlib.ExitStack() as stack:
                for _ in range(4):
                    assert stack.enter_context(Line(stage.gate)).ask(request()).status == 200
                time.sleep(0.3)  # room is made at most four times a second
                with Line(stage.gate) as line:
                    assert line.ask(request()).status == 200
            until(lambda: stage.gate.metric("hookgate_connections") == 0 or None, "all connections to be gone")


def test_a_bot_that_closes_what_it_accepts(tmp_path: Path) -> None:
    """A bot that hangs up at once is unreachable, 502 and released, every time: never our own failure."""
    with staged(tmp_path, lambda talk: talk.sock.close()) as stage:
        for _ in range(100):
            with Line(stage.gate) as line:
                assert line.ask(request()).status == 502
        assert stage.gate.metric("hookgate_requests_total", reason="rule_broke") == 0


def test_a_name_that_no_resolver_takes(tmp_path: Path) -> None:
    """A bot's name that cannot even be asked for is an unreachable bot, told at once: nobody waits for ever, nothing is held."""
    file = tmp_path / "policy.yaml"
    file.write_text(policy("http://bot..internal:8080"))
    with serving(file) as gate:
        for _ in range(2):
            assert status(gate.send(update(7, b"Connection: close\r\n"))) == 502
        assert gate.metric("hookgate_in_flight_requests") == 0
        with pytest.raises(HTTPError) as refused:
            gate.get("/readyz")
        refused.value.close()
        assert refused.value.code == 503


def test_a_bot_that_answers_early_and_reads_no_more_holds_nothing(tmp_path: Path) -> None:
    """Where a bot answers before it has read the body, and then never reads, its connection and the body are given up."""

    def early(talk: Talk) -> None:
        talk.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        if talk.head() is not None:
            talk.send(b"HTTP/1.1 413 Too Much\r\nContent-Length: 0\r\n\r\n")
            talk.hold()

    with staged(tmp_path, early, limits={"body_bytes": "32MiB"}, largest="32MiB") as stage:
        descriptors = Path(f"/proc/{stage.gate.process.pid}/fd")
        with Line(stage.gate) as line:
            for _ in range(5):
                assert line.ask(request(b"x" * 16_000_000)).status == 413
            until(lambda: len(stage.bot.talks) == 5 or None, "five connections")
            before = len(list(descriptors.iterdir()))
            for _ in range(5):
                assert line.ask(request(b"x" * 16_000_000)).status == 413
            until(lambda: len(list(descriptors.iterdir())) <= before or None, "the connections to be given up", 5.0)


@contextlib.contextmanager
def _narrow(folder: Path, seconds: float, **upstream: object) -> Iterator[Stage]:
    """A gate with one connection to a bot that takes ``seconds`` for each request."""

    def serve(talk: Talk) -> None:
        while talk.request() is not None:
            time.sleep(seconds)
            talk.send(OK)

    file = folder / "policy.yaml"
    with scripted(serve) as bot:
        url = f"http://127.0.0.1:{bot.port}"
        file.write_text(json.dumps({**json.loads(policy(url)), "upstream": {"url": url, "connections": 1, **upstream}}))
        with serving(file) as gate:
            yield Stage(gate, bot)


def test_nobody_overtakes_those_who_wait_for_the_bot(tmp_path: Path) -> None:
    """A sender that pipelines does not get the bot's only connection again and again while another one waits for it."""
    with _narrow(tmp_path, 0.1, timeout="4s") as stage, Line(stage.gate) as greedy, Line(stage.gate) as other:
        greedy.send(request() * 100)
        assert greedy.answer().status == 200
        assert other.ask(request()).status == 200
        assert len(stage.bot.requests) < 50


def test_who_waited_for_a_connection_has_the_bots_whole_time(tmp_path: Path) -> None:
    """The bot's time counts from the first byte sent: a request is not cut, and delivered twice, because it had to wait."""
    with _narrow(tmp_path, 1.5, timeout="2500ms") as stage, Line(stage.gate) as first, Line(stage.gate) as second:
        first.send(request())
        until(lambda: stage.bot.bytes_seen or None, "the first to be under way")
        assert second.ask(request()).status == 200
        assert first.answer().status == 200


def test_nobody_holds_a_connection_by_not_reading(tmp_path: Path) -> None:
    """Whatever part of an answer a sender leaves unread, its connection ends by the write deadline, the closing one too."""

    def sized(talk: Talk) -> None:
        while (came := talk.request()) is not None:
            size = int(came.split(b" ", 2)[1].partition(b"?")[2])
            talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))

    with staged(tmp_path, sized, limits={"write_timeout": "1s"}) as stage, contextlib.ExitStack() as stack:
        for size in range(32_768, 4_000_000, 49_152):  # somewhere the kernel is full, and a little more is left with us
            line = stack.enter_context(Line(stage.gate, receive_buffer=4096))
            line.send(request(path=b"/open?%d" % size, fields=b"Connection: close\r\n"))
        until(lambda: stage.gate.metric("hookgate_connections") == 0 or None, "every connection to be given up", 15.0)


def test_a_slow_reader_leaves_no_paused_connection_behind(tmp_path: Path) -> None:
    """After a long answer to a sender that was slow up to its end, the bot's connection serves the next request as before."""

    def sized(talk: Talk) -> None:
        while (came := talk.request()) is not None:
            size = int(came.split(b" ", 2)[1].partition(b"?")[2])
            talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))

    with staged(tmp_path, sized, timeout="3s") as stage, Line(stage.gate, receive_buffer=4096) as line:
        for size in range(3_000_000, 6_000_000, 300_000):
            assert len(line.ask(request(path=b"/open?%d" % size)).body) == size
            assert line.ask(request(path=b"/open?2")).status == 200


TRUSTED: dict[str, Any] = {"trusted_proxies": ["127.0.0.1/32"]}


def _one_route(file: Path, **rules: object) -> None:
    """Give the guarded route these rules, beside its own."""
    written = json.loads(file.read_text())
    written["routes"][0]["rules"] |= rules
    file.write_text(json.dumps(written))


def test_the_nearest_hop_says_how_the_request_came(tmp_path: Path) -> None:
    """Where a trusted proxy adds its X-Forwarded-Proto below the client's own, its word counts: plain HTTP is not TLS."""
    file = tmp_path / "policy.yaml"
    with scripted(always(OK)) as bot:
        file.write_text(policy(f"http://127.0.0.1:{bot.port}", **TRUSTED))
        _one_route(file, transport={"tls": "required"})
        with serving(file) as gate, Line(gate) as line:
            proto = b"X-Forwarded-Proto: %b\r\n"
            assert line.ask(request(fields=proto % b"https")).status == 200
            assert line.ask(request(fields=proto % b"https" + proto % b"http")).status == 403
            assert line.ask(request(fields=proto % b"http" + proto % b"https")).status == 200


@pytest.mark.parametrize(
    "name", [b"True_Client_IP", b"CF_Connecting-IP", b"X_Forwarded_Ssl", b"x-forwarded_prefix", b"X-Real_IP"]
)
def test_a_strangers_forwarding_fields_in_disguise(stage: Stage, name: bytes) -> None:
    """With underscores, which a CGI-like bot reads as hyphens, a stranger's forwarding field does not reach the bot either."""
    with Line(stage.gate) as line:
        line.ask(request(fields=name + b": 149.154.160.1\r\n"))
    assert not any(b"149.154.160.1" in one for one in stage.bot.requests)


def test_a_balancer_that_does_not_know_its_client_vouches_for_nobody(tmp_path: Path) -> None:
    """Behind PROXY UNKNOWN the client is a stranger: what it says of itself in X-Forwarded-For is not believed."""
    with staged(tmp_path, always(OK), listen={"address": "127.0.0.1:0", "proxy_protocol": True}, **TRUSTED) as stage:
        with Line(stage.gate) as line:
            assert line.ask(b"PROXY UNKNOWN\r\n" + request(fields=b"X-Forwarded-For: 149.154.160.1\r\n")).status == 200
        assert b"149.154.160.1" not in stage.bot.requests[0]


def test_odd_hosts_are_not_hoarded(tmp_path: Path) -> None:
    """Thousands of strangers' longest Hosts and forwarded clients leave the gate's memory about as it was."""
    with staged(tmp_path, always(OK), **TRUSTED) as stage, Line(stage.gate) as line:

        def ask(count: int) -> None:
            for number in range(count):
                odd = b"Host: %d%b\r\nX-Forwarded-For: %d%b\r\n" % (number, b"a" * 8000, number, b"b" * 8000)
                assert line.ask(b"GET /nothing HTTP/1.1\r\n%b\r\n" % odd).status == 404

        ask(100)
        before = _resident(stage.gate)
        ask(3000)
        assert _resident(stage.gate) - before < 12


def _resident(gate: Gate) -> float:
    """Megabytes of memory in use."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{gate.process.pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def test_a_long_answer_that_ends_while_the_claim_is_settled(tmp_path: Path) -> None:
    """Over TLS the end of an answer may come with its bytes, before the claim is on disk: the sender gets all of it still."""
    own = trustme.CA()
    own.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.issue_cert("127.0.0.1").configure_cert(context)
    body = bytes(270_000)

    def serve(talk: Talk) -> None:
        if talk.request() is not None:
            talk.send(b"HTTP/1.1 200 OK\r\n\r\n" + body)
            cast(ssl.SSLSocket, talk.sock).unwrap()

    with scripted(serve, tls=context) as bot:
        file = tmp_path / "policy.yaml"
        written = json.loads(policy("https://127.0.0.1:1", store={"url": "sqlite:claims.db"}))
        file.write_text(json.dumps(written | {"upstream": {"url": f"https://127.0.0.1:{bot.port}", "ca_file": "ca.pem"}}))
        with serving(file) as gate:
            for _ in range(5):
                with Line(gate) as line:
                    assert line.ask(update()).body == body
