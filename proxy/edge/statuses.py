"""The bot's statuses that a route's sender must not see, and what it sees instead."""

from proxy.policy.model import Route


def statuses_of(route: Route) -> dict[int, int]:
    """The route's ``answers`` with classes such as ``3xx`` spelled out."""
    table: dict[int, int] = {}
    for written, status in route.answers.items():
        codes = range(int(written[0]) * 100, int(written[0]) * 100 + 100) if written.endswith("xx") else (int(written),)
        table.update(dict.fromkeys(codes, status))
    return table
