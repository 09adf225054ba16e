"""IP addresses and sets of networks; who the client is, past the proxies that the policy trusts.

``peer`` is the socket's other end; ``client`` is the first address from the right that no trusted proxy owns.
IPv4-mapped IPv6 addresses are unwrapped here and nowhere else.
"""

from bisect import bisect_right
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

Network = IPv4Network | IPv6Network


class Address(NamedTuple):
    """One canonical address. ``group`` is the key that rates count by: the address, or an IPv6 /64."""

    text: str
    version: int
    """4, 6, or 0 for a unix socket."""
    number: int
    group: str


UNIX = Address("unix", 0, 0, "unix")


def parse_address(text: str) -> Address | None:
    """The canonical address, or ``None`` where the text is none (a zone index such as ``%eth0`` included).

    ``::ffff:192.0.2.1`` becomes ``192.0.2.1`` (RFC 4291 section 2.5.5.2): dual-stack sockets make such peers.
    """
    try:
        parsed = ip_address(text)
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address):
        if parsed.scope_id is not None:
            return None
        mapped = parsed.ipv4_mapped
        if mapped is None:
            number = int(parsed)
            return Address(str(parsed), 6, number, f"{IPv6Address(number >> 64 << 64)}/64")
        parsed = mapped
    return Address(str(parsed), 4, int(parsed), str(parsed))


def parse_network(text: str) -> Network:
    """A network from ``192.0.2.0/24`` or a single address.

    Raises:
        ValueError: not a network, or one with host bits set (``192.0.2.1/24``), which is mostly a slip.
    """
    try:
        network = ip_network(text)
    except ValueError as error:
        try:
            wide = ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f"{text!r} is neither a network nor an address") from error
        raise ValueError(f"{text!r} has host bits set; the network is {wide}, the address {text.partition('/')[0]}") from error
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None and network.prefixlen >= 96:
        return IPv4Network((int(network.network_address.ipv4_mapped), network.prefixlen - 96))
    return network


class NetworkSet:
    """Networks as merged, sorted ranges: one bisection tells whether an address is inside."""

    __slots__ = ("_ends", "_starts", "unix", "written")

    def __init__(self, networks: Iterable[Network] = (), *, unix: bool = False) -> None:
        known = list(networks)
        self.unix = unix
        self.written = tuple(map(str, known)) + (("unix",) if unix else ())
        self._starts: dict[int, list[int]] = {4: [], 6: []}
        self._ends: dict[int, list[int]] = {4: [], 6: []}
        for version in (4, 6):
            ranges = sorted((int(n.network_address), int(n.broadcast_address)) for n in known if n.version == version)
            for start, end in ranges:
                if self._ends[version] and start <= self._ends[version][-1] + 1:
                    self._ends[version][-1] = max(end, self._ends[version][-1])
                else:
                    self._starts[version].append(start)
                    self._ends[version].append(end)

    def __contains__(self, address: Address) -> bool:
        if address.version == 0:
            return self.unix
        index = bisect_right(self._starts[address.version], address.number) - 1
        return index >= 0 and address.number <= self._ends[address.version][index]

    def __bool__(self) -> bool:
        return bool(self.written)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NetworkSet) and self.written == other.written

    def __hash__(self) -> int:
        return hash(self.written)

    def __repr__(self) -> str:
        return f"NetworkSet({list(self.written)})"


def client_of(peer: Address, forwarded_for: Iterable[str], trusted: NetworkSet) -> Address:
    """The client past trusted proxies: X-Forwarded-For read from the right, never from the left.

    Each entry was appended by the hop to its right, so an entry counts only while every hop right of it is trusted.
    An entry that is no address ends the walk at the last trusted hop: SECURITY: nothing left of it may be believed.
    """
    client = peer
    for line in reversed(list(forwarded_for)):
        for entry in reversed(line.split(",")):
            if client not in trusted:
                return client
            found = parse_address(_without_port(entry.strip()))
            if found is None:
                return client
            client = found
    return client


def _without_port(entry: str) -> str:
    if entry.startswith("["):
        host, closed, port = entry[1:].partition("]")
        return host if closed and (not port or (port[0] == ":" and port[1:].isdigit())) else ""
    host, colon, port = entry.partition(":")
    return host if colon and port.isdigit() else entry


__all__ = ["UNIX", "Address", "Network", "NetworkSet", "client_of", "parse_address", "parse_network"]
