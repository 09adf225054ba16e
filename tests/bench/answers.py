"""The bot's one answer, and how a generator knows that it came through: status 200 with the bot's own body, nothing else.

A proxy that answers by itself (a refusal, an acknowledged duplicate) is an error of the measurement, never a fast request.
"""

import re
import socket

from .errors import BenchError

BODY = b'{"ok":true}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
PATIENCE_SECONDS = 30.0
_ENDING = b"\r\n\r\n" + BODY


def delivered(answer: bytes) -> bool:
    """Whether the bot's answer is here in whole, False while more of it has to come; BenchError when it is another answer."""
    if answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(_ENDING):
        return True
    head, blank, body = answer.partition(b"\r\n\r\n")
    if not blank and answer:
        return False
    length = LENGTH.search(head)
    if head.startswith(b"HTTP/1.1 200 ") and length and int(length[1]) == len(BODY) and len(body) < len(BODY):
        return False
    first_line = head.partition(b"\r\n")[0].decode("latin-1")
    raise BenchError(f"answered {first_line!r} without the bot's body" if answer else "closed the connection")


def connect(port: int) -> socket.socket:
    """A connection to a proxy on loopback that never waits longer than ``PATIENCE_SECONDS``."""
    connection = socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def exchange(connection: socket.socket, request: bytes) -> None:
    """One request and the bot's answer to it; BenchError for any other answer."""
    connection.sendall(request)
    answer = connection.recv(65536)
    while not delivered(answer):
        more = connection.recv(65536)
        if not more:
            raise BenchError("closed the connection in the middle of an answer")
        answer += more


def first_line(port: int, request: bytes) -> str:
    """The status line that a single request gets, or why there is none."""
    with connect(port) as connection:
        connection.sendall(request)
        answer = connection.recv(65536)
    return answer.partition(b"\r\n")[0].decode("latin-1") or "closed the connection"
