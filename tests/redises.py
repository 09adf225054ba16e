"""Real Redis servers for the tests, each a child process on a free port with a folder of its own; Sentinels and Clusters too.

Only processes that were started here are ever signalled.
"""

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property, partial
from pathlib import Path
from socket import create_connection
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from proxy.redis_url import RedisAccess, parse
from tests.gates import PATIENCE, free_port, until

LEASE = 30.0


class Server:
    """A running ``redis-server``. ``options`` are lines of its configuration."""

    def __init__(self, *options: str, port: int = 0, sentinel: bool = False) -> None:
        self.port = port or free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="hookgate-redis-"))
        self._sentinel = sentinel
        self._configuration = self.folder / "redis.conf"
        lines = [f"port {self.port}", "bind 127.0.0.1", f"dir {self.folder}", f"logfile {self.folder}/log", *options]
        if not sentinel:
            lines += ['save ""', "appendonly no"]
        self._configuration.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """As a policy has it."""
        return f"redis://127.0.0.1:{self.port}/0"

    def access(self, **details: Any) -> RedisAccess:
        """As the store takes it."""
        return RedisAccess(parse(details.pop("url", self.url)), **details)

    def client(self, **options: Any) -> Redis:
        """A connection of the test's own; patient, and without any second try."""
        options.setdefault("socket_timeout", PATIENCE)
        return Redis("127.0.0.1", self.port, retry=Retry(NoBackoff(), 0), **options)

    @cached_property
    def operator(self) -> Redis:
        """A connection that is kept: a paused server takes no new one."""
        return self.client()

    def start(self) -> None:
        """Run it, and wait until it takes connections."""
        command = ["redis-server", str(self._configuration), *(["--sentinel"] if self._sentinel else [])]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603 - Debian's
        try:
            until(self._up, "redis-server to take connections")
        except AssertionError:
            self.kill()
            raise

    def _up(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise AssertionError(f"redis-server ended: {(self.folder / 'log').read_text()}")
        with suppress(OSError), create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def signal(self, number: int) -> None:
        """Stop it in its tracks, or let it go on."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None

    def close(self) -> None:
        """End it for good."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def server(*options: str, **more: Any) -> Iterator[Server]:
    """A server until the end of the block."""
    made = Server(*options, **more)
    try:
        yield made
    finally:
        made.close()


class Watched:
    """A master and a replica, watched by Sentinels that call a master dead after 500 ms."""

    SERVICE = "hookgate"

    def __init__(self, stack: ExitStack, sentinels: int = 1) -> None:
        self.master = stack.enter_context(server("repl-diskless-sync-delay 0"))
        self.replica = stack.enter_context(server(f"replicaof 127.0.0.1 {self.master.port}", "repl-timeout 5"))
        until(lambda: self.replica.client().info("replication")["master_link_status"] == "up", "the replica to follow")
        lines = (
            f"sentinel monitor {self.SERVICE} 127.0.0.1 {self.master.port} {sentinels // 2 + 1}",
            f"sentinel down-after-milliseconds {self.SERVICE} 500",
            f"sentinel failover-timeout {self.SERVICE} 3000",
        )
        self.sentinels = [stack.enter_context(server(*lines, sentinel=True)) for _ in range(sentinels)]
        for sentinel in self.sentinels:
            until(partial(self._knows, sentinel, sentinels), "the Sentinels to know each other")

    def _knows(self, sentinel: Server, sentinels: int) -> bool:
        facts: Any = sentinel.client().sentinel_master(self.SERVICE)
        return int(facts["num-slaves"]) == 1 and int(facts["num-other-sentinels"]) == sentinels - 1

    @property
    def url(self) -> str:
        """As a policy has it."""
        return f"redis+sentinel://{','.join(f'127.0.0.1:{one.port}' for one in self.sentinels)}/{self.SERVICE}/0"

    def announced(self) -> int:
        """The port of the master, as the Sentinels have it now."""
        found: Any = self.sentinels[0].client().sentinel_get_master_addr_by_name(self.SERVICE)
        return int(found[1])


def asked(client: Redis, *words: object) -> Any:
    """The reply to a command for which redis-py has no typed method."""
    execute: Any = client.execute_command
    return execute(*words)


class Clustered:
    """A Cluster of masters that share the slots evenly."""

    def __init__(self, stack: ExitStack, masters: int = 3) -> None:
        options = ("cluster-enabled yes", "cluster-node-timeout 2000", "cluster-require-full-coverage no")
        self.masters = [stack.enter_context(server(*options, port=_with_bus())) for _ in range(masters)]
        clients = [one.client() for one in self.masters]
        each = 16384 // masters
        for index, client in enumerate(clients):
            last = 16383 if index == masters - 1 else (index + 1) * each - 1
            asked(client, "CLUSTER", "ADDSLOTSRANGE", index * each, last)
            asked(client, "CLUSTER", "MEET", "127.0.0.1", self.masters[0].port)
        for client in clients:
            until(partial(self._whole, client, masters), "the Cluster to be whole")

    def _whole(self, client: Redis, masters: int) -> bool:
        info = asked(client, "CLUSTER", "INFO")
        rows = asked(client, "CLUSTER", "SLOTS")
        return b"cluster_state:ok" in info and len(rows) == masters

    @property
    def url(self) -> str:
        """As a policy has it: two nodes to begin with."""
        return f"redis+cluster://{','.join(f'127.0.0.1:{one.port}' for one in self.masters[:2])}"


def _with_bus() -> int:
    """A free port whose neighbour 10000 above is a port too."""
    ports = (free_port() for _ in range(1000))
    return next(port for port in ports if port < 55000)


def pass_time(client: Redis, seconds: float) -> None:
    """Let every key of a server live so many seconds less, as if they had passed."""
    for key in client.scan_iter():
        left = client.pttl(key)
        if left > 0:
            client.pexpire(key, max(0, left - round(seconds * 1000)))


STOP, GO = signal.SIGSTOP, signal.SIGCONT
