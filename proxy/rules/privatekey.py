"""Signing with a private key, for whoever tries a gate: the other side of ``publickey``."""

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from proxy.errors import HookgateError
from proxy.policy.signatures import EcdsaSignature, RsaSignature
from proxy.rules.publickey import HASHES, PublicKeyed, rsa_padding


def private_key(pem: bytes) -> PrivateKeyTypes:
    """The private key in a PEM file.

    Raises:
        HookgateError: it cannot be read. The message never holds it.
    """
    try:
        return load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise HookgateError("the private key must be an unencrypted PEM file (-----BEGIN PRIVATE KEY-----)") from None


def signed(settings: PublicKeyed, key: object, message: bytes) -> bytes:
    """The signature's bytes.

    Raises:
        HookgateError: it is no private key of the scheme. The message never holds it.
    """
    if isinstance(key, ed25519.Ed25519PrivateKey) and settings.scheme == "ed25519":
        return key.sign(message)
    if isinstance(key, rsa.RSAPrivateKey) and isinstance(settings, RsaSignature):
        return key.sign(message, rsa_padding(settings), HASHES[settings.algorithm])
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(settings, EcdsaSignature):
        signature = key.sign(message, ec.ECDSA(HASHES[settings.algorithm]))
        return signature if settings.form == "der" else side_by_side(signature, (key.curve.key_size + 7) // 8)
    raise HookgateError(f"the private key is no {settings.scheme} key")


def side_by_side(signature: bytes, half: int) -> bytes:
    """An ECDSA signature as r and s of ``half`` bytes each, without the ASN.1 around them."""
    r, s = decode_dss_signature(signature)
    return r.to_bytes(half) + s.to_bytes(half)
