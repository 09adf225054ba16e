"""Settings of schemes that no template expresses and one sender has: Twilio's URL and sorted fields, Adyen's items."""

from typing import Annotated, Literal

from pydantic import Field

from proxy.policy.keys import EXPECTED, decode_key
from proxy.policy.signatures import Placed, SignatureSettings
from proxy.policy.values import Selector, SelectorKind


class TwilioSignature(Placed):
    """An HMAC over the registered URL and the form's sorted fields, or over a URL that holds the body's SHA-256."""

    scheme: Annotated[Literal["twilio"], Field(description="Twilio: the URL and the sorted fields of the form")]
    algorithm: Annotated[Literal["sha1", "sha256"], Field(description="sha256: signed with a SharedKey, not the auth token")] = (
        "sha1"
    )

    @property
    def covers_body(self) -> bool:
        return True

    def covers(self, place: Selector) -> bool:
        kind, name = place
        return kind is not SelectorKind.HEADER or name.lower() == (self.header or "").lower()


_SIGNED = (
    "pspReference",
    "originalReference",
    "merchantAccountCode",
    "merchantReference",
    "eventCode",
    "success",
    "hmacSignature",
)
"""Fields of an item that are signed, and the signature: it has one written form, and names what it signs."""


class AdyenPaymentsSignature(SignatureSettings):
    """An HMAC-SHA256 in each item of the body, over eight of its fields."""

    scheme: Annotated[Literal["adyen-payments"], Field(description="Adyen payments: each item holds its own signature")]

    def covers(self, place: Selector) -> bool:
        return place.kind is SelectorKind.JSON and place.argument.rpartition("/")[2] in _SIGNED

    def key_fault(self, secret: bytes) -> str | None:
        try:
            decode_key("hex", secret)
        except ValueError:
            return f"is not {EXPECTED['hex']}, as Adyen shows its HMAC keys"
        return None

    def key_length(self, secret: bytes) -> int:
        return len(secret) // 2
