"""All schemes that a signature rule may have: the one union, told apart by ``scheme``; and several of them as alternatives."""

from collections.abc import Iterator
from typing import Annotated, Final, Literal, get_args

from pydantic import Field, field_validator

from proxy.policy.callbacks import DingtalkSignature, EnvelopeSignature, LarkEnvelope, WecomSignature
from proxy.policy.foreign_signatures import JwtSignature, PaypalSignature, SnsSignature
from proxy.policy.message_signatures import MessageSignature
from proxy.policy.particular import AdyenPaymentsSignature, TwilioSignature
from proxy.policy.settings import Settings
from proxy.policy.signatures import (
    EcdsaSignature,
    Ed25519Signature,
    HashSignature,
    HmacSignature,
    RsaSignature,
    SignatureSettings,
    TokenSignature,
)
from proxy.policy.values import ConditionValue, Selector

One = Annotated[
    TokenSignature | HmacSignature | HashSignature | Ed25519Signature | RsaSignature | EcdsaSignature,
    Field(discriminator="scheme"),
]


class Alternative(Settings):
    """One of several ways to sign, and the requests that it is for."""

    when: Annotated[
        tuple[ConditionValue, ...],
        Field(description="what must stand where, as in header:X-Signature-Version=v1; its signature must be there anyway"),
    ] = ()
    signature: One

    @field_validator("signature")
    @classmethod
    def _demanded(cls, signature: SignatureSettings) -> SignatureSettings:
        # SECURITY: a way that may be missing would prove nothing and yet count as proved, claims and all.
        if signature.when_missing == "pass":
            raise ValueError("when_missing stands beside scheme: any, for all ways together")
        return signature


class AnySignature(SignatureSettings):
    """Several ways to sign: the first one that a request is made for decides alone."""

    scheme: Annotated[Literal["any"], Field(description="one of several, chosen by what the request has")]
    of: Annotated[tuple[Alternative, ...], Field(min_length=2, max_length=8, description="the first that fits decides")]

    def selectors(self) -> Iterator[tuple[str, Selector]]:
        for one in self.of:
            yield from one.signature.selectors()
            yield from (("when", condition.selector) for condition in one.when)

    def header_names(self) -> frozenset[str]:
        return super().header_names().union(*(one.signature.header_names() for one in self.of))

    @property
    def covers_body(self) -> bool:
        return all(one.signature.covers_body for one in self.of)

    def covers(self, place: Selector) -> bool:
        return all(one.signature.covers(place) for one in self.of)

    def key_fault(self, secret: bytes) -> str | None:
        return next((fault for one in self.of if (fault := one.signature.key_fault(secret))), None)

    def key_length(self, secret: bytes) -> int:
        return min(one.signature.key_length(secret) for one in self.of)


Signature = Annotated[
    TokenSignature
    | HmacSignature
    | HashSignature
    | Ed25519Signature
    | RsaSignature
    | EcdsaSignature
    | TwilioSignature
    | AdyenPaymentsSignature
    | AnySignature
    | WecomSignature
    | DingtalkSignature
    | LarkEnvelope
    | EnvelopeSignature
    | JwtSignature
    | MessageSignature
    | PaypalSignature
    | SnsSignature,
    Field(discriminator="scheme"),
]

SCHEMES: Final[tuple[str, ...]] = tuple(
    str(get_args(one.model_fields["scheme"].annotation)[0]) for one in get_args(get_args(Signature)[0])
)
"""The words that ``scheme`` may be."""
