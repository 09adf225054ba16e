"""What a Signature-Input field says (RFC 9421 section 4.1): by its label, what each signature covers, and its parameters.

Most senders write it in the canonical form, with texts and whole numbers alone: one pattern sees that, and what was read need
not be written anew. All else goes through the parser of structured fields; both give the same.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from proxy.rules.structured_fields import BareItem, InnerList, Member, dictionary, write

_KEY: Final = rb"[a-z*][a-z0-9_.*-]*+"
_TEXT: Final = rb'"[ !#-:<-\[\]-~]*+"'
"""Without a semicolon in it."""
_BEGIN: Final = re.compile(rb"(%b)=(\((?:%b(?: %b)*+)?\))" % (_KEY, _TEXT, _TEXT))
_ENDING: Final = re.compile(rb"(?:;%b=(?:0|[1-9][0-9]{0,14}+|%b))*+" % (_KEY, _TEXT))
_QUOTE: Final = ord('"')
_MOST_USUAL: Final = 1024


Parameters = Mapping[bytes, BareItem]
Covered = tuple[str, bytes, Parameters, bytes]
"""A label, the canonical form of the inner list without its parameters (empty for what is no inner list), the parameters, and
their canonical form: list and parameters as the signature base has them.
"""


def covered(text: bytes) -> list[Covered]:
    """What stands there, in its order.

    Raises:
        ValueError: it is no dictionary, or a key or parameter stands twice. The message quotes nothing.
    """
    begin, mark, ending = text.partition(b")")
    begun = _begun(begin + mark) if len(text) <= _MOST_USUAL and _ENDING.fullmatch(ending) else None
    if begun is None:
        return [_written(label, member) for label, member in dictionary(text).items()]
    written = ending.split(b";")
    parameters: dict[bytes, BareItem] = {}
    for one in written[1:]:
        name, _, value = one.partition(b"=")
        parameters[name] = value[1:-1].decode() if value[0] == _QUOTE else int(value)
    if len(parameters) != len(written) - 1:
        raise ValueError("a parameter stands twice")
    return [(*begun, parameters, ending)]


@lru_cache(maxsize=64)
def _begun(text: bytes) -> tuple[str, bytes] | None:
    """Label and list, as they stand there; the last ones are kept, since a sender's are the same in all its requests."""
    found = _BEGIN.fullmatch(text)
    return None if found is None else (found[1].decode(), found[2])


def _written(label: str, member: Member) -> Covered:
    parameters = {name.encode(): value for name, value in member.parameters}
    if not isinstance(member, InnerList):
        return label, b"", parameters, b""
    items = write(InnerList(member.items, ()))
    return label, items, parameters, write(member)[len(items) :]
