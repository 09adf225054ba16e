"""A permitted request as the bot gets it: method, target, fields and body as they came; only what a hop owns is changed."""

from typing import Final

from proxy.messages import Head
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
    lines = [b"%b %b HTTP/1.1\r\n" % (head.method.encode(), head.target)]
    dropped = _DROPPED if head.trusted else _DROPPED_OF_STRANGERS
    names = b"\n".join(head.names)
    if b"_" in names:  # SECURITY: a CGI-like bot reads Cf_Connecting_Ip as CF-Connecting-IP
        dropped = dropped.union(name for name in head.names if name.replace(b"_", b"-") in dropped)
    if b"hookgate-" in names:  # SECURITY: only we speak in these
        dropped = dropped.union(name for name in head.names if name.startswith(b"hookgate-"))
    lines += [b"%b: %b\r\n" % field for name, field in zip(head.names, head.fields, strict=True) if name not in dropped]
    if head.chunked:
        lines.append(b"Content-Length: %d\r\n" % len(request.body))
    lines.append(
        b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\nX-Request-Id: %b\r\n"
        % (head.client.text.encode(), b"https" if head.https else b"http", _host(head), head.request_id)
    )
    if permit.reported:
        reasons = ", ".join(dict.fromkeys(found.reason.value for found in permit.reported))
        lines.append(b"Hookgate-Findings: %b\r\n" % reasons.encode())
    if permit.reserved.in_doubt:
        lines.append(b"Hookgate-Redelivery: maybe\r\n")
    lines.append(b"\r\n")
    lines.append(request.body)
    return b"".join(lines)


def _host(head: Head) -> bytes:
    given = head.named.get(b"x-forwarded-host") if head.trusted else None
    return given or head.named[b"host"]
