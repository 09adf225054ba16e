"""Requests made at random from a seed, and what of each has to reach the bot."""

import gzip
import hashlib
import random
import zlib
from itertools import pairwise
from typing import NamedTuple

from tests.edge.lines import TOKEN_LINE

_PATHS = [b"/w", b"/a%2fb%41", b"//x", b"/x/../y"]
_QUERY = b"abcXYZ019%/?&=+.~-_!$'()*,;:@[]{}|\\^\"<>`"
_NAME = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-!#$%&'*+.^`|~"
_VALUE = bytes([*range(0x21, 0x7F), *range(0x80, 0x100)])
_KNOWN = [b"Accept", b"User-Agent", b"Content-Type", b"Cookie", b"AUTHORIZATION", b"accept-Encoding", b"Range", b"X_Custom"]
_CODINGS = [b"gzip", b"deflate", b"br", b"zstd", b"x-gzip", b"gzip, gzip", b"identity", b"nonsense"]
_SIZES = [0, 1, 2, 1000, 65_535, 65_536, 262_144, 1_048_576]


class Made(NamedTuple):
    """One request: the segments to send, and what the bot has to get."""

    segments: list[bytes]
    first_line: bytes
    fields: list[tuple[bytes, bytes]]
    length: int
    digest: bytes
    chunked: bool


def make(number: int, seed: int) -> Made:
    """The request of this number."""
    draw = random.Random(seed * 1_000_003 + number)  # noqa: S311 - for tests, repeatable
    coding = draw.choice(_CODINGS) if draw.random() < 0.4 else b""
    body = _body(draw, coding)
    target = draw.choice(_PATHS)
    if draw.random() < 0.3:
        target = b"/open?" + bytes(draw.choices(_QUERY, k=draw.randrange(40)))
    fields = _fields(draw, coding)
    chunked = draw.random() < 0.1
    sent = [(b"hOsT" if draw.random() < 0.1 else b"Host", b"bot.example.com"), *fields]
    framing = (
        (b"Transfer-Encoding", b"chunked")
        if chunked
        else (b"content-length" if number % 3 else b"Content-Length", b"%d" % len(body))
    )
    sent.insert(draw.randrange(len(sent) + 1), framing)
    lines = b"".join(b"%b:%b%b\r\n" % (name, draw.choice([b"", b" ", b"  ", b"\t "]), value) for name, value in sent)
    raw = b"POST " + target + b" HTTP/1.1\r\n" + TOKEN_LINE + lines + b"\r\n"
    raw += _chunks(draw, body) if chunked else body
    token = tuple(TOKEN_LINE.rstrip().split(b": ", 1))
    kept = [(token[0], token[1]), *(field for field in sent if field[0] != b"Transfer-Encoding")]
    if chunked:
        kept.append((b"Content-Length", b"%d" % len(body)))
    return Made(_segments(draw, raw), b"POST %b HTTP/1.1" % target, kept, len(body), hashlib.sha256(body).digest(), chunked)


def _body(draw: random.Random, coding: bytes) -> bytes:
    size = draw.choice(_SIZES) if draw.random() < 0.02 else int(2 ** (20 * draw.random() ** 1.7))
    raw = draw.randbytes(min(size, 4096)) * (size // 4096 + 1)
    raw = raw[:size]
    if coding in {b"gzip", b"x-gzip"} and draw.random() < 0.7:
        return gzip.compress(raw[:100_000], 1)
    if coding == b"deflate" and draw.random() < 0.7:
        return zlib.compress(raw[:100_000], 1)
    return raw


def _fields(draw: random.Random, coding: bytes) -> list[tuple[bytes, bytes]]:
    fields = [(b"Content-Encoding", coding)] if coding else []
    for _ in range(draw.randrange(12)):
        name = b"X-" + bytes(draw.choices(_NAME, k=draw.randrange(1, 12)))
        fields.append((name, _value(draw)))
        if draw.random() < 0.2:
            fields.append((name.swapcase(), _value(draw)))
    fields += [(name, _value(draw)) for name in _KNOWN if draw.random() < 0.2]
    draw.shuffle(fields)
    return fields


def _value(draw: random.Random) -> bytes:
    words = [bytes(draw.choices(_VALUE, k=draw.randrange(1, 20))) for _ in range(draw.randrange(4))]
    return draw.choice([b" ", b"\t", b"  "]).join(words)


def _chunks(draw: random.Random, body: bytes) -> bytes:
    pieces, at = [], 0
    while at < len(body):
        piece = body[at : at + draw.randrange(1, 100_000)]
        at += len(piece)
        pieces.append(b"%x%b\r\n%b\r\n" % (len(piece), draw.choice([b"", b"", b";a=b"]), piece))
    return b"".join(pieces) + b"0\r\n" + draw.choice([b"", b"", b"X-Trailer: 1\r\n"]) + b"\r\n"


def _segments(draw: random.Random, raw: bytes) -> list[bytes]:
    if draw.random() < 0.4:
        return [raw]
    cuts = sorted({0, len(raw), *(draw.randrange(1, len(raw)) for _ in range(draw.randrange(1, 6)))})
    if draw.random() < 0.2:
        cuts = sorted({*cuts, *range(1, min(40, len(raw)))})
    return [raw[start:end] for start, end in pairwise(cuts)]
