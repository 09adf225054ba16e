"""A chain of lines: each holds its number, the digest of the line before, and its own digest over both and all it says.

Who changes, removes or moves a line breaks the chain at that place. Without a key whoever can write the file can also make a
whole new chain, and no chain shows that lines are missing at its end: for that its last digest must be known elsewhere.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import orjson

_LINE: Final = re.compile(rb'(\{"seq":([0-9]{1,15}),.*"prev":"([0-9a-f]{64})"),"(hash|mac)":"([0-9a-f]{64})"\}', re.DOTALL)
TORN: Final = "torn"
"""The event of the line that follows one which a crash left unfinished."""


class Link(NamedTuple):
    """One line's place in the chain."""

    seq: int
    digest: str


ORIGIN: Final = Link(0, "0" * 64)
"""What the first line of a chain follows."""


class Line(NamedTuple):
    """A line whose digest is right."""

    before: str
    """Digest of the line that it follows."""
    link: Link
    facts: Mapping[str, object]


class Chain:
    """Makes and reads lines: with SHA-256, or with HMAC-SHA256 where there is a key."""

    def __init__(self, key: bytes = b"") -> None:
        self._key = key
        self._field = b"mac" if key else b"hash"

    def line(self, before: Link, facts: Mapping[str, object]) -> tuple[bytes, Link]:
        """The line, with its end, that says ``facts`` and follows ``before``; and its own place."""
        said = orjson.dumps({"seq": before.seq + 1, **facts, "prev": before.digest})[:-1]
        digest = self._digest(said)
        return b'%b,"%b":"%b"}\n' % (said, self._field, digest.encode()), Link(before.seq + 1, digest)

    def read(self, text: bytes) -> Line | None:
        """A line without its end; ``None`` where it is none of this chain, or its digest is wrong."""
        found = _LINE.fullmatch(text)
        if found is None or found[4] != self._field or not hmac.compare_digest(self._digest(found[1]).encode(), found[5]):
            return None
        try:
            facts = orjson.loads(text)
        except orjson.JSONDecodeError:
            return None
        return Line(found[3].decode(), Link(int(found[2]), found[5].decode()), facts)

    def digest_of(self, text: bytes) -> str | None:
        """The digest of a line with its end, where it is right."""
        line = self.read(text.removesuffix(b"\n"))
        return line.link.digest if line is not None else None

    def keyed_otherwise(self, text: bytes) -> bool:
        """Whether the line says that it was made with a key where there is none here, or the other way round."""
        found = _LINE.fullmatch(text)
        return found is not None and found[4] != self._field

    def _digest(self, said: bytes) -> str:
        return hmac.new(self._key, said, "sha256").hexdigest() if self._key else hashlib.sha256(said).hexdigest()


class Break(NamedTuple):
    """A line that is not as it was written, or not where it was written."""

    number: int
    """Counts lines from 1, over all that was given."""
    why: str


class Followed(NamedTuple):
    """How far a chain was followed."""

    last: Link
    lines: int
    torn: int
    """Lines that a crash left unfinished and the next start noted; nothing is missing there."""


def follow(chain: Chain, lines: Iterable[bytes], after: str = ORIGIN.digest) -> Iterator[Break | Followed]:
    """Every break of the chain that begins after the digest ``after``, then how far it goes."""
    last, number, torn = Link(-1, after), 0, 0
    unread: list[tuple[int, bytes]] = []
    for number, text in enumerate(lines, 1):
        line = chain.read(text.removesuffix(b"\n")) if text.endswith(b"\n") else None
        if line is None:
            unread.append((number, text))
            continue
        if unread and _noted(line, unread, last):
            torn += len(unread)
            unread.clear()
        yield from (Break(at, _why(chain, one)) for at, one in unread)
        # After a line that cannot be read, the one behind it has nothing to follow: its own digest is right, so it begins anew.
        if not unread and line.before != last.digest:
            yield Break(number, _gap(last, line))
        unread.clear()
        last = line.link
    yield from (Break(at, _why(chain, one)) for at, one in unread)
    yield Followed(last if last.seq >= 0 else Link(0, after), number, torn)


def _noted(line: Line, unread: list[tuple[int, bytes]], last: Link) -> bool:
    """Whether the line tells of the unfinished one before it."""
    size = sum(len(text) for _, text in unread) - 1
    return line.before == last.digest and line.facts.get("event") == TORN and line.facts.get("bytes") == size


def _why(chain: Chain, text: bytes) -> str:
    if not text.endswith(b"\n"):
        return "is unfinished: the last write was cut short, or its end was taken away"
    if chain.keyed_otherwise(text.removesuffix(b"\n")):
        return "was made with a key: give it with --key-file or --key-env" if b'"mac"' in text else "was made without a key"
    return "was changed: its digest is not that of what it says (or it was made with another key)"


def _gap(last: Link, line: Line) -> str:
    if last.seq < 0:
        return (
            f"is line {line.link.seq} of its chain, and what came before it is not here: lines were removed, or this file goes "
            "on where another ended (then give that file first, or its last digest with --after)"
        )
    return f"does not follow the line above it ({last.seq}, then {line.link.seq}): lines between were removed, added or moved"
