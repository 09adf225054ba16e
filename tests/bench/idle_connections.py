"""A generator that opens many connections, makes one request over each, and then keeps them open until told to go."""

from collections.abc import Callable

from .answers import connect, exchange
from .orders import Order, Result, carry_out
from .update import Sender


def prepare(order: Order) -> Callable[[], Result]:
    """All connections open and used once."""
    connections = []
    for request in Sender(order.secret).requests(order.first_update_id, order.connections):
        connection = connect(order.port)
        exchange(connection, request)
        connections.append(connection)

    def close() -> Result:
        for connection in connections:
            connection.close()
        return {"closed": len(connections)}

    return close


if __name__ == "__main__":
    carry_out(prepare)
