"""One HTTP request to a running gate's observe or admin address, over TCP or a unix socket."""

import http.client
import json
import socket
from typing import NamedTuple

from proxy.errors import HookgateError
from proxy.policy.endpoints import Endpoint


class Said(NamedTuple):
    """Status and body."""

    status: int
    body: bytes


class _Connection(http.client.HTTPConnection):
    def __init__(self, endpoint: Endpoint, seconds: float) -> None:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(endpoint.host, endpoint.host)  # noqa: S104 - the other way round
        super().__init__(host or "localhost", endpoint.port or 80, timeout=seconds)
        self._path = endpoint.path

    def connect(self) -> None:
        if not self._path:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(endpoint: Endpoint, method: str, path: str, body: object = None, token: str = "", seconds: float = 5.0) -> Said:
    """Ask and wait at most ``seconds`` for each step.

    Raises:
        HookgateError: nobody answers there.
    """
    connection = _Connection(endpoint, seconds)
    headers = {"Content-Type": "application/json"} if body is not None else {}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        return Said(answer.status, answer.read())
    except (OSError, http.client.HTTPException) as error:
        why = error.strerror.lower() if isinstance(error, OSError) and error.strerror else type(error).__name__
        raise HookgateError(f"no gate answers at {endpoint} ({why}): is it running, and may this user reach it?") from None
    finally:
        connection.close()
