"""Settings of HTTP Message Signatures (RFC 9421): what a signature must cover, and which algorithm a key stands for.

The algorithm follows from the policy and the key, never from the message.
"""

import base64
import binascii
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple

from pydantic import Field

from proxy.policy.signatures import SignatureSettings
from proxy.policy.values import Duration, Selector, SelectorKind

MessageAlgorithm = Literal[
    "hmac-sha256", "ed25519", "ecdsa-p256-sha256", "ecdsa-p384-sha384", "rsa-pss-sha512", "rsa-v1_5-sha256"
]

DIGEST: Final = "content-digest"

_IMPLIED: Final = {"@authority", "@scheme", "@path", "@query", "@request-target"}
"""What a signed @target-uri says too (RFC 9421 section 2.2.2)."""
_LEAST_RSA_BITS: Final = 2048


class MessageKey(NamedTuple):
    """A secret as a key."""

    algorithm: MessageAlgorithm
    key: Any
    """The shared secret's bytes, or a public key of the library cryptography."""

    def __repr__(self) -> str:
        return f"<key for {self.algorithm}>"


def read_key(secret: bytes, wanted: MessageAlgorithm | None) -> MessageKey:
    """The key behind a secret: PEM of a public key or certificate, else the base64 of a shared secret.

    Raises:
        ValueError: it is none, or not one for ``wanted``; the message says what was expected and shows nothing.
    """
    shared = not secret.lstrip().startswith(b"-----BEGIN ")
    key: object = _shared(secret) if shared else _public(secret)
    algorithms = ("hmac-sha256",) if shared else _algorithms(key)
    if wanted is not None and wanted not in algorithms:
        raise ValueError(f"is a key for {' or '.join(algorithms)}, and signature.algorithm says {wanted}")
    return MessageKey(wanted or algorithms[0], key)


def _shared(secret: bytes) -> bytes:
    try:
        return base64.b64decode(secret.strip(), validate=True)
    except binascii.Error:
        raise ValueError("is neither a public key as PEM (-----BEGIN PUBLIC KEY-----) nor a shared secret in base64") from None


def _public(secret: bytes) -> object:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from cryptography.x509 import load_pem_x509_certificate

    try:
        certificate = b"BEGIN CERTIFICATE" in secret
        return load_pem_x509_certificate(secret).public_key() if certificate else load_pem_public_key(secret)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("is not a public key or certificate as PEM") from None


def _algorithms(key: object) -> tuple[MessageAlgorithm, ...]:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ed25519.Ed25519PublicKey):
        return ("ed25519",)
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _LEAST_RSA_BITS:
        return ("rsa-pss-sha512", "rsa-v1_5-sha256")
    curves: dict[str, MessageAlgorithm] = {"secp256r1": "ecdsa-p256-sha256", "secp384r1": "ecdsa-p384-sha384"}
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in curves:
        return (curves[key.curve.name],)
    raise ValueError("is a key of a kind or size that HTTP Message Signatures do not use here")


class MessageSignature(SignatureSettings):
    """A signature over chosen parts of the message (RFC 9421), the body by its Content-Digest (RFC 9530)."""

    scheme: Annotated[Literal["http-message-signatures"], Field(description="HTTP Message Signatures (RFC 9421)")]
    algorithm: Annotated[
        MessageAlgorithm | None, Field(description="absent: by the key, and rsa-pss-sha512 for RSA; never as the message says")
    ] = None
    components: Annotated[
        tuple[Annotated[str, Field(pattern=r"^@?[a-z0-9-]+$")], ...],
        Field(description="what must be signed; a signed @target-uri stands for the parts of the address"),
    ] = ("@method", "@authority", "@path", DIGEST)
    tag: Annotated[str | None, Field(description="only the signature with this tag counts")] = None
    label: Annotated[
        str | None, Field(pattern=r"^[a-z*][a-z0-9_.*-]*$", description="only the signature of this name counts")
    ] = None
    created: Annotated[Literal["required", "optional"], Field(description="whether it must say when it was made")] = "required"
    tolerance: Annotated[Duration, Field(description="how old it may be")] = 300.0
    future: Annotated[Duration, Field(description="how far ahead of our clock it may be")] = 300.0

    HEADERS: ClassVar[frozenset[str]] = frozenset({"signature", "signature-input", DIGEST})

    def header_names(self) -> frozenset[str]:
        return self.HEADERS | {name for name in self.components if not name.startswith("@")}

    @property
    def covers_body(self) -> bool:
        return DIGEST in self.components

    @property
    def depends_on_body(self) -> bool:
        """A Content-Digest is checked wherever it stands."""
        return True

    def covers(self, place: Selector) -> bool:
        kind, name = place
        if kind in {SelectorKind.JSON, SelectorKind.FORM, SelectorKind.BODY}:
            return self.covers_body
        if kind is SelectorKind.QUERY:
            return bool({"@query", "@target-uri", "@request-target"} & set(self.components))
        return kind is SelectorKind.HEADER and name.lower() in self.components

    def key_fault(self, secret: bytes) -> str | None:
        try:
            read_key(secret, self.algorithm)
        except ValueError as error:
            return str(error)
        return None

    def key_length(self, secret: bytes) -> int:
        key = read_key(secret, self.algorithm)
        return len(key.key) if key.algorithm == "hmac-sha256" else len(secret)

    def lacking(self, covered: frozenset[str]) -> bool:
        """Whether something that must be signed is not."""
        whole = covered | _IMPLIED if "@target-uri" in covered else covered
        return not whole.issuperset(self.components)
