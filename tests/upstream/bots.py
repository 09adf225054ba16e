"""Bots that follow a script, for tests of the far side: every connection's bytes are kept, every misbehaviour can be had."""

import contextlib
import fcntl
import re
import socket
import ssl
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.gates import PATIENCE, until

_TCP_CLOSE = 7
"""The state of a socket that was reset (tcp_states.h)."""

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Talk:
    """One connection of the gate, as the bot has it."""

    def __init__(self, sock: socket.socket, number: int, stopped: threading.Event) -> None:
        self.sock = sock
        self.number = number
        """Counts connections from 1."""
        self.came = bytearray()
        """Every byte."""
        self.stopped = stopped
        self.sent = 0
        """What a script counts here."""
        self.heard = 0.0
        """When bytes came last, in seconds of the monotonic clock."""
        self._read = 0

    def request(self) -> bytes | None:
        """The next whole request; ``None`` when the gate has closed."""
        while (end := self._end()) is None:
            if not self._more():
                return None
        start, self._read = self._read, end
        return bytes(self.came[start:end])

    def forget(self) -> None:
        """Drop the requests that were read, so that a long talk does not fill the memory."""
        del self.came[: self._read]
        self._read = 0

    def head(self) -> bytes | None:
        """The next request's head alone."""
        while (end := self.came.find(b"\r\n\r\n", self._read)) < 0:
            if not self._more():
                return None
        return bytes(self.came[self._read : end + 4])

    def send(self, data: bytes) -> None:
        """Write all of it."""
        self.sock.sendall(data)

    def arrived(self) -> None:
        """Wait until all that was said, an end too, has come to the other side's kernel, or the other side has hung up."""
        until(lambda: _unacknowledged(self.sock) == 0, "what the bot said to arrive")

    def reset(self) -> None:
        """Close with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def hold(self) -> None:
        """Do nothing until the bot ends."""
        self.stopped.wait(PATIENCE)

    def _end(self) -> int | None:
        end = self.came.find(b"\r\n\r\n", self._read)
        if end < 0:
            return None
        found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", self.came[self._read : end])
        whole = end + 4 + int(found[1] if found else 0)
        return whole if len(self.came) >= whole else None

    def _more(self) -> bool:
        came = self.sock.recv(1 << 18)
        self.came += came
        self.heard = time.monotonic()
        return bool(came)


def _unacknowledged(sock: socket.socket) -> int:
    if sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE:
        return 0
    (count,) = struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))
    return int(count)


Script = Callable[[Talk], None]


def always(answer: bytes) -> Script:
    """Answer each request with these bytes."""

    def serve(talk: Talk) -> None:
        while talk.request() is not None:
            talk.send(answer)

    return serve


class ScriptedBot:
    """Listens on a port of 127.0.0.1, or on ``path``; each connection is one run of the script. ``script`` may be changed."""

    def __init__(self, script: Script, path: str = "", tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.script = script
        self.talks: list[Talk] = []
        self._tls = tls
        self._stopped = threading.Event()
        if path:
            self._server = socket.socket(socket.AF_UNIX)
            self._server.bind(path)
            self._server.listen(128)
        else:
            self._server = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port: int = 0 if path else self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def bytes_seen(self) -> int:
        """How much has come on all connections."""
        return sum(len(talk.came) for talk in self.talks)

    @property
    def requests(self) -> list[bytes]:
        """Each request by connection, in order; what broke off is not among them."""
        return [one for talk in list(self.talks) for one in split(bytes(talk.came))]

    def close(self) -> None:
        """Reset what is open and accept nothing more."""
        self._stopped.set()
        # Closing alone does not wake the thread that accepts.
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for talk in self.talks:
            with contextlib.suppress(OSError):
                talk.sock.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._server.accept()
            except OSError:
                return
            sock.settimeout(PATIENCE)
            talk = Talk(sock, len(self.talks) + 1, self._stopped)
            self.talks.append(talk)
            threading.Thread(target=self._serve, args=(talk,), daemon=True).start()

    def _serve(self, talk: Talk) -> None:
        with contextlib.suppress(OSError):
            if self._tls is not None:
                talk.sock = self._tls.wrap_socket(talk.sock, server_side=True)
            with talk.sock:
                self.script(talk)


def split(stream: bytes) -> list[bytes]:
    """The whole requests in what came on one connection."""
    found = []
    at = 0
    while (end := stream.find(b"\r\n\r\n", at)) >= 0:
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", stream[at:end])
        end += 4 + int(length[1] if length else 0)
        if end > len(stream):
            break
        found.append(stream[at:end])
        at = end
    return found


@contextmanager
def scripted(script: Script, path: str = "", tls: ssl.SSLContext | None = None, port: int = 0) -> Iterator[ScriptedBot]:
    """A scripted bot until the end of the block."""
    bot = ScriptedBot(script, path, tls, port)
    try:
        yield bot
    finally:
        bot.close()
