"""Names one value inside a request: a header, a JSON pointer, a field of a query or form, an item of a list, basic credentials,
the body's hash.

A value that is repeated, absent, or of a kind without one written form is ``None``: no guess is made.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable, Iterable
from typing import Final

from proxy.messages import Request
from proxy.policy.signatures import ListSyntax
from proxy.policy.values import Selector, SelectorKind
from proxy.rules.escapes import unescaped

Read = Callable[[Request], bytes | None]


def reader(selector: Selector, items: ListSyntax | None = None, list_header: bytes = b"") -> Read:
    """The function that reads ``selector``; ``items`` and ``list_header`` say how ``list:`` is to be read."""
    argument = selector.argument
    match selector.kind:
        case SelectorKind.HEADER:
            return _header(argument.lower().encode())
        case SelectorKind.JSON:
            return _json(pointer(argument))
        case SelectorKind.QUERY:
            return lambda request: _only(request.head.query or b"", argument.encode())
        case SelectorKind.FORM:
            return lambda request: _only(request.body, argument.encode())
        case SelectorKind.LIST:
            assert items is not None, "the reader of policies refuses list: without a list"  # noqa: S101 - unreachable
            return _item(list_header, items, argument.encode())
        case SelectorKind.BODY:
            return lambda request: hashlib.sha256(request.body).hexdigest().encode()
        case SelectorKind.BASIC:
            return _basic(whole=argument == "credentials")


def _basic(*, whole: bool) -> Read:
    """The credentials of basic authentication, as bytes (RFC 7617 section 2)."""
    header = _header(b"authorization")

    def read(request: Request) -> bytes | None:
        given = header(request) or b""
        if given[:6].lower() != b"basic ":
            return None
        try:
            credentials = base64.b64decode(given[6:].strip(), validate=True)
        except binascii.Error:
            return None
        _, colon, password = credentials.partition(b":")
        return (credentials if whole else password) if colon else None

    return read


class Header:
    """Reads a header of one name: its value where it stands there once, is not empty, and has no ``end`` in it."""

    __slots__ = ("end", "name")

    def __init__(self, name: bytes, end: bytes = b"") -> None:
        self.name: Final = name
        self.end: Final = end

    def __call__(self, request: Request) -> bytes | None:
        """The value."""
        head = request.head
        found = None if self.name in head.repeated else head.named.get(self.name) or None
        return None if found is not None and self.end and self.end in found else found


def _header(name: bytes) -> Read:
    return _one_header([_header(one) for one in name.split(b"|")]) if b"|" in name else Header(name)


def _one_header(reads: list[Read]) -> Read:
    """SECURITY: two names of one thing in one request are two values: which one was signed, nobody can tell."""

    def read(request: Request) -> bytes | None:
        found = [value for read in reads if (value := read(request))]
        return found[0] if len(found) == 1 else None

    return read


def _item(header: bytes, syntax: ListSyntax, key: bytes) -> Read:
    named = listed(syntax, key)

    def read(request: Request) -> bytes | None:
        head = request.head
        if header in head.repeated:
            return None
        found = named(head.named.get(header, b""))
        return found[0] if len(found) == 1 else None

    return read


def listed(syntax: ListSyntax, key: bytes) -> Callable[[bytes], list[bytes]]:
    """The function that gives the values of the items named ``key`` in a list such as ``t=1,v1=ab,v1=cd``."""
    separator, named = syntax.separator.encode(), key + syntax.pair.encode()
    length = len(named)

    def values(header: bytes) -> list[bytes]:
        return [item[length:] for item in map(bytes.strip, header.split(separator)) if item.startswith(named)]

    return values


_MOST_FIELDS: Final = 1000


def _only(encoded: bytes, name: bytes) -> bytes | None:
    # SECURITY: a form may be read before anything is proved, so no more fields are parted than may be there.
    fields = encoded.split(b"&", _MOST_FIELDS)
    if len(fields) > _MOST_FIELDS:
        return None
    values = [
        unescaped(value.replace(b"+", b" "))
        for key, _, value in (field.partition(b"=") for field in fields)
        if unescaped(key.replace(b"+", b" ")) == name
    ]
    return values[0] if len(values) == 1 else None


def pointer(text: str) -> tuple[str, ...]:
    """The reference tokens of a JSON pointer (RFC 6901)."""
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in text.split("/")[1:])


def _json(tokens: tuple[str, ...]) -> Read:
    find = finder(tokens)

    def read(request: Request) -> bytes | None:
        found = find(request.document())
        return found.encode() if type(found) is str else written(found)

    return read


def finder(tokens: tuple[str, ...]) -> Callable[[object], object]:
    """The function that finds what the pointer points at, ``None`` for nothing; quickest where that is a field of the whole, as
    it mostly is.
    """
    if len(tokens) != 1:
        return lambda document: at(document, tokens)
    (name,) = tokens
    return lambda document: document.get(name) if isinstance(document, dict) else at(document, tokens)


def at(document: object, tokens: tuple[str, ...]) -> object:
    """What the pointer points at; ``None`` for nothing."""
    for token in tokens:
        if isinstance(document, dict):
            document = document.get(token)
        elif isinstance(document, list) and token.isascii() and token.isdigit() and int(token) < len(document):
            document = document[int(token)]
        else:
            return None
    return document


def every(document: object, tokens: tuple[str, ...]) -> list[object]:
    """All that the pointer points at, where ``*`` stands for each element of a list."""
    found = [document]
    for step in tokens:
        if step == "*":
            found = [inner for one in found if isinstance(one, list) for inner in one]
        else:
            found = [at(one, (step,)) for one in found]
    return found


def written(value: object) -> bytes | None:
    """A string's or whole number's one written form; ``None`` for all that has several (floats, null, containers)."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, bool):
        return b"true" if value else b"false"
    return b"%d" % value if isinstance(value, int) else None


_ESCAPED_ASCII: Final = re.compile(rb"\\u00[2-7]")
_PLAIN: Final = re.compile(r"[ !#-.0-\[\]-~]*")
"""Keys that no JSON writer escapes but as ``\\u00XX``."""


def ambiguity(tokens: tuple[str, ...]) -> Callable[[bytes], bool]:
    """The function that tells whether a key on the way to the value at ``tokens`` stands more than once in its object.

    SECURITY: orjson keeps the last of two equal keys, other parsers the first, so two parsers may read two different values; a
    key may also be written with escapes (``update\\u005fid``). The text scan only rules out the usual case cheaply; the exact
    answer is parsed.
    """
    if not all(map(_PLAIN.fullmatch, tokens)):
        return lambda body: _repeated(body, tokens)
    quoted = tuple(b'"%b"' % token.encode() for token in tokens)

    def of(body: bytes) -> bool:
        for one in quoted:
            first = body.find(one)
            if first >= 0 and body.find(one, first + 1) >= 0:
                return _repeated(body, tokens)
        return escaped(body) and _repeated(body, tokens)

    return of


def escaped(body: bytes) -> bool:
    """Whether a character that needs no escape is escaped, and so perhaps a name."""
    return b"\\" in body and b"\\u00" in body and _ESCAPED_ASCII.search(body) is not None


class _Pairs:
    """A JSON object with all its members, doubles included."""

    __slots__ = ("members",)

    def __init__(self, members: list[tuple[str, object]]) -> None:
        self.members = members


def _repeated(body: bytes, tokens: tuple[str, ...]) -> bool:
    try:
        document: object = json.loads(body, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        return True
    return _doubled(document, tokens)


def _doubled(document: object, tokens: tuple[str, ...]) -> bool:
    for index, step in enumerate(tokens):
        if isinstance(document, _Pairs):
            found = [value for key, value in document.members if key == step]
            if len(found) != 1:
                return len(found) > 1
            document = found[0]
        elif step == "*" and isinstance(document, list):
            return any(_doubled(inner, tokens[index + 1 :]) for inner in document)
        else:
            document = at(document, (step,))
    return False


def doubled(body: bytes, names: Iterable[bytes], most: int) -> bool:
    """Whether a name stands twice in an object of the JSON. Where each of the names that matter (in quotes) is there at most
    ``most`` times, no more is looked at: so many objects have one each.
    """
    if not any(body.count(name) > most for name in names) and not escaped(body):
        return False

    def told(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a name stands twice")
        return found

    try:
        json.loads(body, object_pairs_hook=told)
    except (ValueError, RecursionError):
        return True
    return False
