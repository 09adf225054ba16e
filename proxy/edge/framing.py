"""The walls of HTTP: what aiohttp's parser lets through and a webhook gate must not; then the head as it came.

The parser (llhttp, strict) has already refused bare LF, folded lines, doubled Content-Length, TE beside it and the like.
Walls have no mode and no switch. Nothing here is decoded or normalised.
"""

import re
from hashlib import sha256
from typing import Final, NamedTuple

from proxy.edge.recurring import Recalled, Recurring
from proxy.messages import Head
from proxy.networks import Address, NetworkSet, client_of
from proxy.parser import RawRequest
from proxy.verdict import Reason

_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
_MOST_DIGITS: Final = 18
_NONE: Final[frozenset[bytes]] = frozenset()
_NOMINATED: Final = frozenset({b"close", b"keep-alive", b"te", b""})
_ID: Final = re.compile(rb"[A-Za-z0-9._-]{8,64}")


class Wire(NamedTuple):
    """What a connection knows before its first request."""

    peer: Address
    origin: Address
    """Who connects: the peer itself, or the source that its PROXY preamble names."""
    trusted: bool
    """The origin's forwarding fields count."""
    tls: bool
    certificate: bytes | None

    def key(self) -> bytes:
        """All of it that a head depends on, in bytes; made once a connection."""
        certificate = sha256(self.certificate).hexdigest() if self.certificate else ""
        return f"{self.peer.text} {self.origin.text} {self.trusted:d} {self.tls:d} {certificate}\n".encode()


class Bounds(NamedTuple):
    """Limits of a head, in bytes and fields, and who is trusted."""

    header_bytes: int
    header_count: int
    uri_bytes: int
    trusted: NetworkSet
    managed: frozenset[bytes]


_REMEMBERED: Final = 4096
_LONGEST_REMEMBERED: Final = 255
"""Bytes. SECURITY: a stranger's longest fields, kept four thousand times, would be sixty megabytes."""


class HeadReader:
    """Reads heads under one policy. What recurs (a Host, a forwarded client) is judged once and remembered, within bounds."""

    __slots__ = ("_at", "_bounds", "_clients", "_hosts", "recurring")

    def __init__(self, bounds: Bounds, at: float | None = None) -> None:
        """``at``: read every head as if it had come then (Unix seconds)."""
        self._at = at
        self.recurring = Recurring(bounds.header_bytes)
        self._bounds = bounds
        self._hosts: set[bytes] = set()
        self._clients: dict[tuple[bytes, str], Address] = {}

    def read(self, message: RawRequest, wire: Wire, arrived: float, started: float, request_id: bytes) -> Head | Reason:
        """The head of a request that may be judged, or the wall that it ran into."""
        bounds = self._bounds
        target = message.path.encode("utf-8", "surrogateescape")
        fields = message.raw_headers
        if len(target) > bounds.uri_bytes:
            return Reason.URI_TOO_LONG
        names = [name.lower() for name, _ in fields]
        values = [value for _, value in fields]
        all_names = b"\n".join(names)
        size = len(target) + len(all_names) + sum(map(len, values)) + 4 * len(fields) + 16
        if size > bounds.header_bytes or len(fields) > bounds.header_count:
            return Reason.HEADER_TOO_LARGE
        named = dict(zip(names, values, strict=True))
        repeated = _NONE
        if len(named) != len(fields):
            named = dict(zip(reversed(names), reversed(values), strict=True))
            repeated = frozenset(name for name in named if names.count(name) > 1)
        # SECURITY: CGI-like bots read X_Forwarded_For as X-Forwarded-For: a twin would bring past us what we judge or set.
        if b"_" in all_names and any(_twin(name, bounds.managed) for name in names):
            return Reason.MALFORMED_REQUEST
        wall = self._line(message, target, named) or _framing(message, named, repeated)
        if wall is not None:
            return wall
        path, mark, query = target.partition(b"?")
        length = named.get(b"content-length")
        client, https = wire.origin, wire.tls
        if wire.trusted:
            client, https = self._client(wire, names, values, named, repeated)
            given = named.get(b"x-request-id")
            if given is not None and _ID.fullmatch(given):
                request_id = given
        return Head(
            message.method,
            target,
            path,
            query if mark else None,
            fields,
            names,
            named,
            repeated,
            wire.peer,
            client,
            wire.trusted,
            https,
            wire.certificate,
            int(length) if length is not None else None,
            message.chunked,
            arrived if self._at is None else self._at,
            started,
            request_id,
        )

    def again(self, recalled: Recalled, wire: Wire, arrived: float, started: float, request_id: bytes) -> Head:
        """The head of a request whose like was read before."""
        known, values, _ = recalled
        named = dict(zip(known.names, values, strict=True))
        client = known.client
        forwarded = named.get(b"x-forwarded-for") if wire.trusted else None
        if forwarded is not None:
            client = self._clients.get((forwarded, wire.origin.text)) or self._client(wire, [], [], named, _NONE)[0]
        fields = tuple(zip(known.spelled, values, strict=True))
        length = int(values[known.length_at])
        line, near, far = known.line, known.near, known.far
        return tuple.__new__(
            Head, (*line, fields, known.names, named, *near, client, *far, length, False, arrived, started, request_id, known)
        )

    def _line(self, message: RawRequest, target: bytes, named: dict[bytes, bytes]) -> Reason | None:
        version = message.version
        if version[0] != 1 or version[1] > 1:
            return Reason.MALFORMED_REQUEST
        # Origin form only (RFC 9112 section 3.2.1): no webhook sender uses another, and its authority is not ours to believe.
        if target[:1] != b"/" or b"#" in target or message.method == "CONNECT":
            return Reason.MALFORMED_REQUEST
        host = named.get(b"host", b"")
        if host not in self._hosts:
            if _HOST.fullmatch(host) is None:
                return Reason.MALFORMED_REQUEST
            if len(self._hosts) < _REMEMBERED and len(host) <= _LONGEST_REMEMBERED:
                self._hosts.add(host)
        return None

    def _client(
        self, wire: Wire, names: list[bytes], values: list[bytes], named: dict[bytes, bytes], repeated: frozenset[bytes]
    ) -> tuple[Address, bool]:
        proto = named.get(b"x-forwarded-proto")
        if b"x-forwarded-proto" in repeated:
            proto = [value for name, value in zip(names, values, strict=True) if name == b"x-forwarded-proto"][-1]
        # SECURITY: the nearest hop speaks last: of several lines the lowest counts, of a list the rightmost entry.
        https = wire.tls if proto is None else proto.rpartition(b",")[2].strip().lower() == b"https"
        forwarded = named.get(b"x-forwarded-for")
        if forwarded is None:
            return wire.origin, https
        if b"x-forwarded-for" in repeated:
            forwarded = b",".join(value for name, value in zip(names, values, strict=True) if name == b"x-forwarded-for")
        key = (forwarded, wire.origin.text)
        client = self._clients.get(key)
        if client is None:
            client = client_of(wire.origin, [forwarded.decode("ascii", "replace")], self._bounds.trusted)
            if len(self._clients) >= _REMEMBERED:
                self._clients.clear()
            if len(forwarded) <= _LONGEST_REMEMBERED:
                self._clients[key] = client
        return client, https


def _framing(message: RawRequest, named: dict[bytes, bytes], repeated: frozenset[bytes]) -> Reason | None:
    if b"upgrade" in named or message.upgrade:
        return Reason.UNSUPPORTED_FRAMING
    coding = named.get(b"transfer-encoding")
    length = named.get(b"content-length")
    if coding is not None:
        # SECURITY: "gzip, chunked", empty codings and chunked on HTTP/1.0 get through the parser (RFC 9112 section 6.1).
        if coding.lower() != b"chunked" or length is not None or message.version[1] == 0 or b"transfer-encoding" in repeated:
            return Reason.UNSUPPORTED_FRAMING
    elif length is not None and (len(length) > _MOST_DIGITS or not length.isdigit() or (length[0] == 0x30 and len(length) > 1)):
        # One written form for each length: 02 and 2 must not be two things to two readers.
        return Reason.UNSUPPORTED_FRAMING
    connection = named.get(b"connection")
    if connection is not None and (
        b"connection" in repeated or (connection.lower() not in _NOMINATED and not _harmless(connection))
    ):
        return Reason.MALFORMED_REQUEST
    expect = named.get(b"expect")
    if expect is not None and (expect.lower() != b"100-continue" or b"expect" in repeated):
        return Reason.EXPECTATION_FAILED
    return None


def _harmless(connection: bytes) -> bool:
    """SECURITY: a client that nominates fields as hop-by-hop could have a managed one dropped on the way."""
    return all(token.strip().lower() in _NOMINATED for token in connection.split(b","))


def _twin(lowered: bytes, managed: frozenset[bytes]) -> bool:
    straight = lowered.replace(b"_", b"-")
    return straight != lowered and (straight in managed or straight.startswith(b"hookgate-"))
