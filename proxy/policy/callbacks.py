"""Settings of the schemes whose requests are encrypted: WeCom, DingTalk, Feishu's bare envelope, an HMAC around AES-GCM.

What each covers is told with it. The key that decrypts is a value of the same secret as the one that proves.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from proxy.policy.settings import Settings
from proxy.policy.signatures import SignatureSettings, TemplateSignature
from proxy.policy.values import Selector, SelectorKind, SelectorValue

_AES_KEY = re.compile(rb"[A-Za-z0-9+/]{43}")


class CallbackSignature(SignatureSettings):
    """``msg_signature``: SHA-1 over the sorted texts token, timestamp, nonce and encrypted text."""

    scheme: str
    signature_names: ClassVar[tuple[str, ...]] = ("msg_signature",)
    timestamp_names: ClassVar[tuple[str, ...]] = ("timestamp",)

    def covers(self, place: Selector) -> bool:
        kind, name = place
        if kind is SelectorKind.QUERY:
            return name in {*self.signature_names, *self.timestamp_names, "nonce", "echostr"}
        return kind is SelectorKind.JSON and name == "/encrypt"

    def values_fault(self, values: Mapping[str, bytes]) -> str | None:
        """Why these values cannot be used: the AES key's form."""
        if not _AES_KEY.fullmatch(values.get("aes_key", b"")):
            return "aes_key is not an EncodingAESKey of 43 characters (A-Z a-z 0-9 + /)"
        return None


class WecomSignature(CallbackSignature):
    """WeCom, and WeChat accounts in secure mode."""

    scheme: Annotated[Literal["wecom"], Field(description="WeCom: msg_signature in the query, over the encrypted text")]
    VALUES: ClassVar[tuple[str, ...]] = ("token", "aes_key", "receive_id")
    OPEN_VALUES: ClassVar[frozenset[str]] = frozenset({"receive_id"})


class DingtalkSignature(CallbackSignature):
    """DingTalk's event callbacks."""

    scheme: Annotated[
        Literal["dingtalk-callback"],
        Field(description="DingTalk: msg_signature (or signature) in the query, over the encrypted text"),
    ]
    VALUES: ClassVar[tuple[str, ...]] = ("token", "aes_key", "owner_key")
    OPEN_VALUES: ClassVar[frozenset[str]] = frozenset({"owner_key"})
    signature_names: ClassVar[tuple[str, ...]] = ("msg_signature", "signature")
    timestamp_names: ClassVar[tuple[str, ...]] = ("timestamp", "timeStamp")


class LarkEnvelope(SignatureSettings):
    """Feishu's encryption alone, without its signature: no proof of what was sent, only that someone had an encrypted text."""

    scheme: Annotated[
        Literal["lark-envelope"],
        Field(description="Feishu: the body's encrypt can be decrypted; weak, prefer scheme: hash with X-Lark-Signature"),
    ]


class EnvelopeSignature(TemplateSignature):
    """An HMAC over the raw envelope, whose text is encrypted with AES-256-GCM; the nonce stands in a header and in the body."""

    scheme: Annotated[
        Literal["hmac-envelope"], Field(description="an HMAC-SHA256 over a template, around an AES-256-GCM envelope")
    ]
    nonce: Annotated[SelectorValue, Field(description="where the nonce stands (base64 of 12 bytes)")] = Selector(
        SelectorKind.HEADER, "X-Encryption-Nonce"
    )
    body_nonce: Annotated[SelectorValue, Field(description="where it stands again, among the signed bytes")] = Selector(
        SelectorKind.JSON, "/nonce"
    )
    encrypted: Annotated[SelectorValue, Field(description="where ciphertext and tag stand, in base64")] = Selector(
        SelectorKind.JSON, "/encrypted"
    )
    VALUES: ClassVar[tuple[str, ...]] = ("hmac_key", "aes_key_b64")
    OPTIONAL_VALUES: ClassVar[frozenset[str]] = frozenset({"aes_key_b64"})

    def selectors(self) -> Iterator[tuple[str, Selector]]:
        yield from super().selectors()
        yield from (("nonce", self.nonce), ("body_nonce", self.body_nonce), ("encrypted", self.encrypted))

    def values_fault(self, values: Mapping[str, bytes]) -> str | None:
        """Why these values cannot be used: the AES key's form."""
        written = values.get("aes_key_b64")
        try:
            usable = written is None or len(base64.b64decode(written, validate=True)) == 32
        except binascii.Error:
            usable = False
        return None if usable else "aes_key_b64 is not base64 of 32 bytes"


class DecryptSettings(Settings):
    """What the bot gets instead of the envelope: the one place where bytes change."""

    algorithm: Annotated[Literal["aes-256-gcm"], Field(description="how the envelope of scheme: hmac-envelope is encrypted")]
    content_type: Annotated[
        str | None, Field(pattern=r"^[a-z]+/[a-z0-9.+-]+(; charset=utf-8)?$", description="of the plaintext; absent: as it came")
    ] = None


def _spelled(written: object) -> object:
    return {"algorithm": written} if isinstance(written, str) else written


DecryptOption = Annotated[
    DecryptSettings, BeforeValidator(_spelled, json_schema_input_type=Literal["aes-256-gcm"] | DecryptSettings)
]
"""``aes-256-gcm``, or a mapping."""
