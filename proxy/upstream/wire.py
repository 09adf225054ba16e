"""A permitted request as the bot gets it: method, target, fields and body as they came; only what a hop owns is changed."""

from collections.abc import Callable
from operator import itemgetter
from typing import Final

from proxy.messages import Head, Kept
from proxy.pipeline.gate import Permit

_DROPPED: Final = frozenset({
    b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"te", b"trailer",
    b"transfer-encoding", b"upgrade", b"expect", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-request-id",
})  # fmt: skip
"""Hop-by-hop fields (RFC 9110 section 7.6.1), and those that are set anew below."""

_FORWARDING: Final = frozenset({
    b"forwarded", b"x-real-ip", b"x-client-ip", b"true-client-ip", b"cf-connecting-ip", b"fastly-client-ip",
    b"x-cluster-client-ip", b"x-forwarded-port", b"x-forwarded-server", b"x-forwarded-prefix", b"x-forwarded-ssl",
    b"x-forwarded-scheme", b"x-original-forwarded-for", b"x-envoy-external-address", b"front-end-https",
})  # fmt: skip
"""What says who the client is. SECURITY: believed by bots, so from an untrusted peer it is dropped."""


_DROPPED_OF_STRANGERS: Final = _DROPPED | _FORWARDING


def request_bytes(permit: Permit) -> bytes:
    """The whole request in one piece, framed by exactly one Content-Length."""
    request = permit.request
    head = request.head
    kept = head.kept
    if kept is None:
        dropped = _dropped(head)
        lines = [b"%b: %b\r\n" % field for name, field in zip(head.names, head.fields, strict=True) if name not in dropped]
        if head.chunked:
            lines.append(b"Content-Length: %d\r\n" % len(request.body))
        top = b"%b %b HTTP/1.1\r\n%b" % (head.method.encode(), head.target, b"".join(lines))
        top += _forwarding(head) % (head.client.text.encode(), head.request_id)
    else:
        written, chosen = kept.onward or _keep(head, kept)
        top = written % (*chosen(tuple(head.named.values())), head.client.text.encode(), head.request_id)
    remarks = _remarks(permit) if permit.reported or permit.reserved.in_doubt else b""
    return b"%b%b\r\n\r\n%b" % (top, remarks, request.body)


def _dropped(head: Head) -> frozenset[bytes]:
    """Lower-case names of what does not go on."""
    dropped = _DROPPED if head.trusted else _DROPPED_OF_STRANGERS
    names = b"\n".join(head.names)
    if b"_" in names:  # SECURITY: a CGI-like bot reads Cf_Connecting_Ip as CF-Connecting-IP
        dropped = dropped.union(name for name in head.names if name.replace(b"_", b"-") in dropped)
    if b"hookgate-" in names:  # SECURITY: only we speak in these
        dropped = dropped.union(name for name in head.names if name.startswith(b"hookgate-"))
    return dropped


def _forwarding(head: Head) -> bytes:
    """What we say of the client, with places for its address and for the request's id."""
    scheme = b"https" if head.https else b"http"
    return b"X-Forwarded-For: %%b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\nX-Request-Id: %%b" % (
        scheme,
        _host(head).replace(b"%", b"%%"),
    )


def _keep(head: Head, kept: Kept) -> tuple[bytes, Callable[[tuple[bytes, ...]], tuple[bytes, ...]]]:
    """The same, kept for all heads alike. Two values are always among the chosen: Host and Content-Length."""
    dropped = _dropped(head)
    places = [place for place, name in enumerate(head.names) if name not in dropped]
    lines = [b"%b: %%b\r\n" % head.fields[place][0].replace(b"%", b"%%") for place in places]
    line = b"%b %b HTTP/1.1\r\n" % (head.method.encode(), head.target)
    written = line.replace(b"%", b"%%") + b"".join(lines) + _forwarding(head)
    kept.onward = written, itemgetter(*places)
    return kept.onward


def _remarks(permit: Permit) -> bytes:
    """What the bot is told about the request."""
    lines = b""
    if permit.reported:
        reasons = ", ".join(dict.fromkeys(found.reason.value for found in permit.reported))
        lines += b"\r\nHookgate-Findings: %b" % reasons.encode()
    if permit.reserved.in_doubt:
        lines += b"\r\nHookgate-Redelivery: maybe"
    return lines


def _host(head: Head) -> bytes:
    given = head.named.get(b"x-forwarded-host") if head.trusted else None
    return given or head.named[b"host"]
