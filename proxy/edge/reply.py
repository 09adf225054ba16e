"""The bot's answer as bytes for the sender: status line, fields and body as they came, hop-by-hop fields aside."""

from typing import Final

from proxy.messages import Reply

HOP_BY_HOP: Final = frozenset({
    b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"te", b"trailer",
    b"transfer-encoding", b"upgrade",
})  # fmt: skip
"""RFC 9110 section 7.6.1; what ``Connection`` nominates is dropped besides."""


def reply_bytes(reply: Reply, *, close: bool, bodyless: bool, old: bool) -> tuple[bytes, bool]:
    """The head and what there is of the body in one piece, and whether the connection must close after it.

    ``bodyless``: the answer to HEAD, whose length fields stand for a body that is not sent. ``old``: the sender speaks HTTP/1.0,
    so a body of unknown length ends with the connection.
    """
    kept = reply.kept
    if kept is None or close or bodyless:
        return _written(reply, close=close, bodyless=bodyless, old=old)
    if not kept.head:
        whole, _ = _written(reply, close=False, bodyless=False, old=False)
        kept.head = whole[: len(whole) - len(reply.body)]
    return kept.head + reply.body, False


def _written(reply: Reply, *, close: bool, bodyless: bool, old: bool) -> tuple[bytes, bool]:
    lines = [b"HTTP/1.1 %d %b\r\n" % (reply.status, reply.reason)]
    names = [name.lower() for name, _ in reply.fields]
    dropped = HOP_BY_HOP | _nominated(reply) if b"connection" in names else HOP_BY_HOP
    lines += [b"%b: %b\r\n" % field for lowered, field in zip(names, reply.fields, strict=True) if lowered not in dropped]
    lengthless = b"content-length" not in names
    if lengthless and not bodyless and reply.status not in {204, 304}:
        if reply.rest is None:
            lines.append(b"Content-Length: %d\r\n" % len(reply.body))
        elif old:
            close = True
        else:
            lines.append(b"Transfer-Encoding: chunked\r\n")
    if close:
        lines.append(b"Connection: close\r\n")
    lines.append(b"\r\n")
    lines.append(reply.body)
    return b"".join(lines), close


def _nominated(reply: Reply) -> frozenset[bytes]:
    names = [value for name, value in reply.fields if name.lower() == b"connection"]
    return frozenset(token.strip().lower() for value in names for token in value.split(b",")) - {b"content-length"}
