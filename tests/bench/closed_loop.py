"""A generator that keeps every connection busy: the next request leaves when the answer to the last one is in.

The proxy is so kept at its limit, and its CPU time per request is that of a loaded proxy.
"""

import select
import socket
import time
from collections.abc import Callable

from .answers import PATIENCE_SECONDS, connect, delivered, exchange
from .errors import BenchError
from .orders import Order, Result, carry_out
from .update import Sender


class ClosedLoop:
    """Plain sockets over one epoll: lighter than an event loop, so that the proxy is the slowest part."""

    def __init__(self, connections: list[socket.socket], requests: list[bytes]) -> None:
        self._connections = {connection.fileno(): connection for connection in connections}
        self._partial: dict[int, bytes] = {}
        self._count = len(requests)
        self._waiting = iter(requests)
        self._epoll = select.epoll()
        for number in self._connections:
            self._epoll.register(number, select.EPOLLIN)

    def run(self) -> Result:
        """Send all requests; every one has to get the bot's own answer."""
        started = time.perf_counter()
        for connection in self._connections.values():
            self._send_next(connection)
        answered = 0
        while answered < self._count:
            events = self._epoll.poll(PATIENCE_SECONDS)
            if not events:
                raise BenchError(f"no answer within {PATIENCE_SECONDS:.0f} s after {answered} requests")
            for number, _ in events:
                if self._answered(number):
                    answered += 1
                    self._send_next(self._connections[number])
        return {"answered": answered, "seconds": time.perf_counter() - started}

    def _answered(self, number: int) -> bool:
        """Read what is there; True when that completed an answer."""
        data = self._connections[number].recv(65536)
        if self._partial and number in self._partial:
            if not data:
                raise BenchError("closed the connection in the middle of an answer")
            data = self._partial.pop(number) + data
        if delivered(data):
            return True
        self._partial[number] = data
        return False

    def _send_next(self, connection: socket.socket) -> None:
        request = next(self._waiting, None)
        if request is not None:
            connection.sendall(request)


def prepare(order: Order) -> Callable[[], Result]:
    """Open the connections, warm up over each of them, and make the requests."""
    sender = Sender(order.secret)
    connections = [connect(order.port) for _ in range(order.connections)]
    for number, request in enumerate(sender.requests(order.first_update_id, order.warm_up)):
        exchange(connections[number % len(connections)], request)
    return ClosedLoop(connections, sender.requests(order.first_update_id + order.warm_up, order.requests)).run


if __name__ == "__main__":
    carry_out(prepare)
