"""The requests by which a sender checks an address before it sends events: data of its preset, and what a route wants with them.

A handshake is recognised by its exact shape, so that what is waived for it can never let an event through.
"""

import re
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from proxy.policy.references import SecretValue
from proxy.policy.settings import Settings
from proxy.policy.values import ConditionValue, SelectorKind, SelectorValue

LONGEST_ECHO: Final = 2048
"""Bytes of a caller's own text that an answer repeats at most."""

ANY: Final = "*"
"""In ``when``: something must stand there, whatever it is. An empty value: nothing stands there."""

_HARMLESS: Final = "A-Za-z0-9 !#$%()*+,./:;=?@^_{|}~\\[\\]-"
"""SECURITY: what an answer may repeat: printable, and nothing that begins a tag, an entity, a quotation or an escape."""

_PLACE: Final = re.compile(r"\{(echo|token|hmac:hex|hmac:base64|sealed)\}")


class Echo(Settings):
    """The text of the request that its answer repeats."""

    source: Annotated[SelectorValue | None, Field(description="where it stands; absent: the whole plaintext")] = None
    allowed: Annotated[
        str, Field(description="the characters that it may have, as between the brackets of a regular expression")
    ] = _HARMLESS
    longest: Annotated[int, Field(ge=1, le=LONGEST_ECHO, description="bytes")] = LONGEST_ECHO

    @field_validator("allowed")
    @classmethod
    def _harmless(cls, written: str) -> str:
        try:
            one = re.compile(f"[{written}]".encode("ascii"))
        except (re.error, UnicodeEncodeError):
            raise ValueError("must be what stands between the brackets of a regular expression, as in A-Za-z0-9_-") from None
        harmless = re.compile(f"[{_HARMLESS}]".encode())
        if any(one.fullmatch(byte) and not harmless.fullmatch(byte) for byte in (bytes([code]) for code in range(256))):
            raise ValueError("may have no quotes, <, >, &, backslash, and nothing beyond printable ASCII: an answer repeats it")
        return written


class HandshakeAnswer(Settings):
    """What the gate answers in the bot's place."""

    status: Annotated[int, Field(ge=200, le=299, description="of the answer")] = 200
    # SECURITY: no type in which a browser would run a caller's text.
    type: Annotated[
        Literal["", "text/plain; charset=utf-8", "application/json"], Field(description="Content-Type; empty for none")
    ] = ""
    body: Annotated[
        str,
        Field(max_length=256, description="text with {echo}, {token}, {hmac:hex} or {hmac:base64} of the echo, or {sealed}"),
    ] = ""
    fields: Annotated[dict[str, str], Field(default_factory=dict, description="further header fields; {echo} may stand in them")]
    seals: Annotated[str, Field(max_length=64, description="the text that {sealed} stands for, encrypted")] = ""

    @property
    def places(self) -> frozenset[str]:
        """What the answer is put together from."""
        return frozenset(found for text in (self.body, *self.fields.values()) for found in _PLACE.findall(text))

    @field_validator("fields")
    @classmethod
    def _plain_fields(cls, fields: dict[str, str]) -> dict[str, str]:
        for name, value in fields.items():
            if not re.fullmatch(r"[A-Za-z0-9-]+", name) or not re.fullmatch(r"[!-~](?:[ -~]*[!-~])?", value):
                raise ValueError("a field is a name and printable text")
        return fields


class Handshake(Settings):
    """One kind of check of the address."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,39}$", description="what logs call it")]
    method: Annotated[Literal["GET", "POST", "OPTIONS"], Field(description="the request's")] = "POST"
    when: Annotated[
        tuple[ConditionValue, ...],
        Field(
            description='what must stand where, as in json:/type=url_verification; "*" for anything, nothing for no value, "[]"'
        ),
    ] = ()
    query: Annotated[
        tuple[str, ...] | None, Field(description="the query has exactly these names, each once; absent: it is not looked at")
    ] = None
    optional_query: Annotated[tuple[str, ...], Field(description="names that may stand there too")] = ()
    members: Annotated[tuple[str, ...] | None, Field(description="the body is a JSON object with exactly these members")] = None
    opened: Annotated[
        Literal["lark", "wecom", "dingtalk"] | None,
        Field(description="encrypted: what is asked of the body is asked of the plaintext"),
    ] = None
    proof: Annotated[
        Literal["signature", "presented", "token", "none"],
        Field(
            description="signature: as for any request; presented: as for any request where one is there; token: handshake.token "
            "stands in it; none"
        ),
    ] = "signature"
    token: Annotated[tuple[SelectorValue, ...], Field(description="where the token stands; the first that is there counts")] = ()
    origin: Annotated[SelectorValue | None, Field(description="where the sender's origin stands (handshake.origins)")] = None
    refused: Annotated[int, Field(ge=400, le=499, description="status for a wrong token")] = 401
    forward: Annotated[
        Literal["waived", "judged"],
        Field(description="judged: an unsigned one that the bot answers still needs the route's signature"),
    ] = "waived"
    echo: Annotated[Echo | None, Field(description="the text of the request that the answer is made of")] = None
    answer: Annotated[HandshakeAnswer | None, Field(description="absent: only the bot can answer")] = None

    @model_validator(mode="after")
    def _bound_to_its_shape(self) -> "Handshake":
        if self.proof != "signature":
            # SECURITY: what needs no signature is told from an event by more than one word of it.
            exact = self.by_head and (self.query is not None)
            if not (exact or self.members is not None or self.opened):
                raise ValueError("an unsigned handshake needs its exact shape: query, members or opened")
        if (self.proof == "token") != bool(self.token):
            raise ValueError("proof: token and token belong together")
        if self.answer and self.answer.places & {"echo", "hmac:hex", "hmac:base64"} and self.echo is None:
            raise ValueError("the answer needs echo")
        if self.echo and self.echo.source is None and not self.opened:
            raise ValueError("echo needs source: where the text stands")
        return self

    @property
    def by_head(self) -> bool:
        """Whether the head alone shows it; then it has no body."""
        named = (
            [one.selector for one in self.when]
            + list(self.token)
            + ([self.echo.source] if self.echo and self.echo.source else [])
        )
        return not self.opened and self.members is None and all(one.kind in _IN_HEAD for one in named)

    @property
    def waives(self) -> bool:
        """Whether it may come without the route's signature."""
        return self.proof != "signature"


_IN_HEAD: Final = frozenset({SelectorKind.HEADER, SelectorKind.QUERY})


class HandshakeSettings(Settings):
    """Who answers the sender's checks of the address, and with what."""

    mode: Annotated[Literal["forward", "answer"], Field(description="forward: the bot does; answer: the gate does")] = "forward"
    token: Annotated[SecretValue | None, Field(description="the text that proves the check, or that answers it")] = None
    origins: Annotated[
        tuple[str, ...], Field(description="origins that may ask for permission to send (CloudEvents): host names, or *")
    ] = ()


def token_owner(route: str) -> str:
    """The name under which a route's ``handshake.token`` stands among the secrets that were read; no route can have it."""
    return f"{route} handshake.token"


def _spelled(written: object) -> object:
    return {"mode": written} if isinstance(written, str) else written


HandshakeOption = Annotated[
    HandshakeSettings,
    BeforeValidator(_spelled, json_schema_input_type=Literal["forward", "answer"] | HandshakeSettings),
]
"""``forward``, ``answer``, or a mapping."""
