"""The stage of a run: the bot and every proxy that can be had, started, proven to pass the genuine and refuse the forged.

What cannot be had is remembered by name with the reason, so that no report leaves it out.
"""

import base64
import getpass
import grp
import os
import re
import secrets
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from .answers import PATIENCE_SECONDS, connect, exchange, first_line
from .errors import BenchError
from .orders import Order
from .peers import Peer, njs_module
from .processes import Child, free_port, python
from .update import FIRST_UPDATE_ID, PATH, Sender

CONFIGURATIONS = Path(__file__).with_name("configurations")


class Running:
    """One proxy that takes requests."""

    def __init__(self, peer: Peer, port: int, child: Child) -> None:
        self.peer = peer
        self.port = port
        self.child = child


class Stage:
    """A context: leaving it ends every process that it started."""

    def __init__(self) -> None:
        cores = sorted(os.sched_getaffinity(0))
        self.proxy_cores = {cores[0]}
        self.load_cores = set(cores[1:]) or self.proxy_cores
        self.running: dict[str, Running] = {}
        self.missing: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        self.bot_port = free_port()
        self._secret = secrets.token_hex(16)
        self._next_update_id = FIRST_UPDATE_ID
        self._folder = tempfile.TemporaryDirectory(prefix="hookgate-bench-")
        self._children: list[Child] = []

    def __enter__(self) -> Self:
        try:
            self._start("bot", python("bot", str(self.bot_port)), self.load_cores)
            self._await_bot_answer(self._children[0], self.bot_port)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for child in reversed(self._children):
            child.end()
        self._folder.cleanup()

    def order(self, port: int, requests: int, connections: int, warm_up: int = 0, per_second: int = 0) -> Order:
        """An order with update ids that no request of this run had before."""
        first, self._next_update_id = self._next_update_id, self._next_update_id + requests + warm_up
        return Order(port, self._secret, first, requests, connections, warm_up, per_second)

    def start(self, peers: Iterable[Peer]) -> None:
        """Start each that is installed; one that does not work is noted as failed."""
        for peer in peers:
            if not peer.present():
                self.missing[peer.name] = peer.install
                continue
            try:
                self.running[peer.name] = self._start_peer(peer)
            except (BenchError, OSError) as error:
                self.drop(peer.name, error)

    def drop(self, name: str, error: Exception) -> None:
        """Take a proxy out of the run, with the reason."""
        self.running.pop(name, None)
        self.failed[name] = str(error) or type(error).__name__

    def _start_peer(self, peer: Peer) -> Running:
        port = free_port()
        directory = self._directory(peer.name)
        values = self._values(port, directory)
        for name in peer.files:
            text = (CONFIGURATIONS / name).read_text()
            (directory / name).write_text(re.sub(r"@([A-Z_0-9]+)@", lambda found: values[found[1]], text))
            (directory / name).chmod(0o600)
        child = self._start(peer.name, peer.command(values), self.proxy_cores, {**peer.environment, "HOME": str(directory)})
        self._await_bot_answer(child, port)
        if peer.checks:
            self._require_refusals(port, whole_policy=peer.name.startswith("hookgate"))
        return Running(peer, port, child)

    def _values(self, port: int, directory: Path) -> dict[str, str]:
        return {
            "PORT": str(port),
            "SECOND_PORT": str(free_port()),
            "BOT": str(self.bot_port),
            "DIRECTORY": str(directory),
            "PATH": PATH,
            "SECRET": self._secret,
            "SECRET_BASE64": base64.b64encode(self._secret.encode()).decode(),
            "USER": f"{getpass.getuser()} {grp.getgrgid(os.getgid()).gr_name}",
            "NJS": njs_module(),
        }

    def _directory(self, name: str) -> Path:
        directory = Path(self._folder.name, name)
        directory.mkdir(exist_ok=True)
        return directory

    def _start(self, name: str, command: list[str], cores: set[int], environment: dict[str, str] | None = None) -> Child:
        child = Child(command, cores, self._directory(name) / "stderr", environment)
        self._children.append(child)
        return child

    def _request(self) -> bytes:
        """One genuine request, new to everybody."""
        return Sender(self._secret).request(self.order(0, 1, 1).first_update_id)

    def _await_bot_answer(self, child: Child, port: int) -> None:
        """Until a genuine request gets the bot's own answer through this port."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            child.require_alive()
            try:
                with connect(port) as connection:
                    return exchange(connection, self._request())
            except (BenchError, OSError) as error:
                if time.monotonic() > deadline:
                    raise BenchError(f"not ready within {PATIENCE_SECONDS:.0f} s: {error}") from error
                time.sleep(0.02)

    def _require_refusals(self, port: int, *, whole_policy: bool) -> None:
        """A proxy that is timed for checking has to check: it must not let a forged request through."""
        forged = Sender(secrets.token_hex(16)).request(self.order(0, 1, 1).first_update_id)
        self._require(port, forged, "HTTP/1.1 401", "a forged request")
        if whole_policy:
            elsewhere = Sender(self._secret, client="203.0.113.7").request(self.order(0, 1, 1).first_update_id)
            self._require(port, elsewhere, "HTTP/1.1 403", "a request from elsewhere")
            self._require_no_replay(port)

    def _require(self, port: int, request: bytes, expected: str, what: str) -> None:
        line = first_line(port, request)
        if not line.startswith(expected):
            raise BenchError(f"{what} got {line!r}, not {expected!r}")

    def _require_no_replay(self, port: int) -> None:
        """The second of two equal requests must not reach the bot."""
        request = self._request()
        with connect(port) as connection:
            exchange(connection, request)
            try:
                exchange(connection, request)
            except BenchError:
                return
        raise BenchError("a repeated update reached the bot twice")
