"""Structured fields (RFC 9651) as far as signatures need them: dictionaries of inner lists, items and their parameters.

Strict where the RFC is lenient in one point: a key or parameter that stands twice is an error, since two readers may take two
different ones. What was read is written back in the one canonical form (section 4.1), which is what gets signed.
"""

import base64
import binascii
import re
from typing import Final, NamedTuple


class Token(str):
    """A word that is no string."""

    __slots__ = ()


BareItem = bool | int | str | bytes | Token
Parameters = tuple[tuple[str, BareItem], ...]


class Item(NamedTuple):
    """A value and its parameters."""

    value: BareItem
    parameters: Parameters

    def parameter(self, name: str) -> BareItem | None:
        """The parameter of that name."""
        return next((value for key, value in self.parameters if key == name), None)


class InnerList(NamedTuple):
    """Items in parentheses, and the parameters of all of them."""

    items: tuple[Item, ...]
    parameters: Parameters

    def parameter(self, name: str) -> BareItem | None:
        """The parameter of that name."""
        return next((value for key, value in self.parameters if key == name), None)


Member = Item | InnerList

_MOST_BYTES: Final = 16 * 1024
_KEY: Final = re.compile(rb"[a-z*][a-z0-9_.*-]*")
_INTEGER: Final = re.compile(rb"-?[0-9]{1,15}(?![0-9.])")
_STRING: Final = re.compile(rb'"(?:[ !#-\[\]-~]|\\["\\])*"')
_ESCAPE: Final = re.compile(rb"\\(.)")
_SPECIAL: Final = re.compile(r'["\\]')
_BYTES: Final = re.compile(rb":[A-Za-z0-9+/]*={0,2}:")
_TOKEN: Final = re.compile(rb"[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*")
_BOOLEAN: Final = re.compile(rb"\?[01]")
_SOLE: Final = re.compile(rb"([a-z*][a-z0-9_.*-]*+)=:([A-Za-z0-9+/]{1,4096}+={0,2}):")
_COMMA: Final = re.compile(rb"[ \t]*,[ \t]*")
_SPACES: Final = re.compile(rb" +")


def dictionary(text: bytes) -> dict[str, Member]:
    """A dictionary (RFC 9651 section 3.2), several field lines joined by commas.

    Raises:
        ValueError: it is none, or a key or parameter stands twice. The message quotes nothing.
    """
    if len(text) > _MOST_BYTES:
        raise ValueError("too long")
    reader = _Reader(text.strip(b" "))
    members: dict[str, Member] = {}
    while not reader.ended:
        name = reader.need(_KEY).decode()
        if name in members:
            raise ValueError("a key stands twice")
        members[name] = reader.member() if reader.skip(b"=") else Item(True, reader.parameters())
        if reader.ended:
            break
        reader.need(_COMMA)
        if reader.ended:
            raise ValueError("a comma behind the last member")
    return members


def sole_bytes(text: bytes) -> tuple[str, bytes] | None:
    """Key and value of a dictionary with one member alone, of bytes, as most signatures stand there; ``None`` for all else."""
    found = _SOLE.fullmatch(text)
    if found is None:
        return None
    key, value = found.groups()
    return key.decode(), _unpadded(value)


class _Reader:
    """Walks over the text; each step takes what it names or raises."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._at = 0

    @property
    def ended(self) -> bool:
        return self._at == len(self._text)

    def skip(self, literal: bytes) -> bool:
        if not self._text.startswith(literal, self._at):
            return False
        self._at += len(literal)
        return True

    def take(self, form: re.Pattern[bytes]) -> re.Match[bytes] | None:
        found = form.match(self._text, self._at)
        if found is not None:
            self._at = found.end()
        return found

    def need(self, form: re.Pattern[bytes]) -> bytes:
        found = self.take(form)
        if found is None:
            raise ValueError("not as RFC 9651 writes it")
        return found[0]

    def member(self) -> Member:
        if not self.skip(b"("):
            return self.item()
        items: list[Item] = []
        self.take(_SPACES)
        while not self.skip(b")"):
            items.append(self.item())
            if not self.take(_SPACES) and not self._text.startswith(b")", self._at):
                raise ValueError("items of a list stand without a space")
        return InnerList(tuple(items), self.parameters())

    def item(self) -> Item:
        return Item(self._bare(), self.parameters())

    def parameters(self) -> Parameters:
        found: dict[str, BareItem] = {}
        while self.skip(b";"):
            self.take(_SPACES)
            name = self.need(_KEY).decode()
            if name in found:
                raise ValueError("a parameter stands twice")
            found[name] = self._bare() if self.skip(b"=") else True
        return tuple(found.items())

    def _bare(self) -> BareItem:
        begin = self._text[self._at : self._at + 1]
        if begin == b'"':
            written = self.need(_STRING)[1:-1]
            return (_ESCAPE.sub(rb"\1", written) if b"\\" in written else written).decode()
        if begin == b":":
            return _unpadded(self.need(_BYTES)[1:-1])
        if begin == b"?":
            return self.need(_BOOLEAN) == b"?1"
        if begin == b"-" or begin.isdigit():
            return int(self.need(_INTEGER))
        return Token(self.need(_TOKEN).decode())


def _unpadded(written: bytes) -> bytes:
    """The bytes, whether their padding is there or not; what is written are letters of base64 alone."""
    try:
        return binascii.a2b_base64(written + b"==")
    except binascii.Error:
        raise ValueError("not base64") from None


def write(member: Member) -> bytes:
    """The canonical form."""
    if isinstance(member, InnerList):
        return b"(" + b" ".join(map(write, member.items)) + b")" + _parameters(member.parameters)
    return _bare(member.value) + _parameters(member.parameters)


def _parameters(parameters: Parameters) -> bytes:
    return b"".join(b";" + name.encode() + (b"" if value is True else b"=" + _bare(value)) for name, value in parameters)


def _bare(value: BareItem) -> bytes:
    match value:
        case bool():
            return b"?1" if value else b"?0"
        case int():
            return b"%d" % value
        case bytes():
            return b":" + base64.b64encode(value) + b":"
        case Token():
            return value.encode()
        case _:
            return b'"' + (_SPECIAL.sub(r"\\\g<0>", value) if _SPECIAL.search(value) else value).encode() + b'"'
