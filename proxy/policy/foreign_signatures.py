"""Settings of schemes whose keys come from elsewhere, or whose messages name them: JWT, PayPal, AWS SNS.

What such a sender gives its users is mostly no secret (an application's id, a webhook's id): it says for whom a request is.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from proxy.policy.keysets import read_jwks
from proxy.policy.signatures import SignatureSettings
from proxy.policy.values import Duration, Selector, SelectorKind, SelectorValue

Trouble = Iterator[tuple[str, str, bool]]

_URL: Final = r"^https?://[!-~]+$"
_SAFE: Final = re.compile(r"https://|http://(127(\.\d{1,3}){3}|\[::1\])[:/]")
_HOST: Final = r"^([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?$"

Url = Annotated[str, Field(pattern=_URL)]
Host = Annotated[str, Field(pattern=_HOST)]

_SECRET_ALGORITHMS: Final = {"HS256": 32, "HS384": 48, "HS512": 64}
"""Those with a shared secret, and its least length in bytes (RFC 7518 section 3.2)."""


class KeysElsewhere(SignatureSettings):
    """What all schemes take whose keys are fetched."""

    hosts: Annotated[
        tuple[Host, ...],
        Field(description="where keys may be fetched from: NAME or NAME:PORT; the hosts of addresses given here may"),
    ] = ()
    private_addresses: Annotated[bool, Field(description="whether these names may stand for addresses of a private network")] = (
        False
    )


class JwtSignature(KeysElsewhere):
    """A JSON Web Token (RFC 7519): it proves the sender, and covers no byte of the request but what its claims repeat."""

    scheme: Annotated[Literal["jwt"], Field(description="a JSON Web Token in a header")]
    header: Annotated[str, Field(pattern="^[A-Za-z0-9-]+$", description="where it stands")] = "Authorization"
    prefix: Annotated[str, Field(description="text before it, in any case")] = "Bearer "
    algorithms: Annotated[
        tuple[
            Literal[
                "RS256",
                "RS384",
                "RS512",
                "PS256",
                "PS384",
                "PS512",
                "ES256",
                "ES384",
                "ES512",
                "EdDSA",
                "HS256",
                "HS384",
                "HS512",
            ],
            ...,
        ],
        Field(min_length=1, description="the only ones, whatever a token says"),
    ] = ("RS256",)
    issuers: Annotated[tuple[str, ...], Field(description="what iss may be; empty: anything")] = ()
    audiences: Annotated[tuple[str, ...], Field(description="what aud must name one of")] = ()
    audience_from: Annotated[
        Literal["aud", "app_id"] | None, Field(description="the name of a secret's value that aud must name")
    ] = None
    leeway: Annotated[Duration, Field(description="how far clocks may differ, for exp, nbf and iat")] = 60.0
    required: Annotated[tuple[str, ...], Field(description="claims that must be there")] = ("exp",)
    claims: Annotated[dict[str, str], Field(default_factory=dict, description="claims that must be exactly this")]
    same: Annotated[
        dict[str, SelectorValue],
        Field(default_factory=dict, description="claims that must be what stands in the body: json:/POINTER"),
    ]
    key_lists: Annotated[
        dict[str, SelectorValue],
        Field(default_factory=dict, description="a list of the key's own, where it has one, must hold what stands in the body"),
    ]
    jwks_url: Annotated[Url | None, Field(description="where the keys are: a JWK set")] = None
    openid_url: Annotated[Url | None, Field(description="where it is said where the keys are (OpenID Connect Discovery)")] = None
    certificates_url: Annotated[Url | None, Field(description="where the keys are: a JSON object of certificates")] = None

    OPEN_VALUES: ClassVar[frozenset[str]] = frozenset({"aud", "app_id", "iss", "jwks"})
    OPTIONAL_VALUES: ClassVar[frozenset[str]] = frozenset({"iss", "jwks"})

    @property
    def shared(self) -> bool:
        """Whether the secret is a key that both sides have."""
        return all(name in _SECRET_ALGORITHMS for name in self.algorithms)

    @property
    def address(self) -> str | None:
        """Where keys are fetched, if they are."""
        return self.jwks_url or self.openid_url or self.certificates_url

    @property
    def needs_secrets(self) -> bool:
        return self.audience_from is not None or self.address is None

    def value_names(self) -> tuple[str, ...]:
        if self.shared:
            return ()
        return (self.audience_from, "iss", "jwks") if self.audience_from else ("iss", "jwks")

    def header_names(self) -> frozenset[str]:
        return frozenset({self.header.lower()})

    def covers(self, place: Selector) -> bool:
        return place in self.same.values()

    def key_fault(self, secret: bytes) -> str | None:
        least = max(_SECRET_ALGORITHMS.get(name, 0) for name in self.algorithms)
        return (
            f"is shorter than the {least} bytes that {'/'.join(self.algorithms)} needs (RFC 7518)"
            if len(secret) < least
            else None
        )

    def values_fault(self, values: Mapping[str, bytes]) -> str | None:
        if "jwks" not in values:
            return "lacks jwks: this scheme's keys are fetched from nowhere" if self.address is None else None
        try:
            read_jwks(values["jwks"])
        except ValueError:
            return "jwks is not a JWK set with a public key in it (RFC 7517)"
        return None

    def troubles(self) -> Trouble:
        if any(name in _SECRET_ALGORITHMS for name in self.algorithms) and not self.shared:
            # SECURITY: else a public key could be taken for a shared secret.
            yield "algorithms", "HS256 and its like share a secret, the others do not: they cannot stand side by side", True
        if sum(url is not None for url in (self.jwks_url, self.openid_url, self.certificates_url)) > 1:
            yield "jwks_url", "only one of jwks_url, openid_url and certificates_url can be given", True
        if self.address is not None and not _SAFE.match(self.address):
            yield (
                "hosts",
                "keys are fetched over https, or from an address of this very machine: who can change them can forge",
                True,
            )
        if self.shared and self.address is not None:
            yield "algorithms", "a shared secret is not fetched from anywhere", True
        if not (self.audiences or self.audience_from or self.shared):
            yield "audiences", "whatever its issuer signs for others would pass: give audiences, or audience_from", True
        for key, places in (("same", self.same), ("key_lists", self.key_lists)):
            for name, place in places.items():
                if place.kind is not SelectorKind.JSON:
                    yield key, f"{name} can only be compared with json:/POINTER", True


class PaypalSignature(KeysElsewhere):
    """PayPal's own: RSA over ids, time and the CRC-32 of the body, by a certificate that the request names."""

    scheme: Annotated[Literal["paypal"], Field(description="PayPal's own")]
    names: Annotated[
        tuple[str, ...], Field(min_length=1, description="whose certificate it must be: names, or .example.com for all below it")
    ] = (".paypal.com",)

    VALUES: ClassVar[tuple[str, ...]] = ("webhook_id", "cert_pem")
    OPEN_VALUES: ClassVar[frozenset[str]] = frozenset(VALUES)
    OPTIONAL_VALUES: ClassVar[frozenset[str]] = frozenset({"cert_pem"})

    ID: ClassVar[str] = "paypal-transmission-id"
    TIME: ClassVar[str] = "paypal-transmission-time"

    def header_names(self) -> frozenset[str]:
        rest = ("paypal-transmission-sig", "paypal-cert-url", "paypal-auth-algo")
        return frozenset({self.ID, self.TIME, *rest})

    @property
    def depends_on_body(self) -> bool:
        return True

    def covers(self, place: Selector) -> bool:
        """Not the body: another one with the same CRC-32 is made in no time."""
        return place.kind is SelectorKind.HEADER and place.argument.lower() in {self.ID, self.TIME}

    def values_fault(self, values: Mapping[str, bytes]) -> str | None:
        return _certificate_fault(values)

    def troubles(self) -> Trouble:
        yield (
            "scheme",
            "of the body a CRC-32 alone is signed, and another body with the same one is made in no time: keep the replay rule, "
            "and ask PayPal itself before money moves",
            False,
        )


class SnsSignature(KeysElsewhere):
    """AWS SNS: RSA over some fields of the JSON, by a certificate that the body names."""

    scheme: Annotated[Literal["aws-sns"], Field(description="AWS SNS: a signature inside the JSON")]
    topics: Annotated[tuple[str, ...], Field(description="what TopicArn may be; empty: anybody's topic")] = ()
    versions: Annotated[
        tuple[Literal["1", "2"], ...], Field(min_length=1, description="SignatureVersion: 1 is SHA-1, 2 is SHA-256")
    ] = ("1", "2")

    VALUES: ClassVar[tuple[str, ...]] = ("cert_pem",)
    OPEN_VALUES: ClassVar[frozenset[str]] = frozenset(VALUES)

    SIGNED: ClassVar[frozenset[str]] = frozenset({"Message", "MessageId", "Timestamp", "TopicArn", "Type"})
    """What is signed whatever the type of the message."""

    @property
    def needs_secrets(self) -> bool:
        return False

    def covers(self, place: Selector) -> bool:
        return place.kind is SelectorKind.JSON and place.argument[1:] in self.SIGNED

    def values_fault(self, values: Mapping[str, bytes]) -> str | None:
        return _certificate_fault(values)

    def troubles(self) -> Trouble:
        if not self.topics:
            yield "topics", "anyone can make a topic that AWS signs for: name yours", False
        if "1" in self.versions:
            yield "versions", "version 1 is SHA-1: set SignatureVersion 2 on the topic, and versions: ['2'] here", False


def _certificate_fault(values: Mapping[str, bytes]) -> str | None:
    if "cert_pem" not in values:
        return None
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.x509 import load_pem_x509_certificate

    try:
        fine = isinstance(load_pem_x509_certificate(values["cert_pem"]).public_key(), RSAPublicKey)
    except ValueError:
        fine = False
    return None if fine else "cert_pem is not a certificate with an RSA key as PEM (-----BEGIN CERTIFICATE-----)"
