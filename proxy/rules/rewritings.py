"""What becomes of a body on its way: the known changes that break a signature, each undone or done once more.

SECURITY: the bodies are strangers': what is unpacked is bounded, and each step does a bounded piece of work.
"""

import json
import zlib
from collections.abc import Callable, Iterator
from typing import Final

import orjson

from proxy.verdict import Cause

_UNPACKED: Final = 1024 * 1024
_PACKED: Final = 64 * 1024
"""Packing is the dearest of all: larger bodies are not tried."""

Rewriting = Callable[[bytes], Iterator[bytes]]


def rewritten(body: bytes) -> Iterator[tuple[Cause, bytes]]:
    """The bodies that the sender may have signed, each with what happened to it then; never ``body`` itself."""
    for cause, rewriting in REWRITINGS:
        for other in rewriting(body):
            if other != body:
                yield cause, other


def _decoded(body: bytes) -> Iterator[bytes]:
    """Gzip, zlib or bare deflate taken off; gzip put on as the usual writers do."""
    for bits in (31, 15, -15):
        unpacking = zlib.decompressobj(bits)
        try:
            plain = unpacking.decompress(body, _UNPACKED)
        except zlib.error:
            continue
        if unpacking.eof:
            yield plain
    if len(body) > _PACKED:
        return
    for level in (6, 9, 1):
        packing = zlib.compressobj(level, zlib.DEFLATED, 31)
        packed = packing.compress(body) + packing.flush()
        yield packed  # says that a Unix made it
        yield packed[:9] + b"\xff" + packed[10:]  # says nothing of its maker, as Python, Go and Java do


def _reserialised(body: bytes) -> Iterator[bytes]:
    """JSON as the usual writers write it: compact or spaced, in escapes or not, in order or sorted."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return
    for ordered in (False, True):
        for escaped in (False, True):
            for separators in ((",", ":"), (", ", ": ")):
                yield _written(document, ordered, escaped, separators)
    compact = _written(document, False, True, (",", ":"))
    yield compact.replace(b"/", b"\\/")  # PHP
    yield compact.replace(b"<", b"\\u003c").replace(b">", b"\\u003e").replace(b"&", b"\\u0026")  # Go
    for indent in (2, 4):
        yield json.dumps(document, indent=indent, ensure_ascii=False).encode("utf-8", "surrogatepass")
    if isinstance(document, dict) and len(document) > 1:
        first = next(iter(document.items()))
        head = _written(dict([first]), False, True, (",", ":"))[:-1]
        yield compact.replace(head + b",", head + b",\n", 1)  # Telegram
    try:
        yield orjson.dumps(orjson.loads(body))
    except (orjson.JSONDecodeError, TypeError):
        return


def _written(document: object, ordered: bool, escaped: bool, separators: tuple[str, str]) -> bytes:
    try:
        text = json.dumps(document, ensure_ascii=escaped, separators=separators, sort_keys=ordered)
    except (RecursionError, TypeError):
        return b""
    return text.encode("utf-8", "surrogatepass")


def _line_endings(body: bytes) -> Iterator[bytes]:
    unix = body.replace(b"\r\n", b"\n")
    yield unix
    yield unix.replace(b"\n", b"\r\n")


def _end(body: bytes) -> Iterator[bytes]:
    """A newline at the end put on or taken off."""
    yield body + b"\n"
    yield body + b"\r\n"
    yield body.removesuffix(b"\n").removesuffix(b"\r")
    yield body.rstrip(b"\r\n")


REWRITINGS: Final[tuple[tuple[Cause, Rewriting], ...]] = (
    (Cause.BODY_DECODED, _decoded),
    (Cause.TRAILING_NEWLINE, _end),
    (Cause.LINE_ENDING, _line_endings),
    (Cause.BODY_RESERIALISED, _reserialised),
)
"""The changes, the surest first."""
