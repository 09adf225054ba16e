"""Public keys as senders print them: ``key: hex | base64 | whpk | spki | pem``. The library loads where a key is first read."""

from typing import Final, Literal

from proxy.policy.keys import decode_key

Algorithm = Literal["ed25519", "rsa", "ecdsa"]
PublicForm = Literal["hex", "base64", "whpk", "spki", "pem"]

EXPECTED: Final[dict[PublicForm, str]] = {
    "hex": "an Ed25519 public key of 64 hexadecimal digits",
    "base64": "an Ed25519 public key of 32 bytes in base64",
    "whpk": "whpk_ and an Ed25519 public key in base64 (Standard Webhooks)",
    "spki": "a public key as base64 of its SubjectPublicKeyInfo (RFC 5280), the lines of a PEM file without its first and last",
    "pem": "a public key or certificate as PEM (-----BEGIN ...)",
}
"""What each form looks like, for a message that may not show the key."""

_LEAST_RSA_BITS: Final = 1024
"""Below, a key can be broken; some senders still use 1024."""


def load(algorithm: Algorithm, form: PublicForm, written: bytes) -> object:
    """The key: an ``Ed25519PublicKey``, ``RSAPublicKey`` or ``EllipticCurvePublicKey`` of cryptography.

    Raises:
        ValueError: the bytes are no such key. The message never holds them.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key
    from cryptography.x509 import load_pem_x509_certificate

    kinds = {"ed25519": ed25519.Ed25519PublicKey, "rsa": rsa.RSAPublicKey, "ecdsa": ec.EllipticCurvePublicKey}
    key: object
    try:
        if form in {"hex", "base64", "whpk"}:
            key = ed25519.Ed25519PublicKey.from_public_bytes(_raw(form, written))
        elif form == "spki":
            key = load_der_public_key(_decoded(written))
        elif b"BEGIN CERTIFICATE" in written:
            key = load_pem_x509_certificate(written).public_key()
        else:
            key = load_pem_public_key(written)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"is not {EXPECTED[form]}") from None
    broken = isinstance(key, rsa.RSAPublicKey) and key.key_size < _LEAST_RSA_BITS
    if broken or not isinstance(key, kinds[algorithm]):
        raise ValueError(f"is no {algorithm} key that can be used")
    return key


def _raw(form: PublicForm, written: bytes) -> bytes:
    if form == "hex":
        return decode_key("hex", written)
    return _decoded(written.removeprefix(b"whpk_") if form == "whpk" else written)


def _decoded(text: bytes) -> bytes:
    """Base64, perhaps in lines."""
    return decode_key("base64", b"".join(text.split()))
