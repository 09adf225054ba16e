"""A generator with a timetable: requests are due at fixed moments, whether or not earlier ones were answered.

Latency counts from the moment a request was due, so a stall of the proxy shows in every request that it held up.
"""

import select
import socket
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from .answers import PATIENCE_SECONDS, connect, delivered, exchange
from .errors import BenchError
from .orders import Order, Result, carry_out
from .update import Sender


class OpenLoop:
    """``select`` and not ``epoll``, whose timeout has only milliseconds."""

    def __init__(self, connections: list[socket.socket], requests: list[bytes], per_second: int) -> None:
        self._free = deque(connections)
        self._busy: dict[socket.socket, tuple[float, bytes]] = {}
        self._requests = requests
        self._interval = 1.0 / per_second
        self._latencies: list[float] = []

    def run(self) -> Result:
        """Keep the timetable to its end; the latencies are microseconds in order of completion."""
        started = time.perf_counter() + self._interval
        sent = 0
        while len(self._latencies) < len(self._requests):
            now = time.perf_counter()
            due = started + sent * self._interval
            if sent < len(self._requests) and now >= due and self._free:
                self._send(self._requests[sent], due)
                sent += 1
                continue
            more = sent < len(self._requests) and bool(self._free)
            ready, _, _ = select.select(list(self._busy), [], [], due - now if more else PATIENCE_SECONDS)
            if not ready and not more:
                raise BenchError(f"no answer within {PATIENCE_SECONDS:.0f} s after {len(self._latencies)} requests")
            for connection in ready:
                self._receive(connection)
        return {"microseconds": [round(latency * 1e6, 1) for latency in self._latencies]}

    def _send(self, request: bytes, due: float) -> None:
        connection = self._free.popleft()
        connection.sendall(request)
        self._busy[connection] = due, b""

    def _receive(self, connection: socket.socket) -> None:
        due, before = self._busy[connection]
        data = connection.recv(65536)
        if before and not data:
            raise BenchError("closed the connection in the middle of an answer")
        if delivered(before + data):
            self._latencies.append(time.perf_counter() - due)
            del self._busy[connection]
            self._free.append(connection)
        else:
            self._busy[connection] = due, before + data


def prepare(order: Order) -> Callable[[], Result]:
    """Open the connections and warm up; ask the kernel to wake this process on time and not 50 us late."""
    Path("/proc/self/timerslack_ns").write_text("1")
    sender = Sender(order.secret)
    connections = [connect(order.port) for _ in range(order.connections)]
    for number, request in enumerate(sender.requests(order.first_update_id, order.warm_up)):
        exchange(connections[number % len(connections)], request)
    requests = sender.requests(order.first_update_id + order.warm_up, order.requests)
    return OpenLoop(connections, requests, order.per_second).run


if __name__ == "__main__":
    carry_out(prepare)
