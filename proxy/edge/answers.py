"""Our own answers: constant for their status, telling an attacker nothing. Never 410, never a 3xx, never a 2xx with a body.

A 2xx with a body may be executed by the sender (Telegram runs a ``method`` found there), so ours is empty. Only the answer to a
sender that checks the address has one: what that sender's preset says.
"""

import time
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from proxy.verdict import Said

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}


class _Date:
    """The Date field (RFC 9110 section 6.6.1), made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._line = b""

    def line(self) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._line = b"Date: %b\r\n" % formatdate(second, usegmt=True).encode()
        return self._line


_date = _Date()


def own_answer(
    status: int, request_id: bytes, *, close: bool, retry_after: int = 0, allow: bytes = b"", bodyless: bool = False
) -> bytes:
    """One whole answer. ``bodyless`` leaves the body out, for HEAD."""
    phrase = _PHRASES.get(status, "Refused")
    body = b""
    if status >= 300:
        body = b'{"error":"%b","request_id":"%b"}' % (phrase.lower().replace(" ", "_").encode(), request_id)
    return b"HTTP/1.1 %d %b\r\n%b%b%b%bContent-Length: %d\r\nX-Request-Id: %b\r\n%b\r\n%b" % (
        status,
        phrase.encode(),
        _date.line(),
        b"Content-Type: application/json\r\n" if body else b"",
        b"Retry-After: %d\r\n" % retry_after if retry_after else b"",
        b"Allow: %b\r\n" % allow if allow else b"",
        len(body),
        request_id,
        b"Connection: close\r\n" if close else b"",
        b"" if bodyless else body,
    )


def said_answer(status: int, said: Said, request_id: bytes, *, close: bool) -> bytes:
    """One whole answer in the bot's place. A 204 has neither body nor length (RFC 9110 section 8.6)."""
    fields = b"".join(b"%b: %b\r\n" % field for field in said.fields)
    length = b"" if status == HTTPStatus.NO_CONTENT else b"Content-Length: %d\r\n" % len(said.body)
    return b"HTTP/1.1 %d %b\r\n%b%b%bX-Request-Id: %b\r\n%b\r\n%b" % (
        status,
        _PHRASES.get(status, "OK").encode(),
        _date.line(),
        fields,
        length,
        request_id,
        b"Connection: close\r\n" if close else b"",
        said.body,
    )
