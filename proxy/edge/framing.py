"""The walls of HTTP: what aiohttp's parser lets through and a webhook gate must not; then the head as it came.

The parser (llhttp, strict) has already refused bare LF, folded lines, doubled Content-Length, TE beside it and the like.
Walls have no mode and no switch. Nothing here is decoded or normalised.
"""

import re
from typing import Final, NamedTuple

from aiohttp.http_parser import RawRequestMessage

from proxy.messages import Head
from proxy.networks import Address, NetworkSet, client_of
from proxy.verdict import Reason

_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
_LENGTH: Final = re.compile(rb"0|[1-9]\d{0,17}")
_NOMINATED: Final = frozenset({b"close", b"keep-alive", b"te", b""})
_ID: Final = re.compile(rb"[A-Za-z0-9._-]{8,64}")


class Wire(NamedTuple):
    """What a connection knows before its first request."""

    peer: Address
    trusted: bool
    tls: bool
    certificate: bytes | None


class Bounds(NamedTuple):
    """Limits of a head, in bytes and fields, and who is trusted."""

    header_bytes: int
    header_count: int
    uri_bytes: int
    trusted: NetworkSet
    managed: frozenset[bytes]


def read_head(
    message: RawRequestMessage, wire: Wire, bounds: Bounds, arrived: float, started: float, request_id: bytes
) -> Head | Reason:
    """The head of a request that may be judged, or the wall that it ran into."""
    target = message.path.encode("utf-8", "surrogateescape")
    fields = message.raw_headers
    if len(target) > bounds.uri_bytes:
        return Reason.URI_TOO_LONG
    names: list[bytes] = []
    named: dict[bytes, bytes] = {}
    repeated: set[bytes] | None = None
    size = len(target) + 16
    for name, value in fields:
        lowered = name.lower()
        names.append(lowered)
        size += len(name) + len(value) + 4
        if lowered in named:
            repeated = repeated or set()
            repeated.add(lowered)
        else:
            named[lowered] = value
        # SECURITY: CGI-like bots read X_Forwarded_For as X-Forwarded-For: a twin would bring past us what we judge or set.
        if b"_" in lowered and _twin(lowered, bounds.managed):
            return Reason.MALFORMED_REQUEST
    if size > bounds.header_bytes or len(fields) > bounds.header_count:
        return Reason.HEADER_TOO_LARGE
    doubles = frozenset(repeated) if repeated else frozenset[bytes]()
    wall = _line(message, target, named) or _framing(message, named, doubles)
    if wall is not None:
        return wall
    path, mark, query = target.partition(b"?")
    length = named.get(b"content-length")
    client, https = _client(wire, bounds.trusted, fields, names, named) if wire.trusted else (wire.peer, wire.tls)
    given = named.get(b"x-request-id") if wire.trusted else None
    return Head(
        message.method,
        target,
        path,
        query if mark else None,
        fields,
        names,
        named,
        doubles,
        wire.peer,
        client,
        wire.trusted,
        https,
        wire.certificate,
        int(length) if length is not None else None,
        message.chunked,
        arrived,
        started,
        given if given is not None and _ID.fullmatch(given) else request_id,
    )


def _line(message: RawRequestMessage, target: bytes, named: dict[bytes, bytes]) -> Reason | None:
    if message.version != (1, 1) and message.version != (1, 0):
        return Reason.MALFORMED_REQUEST
    # Origin form only (RFC 9112 section 3.2.1): a webhook sender uses no other, and another's authority is not ours to believe.
    if target[:1] != b"/" or b"#" in target or message.method == "CONNECT":
        return Reason.MALFORMED_REQUEST
    if _HOST.fullmatch(named.get(b"host", b"")) is None:
        return Reason.MALFORMED_REQUEST
    return None


def _framing(message: RawRequestMessage, named: dict[bytes, bytes], repeated: frozenset[bytes]) -> Reason | None:
    if message.upgrade or b"upgrade" in named:
        return Reason.UNSUPPORTED_FRAMING
    coding = named.get(b"transfer-encoding")
    length = named.get(b"content-length")
    if coding is not None:
        # SECURITY: "gzip, chunked", empty codings and chunked on HTTP/1.0 get through the parser (RFC 9112 section 6.1).
        if coding.lower() != b"chunked" or length is not None or message.version == (1, 0) or b"transfer-encoding" in repeated:
            return Reason.UNSUPPORTED_FRAMING
    elif length is not None and _LENGTH.fullmatch(length) is None:
        return Reason.UNSUPPORTED_FRAMING
    connection = named.get(b"connection")
    if connection is not None and connection.lower() not in _NOMINATED and not _harmless(connection):
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
    return straight in managed or straight.startswith(b"hookgate-")


def _client(
    wire: Wire, trusted: NetworkSet, fields: tuple[tuple[bytes, bytes], ...], names: list[bytes], named: dict[bytes, bytes]
) -> tuple[Address, bool]:
    lines = [
        value.decode("ascii", "replace")
        for lowered, (_, value) in zip(names, fields, strict=True)
        if lowered == b"x-forwarded-for"
    ]
    proto = named.get(b"x-forwarded-proto")
    # The nearest hop speaks last: with a list, its entry is the rightmost.
    https = wire.tls if proto is None else proto.rpartition(b",")[2].strip().lower() == b"https"
    return client_of(wire.peer, lines, trusted), https
