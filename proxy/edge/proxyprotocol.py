"""The PROXY protocol, versions 1 and 2: a balancer's preamble that says who really connects. Judged before a byte of HTTP.

Source: haproxy's doc/proxy-protocol.txt. Required from trusted proxies where the policy says so, refused from everybody else.
"""

import re
import struct
from typing import Final, NamedTuple

from proxy.networks import Address, parse_address

_V2: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_V1: Final = re.compile(
    rb"PROXY (?:(TCP[46]) ([0-9a-fA-F:.]{2,39}) ([0-9a-fA-F:.]{2,39}) (\d{1,5}) (\d{1,5})|UNKNOWN[^\r\n]*)\r\n"
)
_V1_LONGEST: Final = 107
LONGEST: Final = 16 + 536
"""The addresses of a unix socket pair and room for type-length-values: a balancer sends no more."""
_LOCAL: Final = 0x20
_PROXIED: Final = 0x21


class Preamble(NamedTuple):
    """How many bytes it took, and the source it names; ``None`` for the balancer's own connections (health checks)."""

    size: int
    source: Address | None


def read_preamble(data: bytes) -> Preamble | None:
    """The preamble at the start of a connection, or ``None`` while it is not whole yet.

    Raises:
        ValueError: this is no preamble, or a wrong one. The message never holds the bytes.
    """
    if data.startswith(_V2[: len(data)]):
        return _version_2(data) if len(data) >= 16 else None
    if not data.startswith(b"PROXY "[: len(data)]):
        raise ValueError("no PROXY preamble")
    if b"\r\n" not in data:
        if len(data) >= _V1_LONGEST:
            raise ValueError("a PROXY line without an end")
        return None
    found = _V1.match(data)
    if found is None or found.end() > _V1_LONGEST:
        raise ValueError("a malformed PROXY line")
    if found[1] is None:
        return Preamble(found.end(), None)
    source = parse_address(found[2].decode())
    if source is None or (b":" in found[2]) != (found[1] == b"TCP6") or max(int(found[4]), int(found[5])) > 65535:
        raise ValueError("a malformed PROXY address")
    return Preamble(found.end(), source)


def _version_2(data: bytes) -> Preamble | None:
    command, family, length = struct.unpack_from("!BBH", data, 12)
    size = 16 + length
    if command not in {_LOCAL, _PROXIED} or size > LONGEST:
        raise ValueError("a malformed PROXY header")
    if len(data) < size:
        return None
    if command == _LOCAL:
        return Preamble(size, None)
    match family >> 4:
        case 1 if length >= 12:
            text = ".".join(map(str, data[16:20]))
        case 2 if length >= 36:
            text = ":".join(f"{word:x}" for word in struct.unpack_from("!8H", data, 16))
        case _:
            raise ValueError("a PROXY header without an IP address")
    return Preamble(size, parse_address(text))
