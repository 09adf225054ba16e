"""A sender's connection in tests: raw bytes out, whole answers back, and what became of the connection.

Answers are read by their own framing and by nothing of ours, so that a wrongly framed one is seen.
"""

import socket
import ssl
from types import TracebackType
from typing import NamedTuple, Self

from tests.gates import PATIENCE, TOKEN, TOKEN_FIELD, Gate

TOKEN_LINE = f"{TOKEN_FIELD}: {TOKEN}\r\n".encode()


class Answer(NamedTuple):
    """One answer as it came; ``body`` without its chunk framing."""

    status: int
    phrase: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def field(self, name: bytes) -> bytes | None:
        """The value of a field that stands at most once."""
        values = [value for one, value in self.fields if one.lower() == name.lower()]
        assert len(values) <= 1, f"{name!r} stands {len(values)} times"
        return values[0] if values else None


class Line:
    """One connection to a gate: ``Line(gate)``, ``Line(port)`` or ``Line("/path/of/a/socket")``."""

    def __init__(self, to: Gate | int | str, tls: ssl.SSLContext | None = None, receive_buffer: int = 0) -> None:
        if isinstance(to, str):
            self.sock = socket.socket(socket.AF_UNIX)
        else:
            self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(PATIENCE)
        try:
            self.sock.connect(to if isinstance(to, str) else ("127.0.0.1", to.port if isinstance(to, Gate) else to))
        except OSError:
            self.sock.close()
            raise
        if not isinstance(to, str):
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock, server_hostname="gate.test")
        self._held = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.sock.close()

    def send(self, raw: bytes) -> Self:
        """Write all of it."""
        self.sock.sendall(raw)
        return self

    def half_close(self) -> Self:
        """Say that nothing more will come."""
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def ask(self, raw: bytes, *, head: bool = False) -> Answer:
        """Write a request and read its answer."""
        return self.send(raw).answer(head=head)

    def answer(self, *, head: bool = False, interim: bool = False) -> Answer:
        """The next whole answer. ``head``: it is one to HEAD. ``interim``: a 1xx is wanted, else it is a failure."""
        top = self._until(b"\r\n\r\n")
        first, *lines = top[:-4].split(b"\r\n")
        version, status, phrase = first.split(b" ", 2)
        assert version == b"HTTP/1.1", first
        fields = tuple((name, value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in lines))
        found = Answer(int(status), phrase, fields, b"")
        assert interim == (100 <= found.status < 200), first
        if head or interim or found.status in {204, 304}:
            return found
        return found._replace(body=self._body(found))

    def rest(self) -> bytes:
        """Everything until the gate closes; a reset is a failure."""
        held, self._held = self._held, b""
        return held + b"".join(iter(lambda: self.sock.recv(65536), b""))

    def closed(self) -> bool:
        """The gate ends the connection, and says nothing more before."""
        try:
            return self.rest() == b""
        except ConnectionResetError:
            return True

    def _body(self, found: Answer) -> bytes:
        length, coding = found.field(b"Content-Length"), found.field(b"Transfer-Encoding")
        assert length is None or coding is None, "framed twice"
        if coding is not None:
            assert coding == b"chunked"
            return self._chunks()
        return self.rest() if length is None else self._exactly(int(length))

    def _chunks(self) -> bytes:
        pieces = []
        while size := int(self._until(b"\r\n"), 16):
            pieces.append(self._exactly(size))
            assert self._exactly(2) == b"\r\n"
        assert self._exactly(2) == b"\r\n"
        return b"".join(pieces)

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._held:
            self._more()
        found, _, self._held = self._held.partition(mark)
        return found + mark

    def _exactly(self, count: int) -> bytes:
        pieces = [self._held]
        missing = count - len(self._held)
        while missing > 0:
            piece = self.sock.recv(min(missing, 1 << 18))
            if not piece:
                raise EOFError(f"the answer broke off {missing} bytes before its end")
            pieces.append(piece)
            missing -= len(piece)
        whole = b"".join(pieces)
        self._held = whole[count:]
        return whole[:count]

    def _more(self) -> None:
        came = self.sock.recv(65536)
        if not came:
            raise EOFError(f"closed after {self._held[:200]!r}")
        self._held += came


def request(
    body: bytes = b"{}", *, path: bytes = b"/w", fields: bytes = b"", method: bytes = b"POST", token: bytes = TOKEN_LINE
) -> bytes:
    """A request of a connection that goes on; ``fields`` are whole lines beside Host, token and length."""
    return b"%b %b HTTP/1.1\r\nHost: bot.example.com\r\n%b%bContent-Length: %d\r\n\r\n%b" % (
        method, path, token, fields, len(body), body,
    )  # fmt: skip


def chunked(pieces: tuple[bytes, ...], *, path: bytes = b"/w", fields: bytes = b"", trailer: bytes = b"") -> bytes:
    """A chunked request."""
    head = b"POST %b HTTP/1.1\r\nHost: bot.example.com\r\n%b%bTransfer-Encoding: chunked\r\n\r\n" % (path, TOKEN_LINE, fields)
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n%b\r\n" % trailer
