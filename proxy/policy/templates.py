"""Templates: the bytes that a sender signs, such as ``v0:{timestamp}:{body}``, parsed once into literal bytes and places."""

import re
from typing import Annotated, NamedTuple, Self

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

_PLACES = ("body", "timestamp", "id", "method", "path", "query", "url", "secret")
_NAMED_PLACES = ("header", "json", "query", "form", "list", "secret", "url")


class Part(NamedTuple):
    """One piece of a template: literal bytes (``place`` empty) or a place with its argument."""

    place: str
    argument: str
    literal: bytes = b""


class Template(NamedTuple):
    """The bytes that a sender signs, such as ``v0:{timestamp}:{body}``; joined as bytes, nothing is decoded."""

    source: str
    parts: tuple[Part, ...]

    @classmethod
    def parse(cls, value: object) -> Self:
        """From text with ``{place}`` or ``{kind:argument}``; ``{{`` and ``}}`` stand for braces."""
        if isinstance(value, cls):
            return value
        if not isinstance(value, str) or not value:
            raise ValueError('must be a template, such as "{body}" or "{timestamp}.{body}"')
        parts: list[Part] = []
        for piece in re.findall(r"\{\{|\}\}|\{[^{}]*\}|[^{}]+|[{}]", value):
            if piece in {"{", "}"}:
                raise ValueError(f"has a lone {piece}; write {piece * 2} for the character itself")
            if piece in {"{{", "}}"} or piece[0] != "{":
                parts.append(Part("", "", (piece[0] if piece in {"{{", "}}"} else piece).encode()))
                continue
            place, colon, argument = piece[1:-1].partition(":")
            if (place in _NAMED_PLACES and argument) if colon else (place in _PLACES):
                parts.append(Part(place, argument))
            else:
                known = ", ".join((*_PLACES, *(f"{named}:NAME" for named in _NAMED_PLACES)))
                raise ValueError(f"knows no place {piece}; the places are {known}")
        return cls(value, tuple(parts))

    def __str__(self) -> str:
        return self.source


TemplateValue = Annotated[
    Template, PlainValidator(Template.parse), WithJsonSchema({"type": "string"}), PlainSerializer(str, return_type=str)
]
