"""Before a byte is served: the parser in use is the strict one written in C, and neither side of us decodes a body."""

import asyncio
import gzip

from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy

from proxy.edge.intake import request_parser
from proxy.errors import StartError
from proxy.policy.model import Limits

_BODY = gzip.compress(b'{"update_id":1}', mtime=0)


def prove(loop: asyncio.AbstractEventLoop, limits: Limits) -> None:
    """Refuse to start with the pure-Python parser (most smuggling advisories are about it), or where a gzip body would change.

    Raises:
        StartError: with the remedy.
    """
    parser: object = HttpRequestParser
    if parser is HttpRequestParserPy:
        raise StartError(
            "aiohttp runs with its pure-Python HTTP parser, which is not strict enough:"
            " install the aiohttp wheel for this platform and unset AIOHTTP_NO_EXTENSIONS"
        )
    head = b"POST / HTTP/1.1\r\nHost: proof\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(_BODY)
    _, payload = request_parser(loop, limits).feed_data(head + _BODY)[0][0]
    if b"".join(payload._buffer) != _BODY or payload.read_nowait() != _BODY:
        raise StartError("this aiohttp decodes request bodies although it is told not to: install the locked version")
