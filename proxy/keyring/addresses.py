"""Which addresses keys may be fetched from: listed hosts alone, over TLS, and never what a name on a private network hides.

SECURITY: some of these addresses stand in requests that nobody has proved yet. They are judged as text, before any name is
looked up, and by one strict form, so that no two parsers can read two hosts out of one address.
"""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, NamedTuple

_FORM: Final = re.compile(r"(https?)://([a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::(\d{1,5}))?(/[!-~]*)?")
_REFUSED: Final = re.compile(r"[\\#@\"<>^`{|}]")
"""What has no place in the path and query of an address (RFC 3986), and what parsers disagree about."""
_LABELS: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*")

_DEFAULT_PORTS: Final = {"https": 443, "http": 80}


class Allowed(NamedTuple):
    """Where keys may come from."""

    hosts: frozenset[str]
    """``name``, ``name:port``, ``192.0.2.1:8443`` or ``[2001:db8::1]``, in lower case; without a port the scheme's own."""
    pattern: re.Pattern[str] | None = None
    """Names that are allowed too, at the port of https; matched whole."""
    private: bool = False
    """Whether names may stand for addresses of private networks. Addresses that are listed as such always may."""

    def fault(self, url: str) -> str | None:
        """Why keys are not fetched from there, in words that do not quote the address; ``None`` where they may be."""
        found = _FORM.fullmatch(url)
        if found is None or _REFUSED.search(found[4] or ""):
            return "is not written as https://HOST/PATH, in small letters, without user, fragment or odd characters"
        scheme, host, port = found[1], found[2], int(found[3] or _DEFAULT_PORTS[found[1]])
        address = _address(host)
        if address is None and (not _LABELS.fullmatch(host) or host.rsplit(".", 1)[-1].isdigit()):
            return "has no host name"
        usual = port == _DEFAULT_PORTS[scheme]
        if not (f"{host}:{port}" in self.hosts or (usual and (host in self.hosts or self._fits(host)))):
            return "is not on a listed host"
        if scheme == "http" and not (address is not None and address.is_loopback):
            # To a listed address of this very machine there is no wire that anyone could sit on.
            return "is not https"
        return None

    def _fits(self, host: str) -> bool:
        return self.pattern is not None and self.pattern.fullmatch(host) is not None

    def may_stand_for(self, address: str) -> bool:
        """Whether a listed name may lead to this address."""
        found = _address(address)
        return found is not None and (self.private or public(found))


def public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address belongs to the open internet; one that wraps an IPv4 address is as public as what it wraps."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (int(address) >> 32 == _NAT64 and IPv4Address(int(address) & _LOW))
        if inner:
            return public(inner)
        if address.teredo is not None:
            return False
    return address.is_global and not address.is_multicast


_NAT64: Final = int(IPv6Address("64:ff9b::")) >> 32
_LOW: Final = 0xFFFFFFFF


def host_of(url: str) -> str:
    """The host that stands in an address, port included: for messages and for a policy's own list."""
    found = _FORM.fullmatch(url)
    return "" if found is None else found[2] + (f":{found[3]}" if found[3] else "")


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text[1:-1] if text.startswith("[") else text)
    except ValueError:
        return None
