"""Signatures that a public key proves, over cryptography: Ed25519, RSA, ECDSA. Loaded only where a route has one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from proxy.policy.publickeys import load
from proxy.policy.secrets import Secret
from proxy.policy.signatures import EcdsaSignature, Ed25519Signature, RsaSignature
from proxy.rules.keys import Read
from proxy.rules.schemes import decoder
from proxy.rules.templated import Prover, Templated
from proxy.verdict import Pass

HASHES: Final[Mapping[str, hashes.HashAlgorithm]] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}

PublicKeyed = Ed25519Signature | RsaSignature | EcdsaSignature
Verify = Callable[[bytes, bytes], None]
"""Signature, message; raises ``InvalidSignature``."""


def public_keys(settings: PublicKeyed, secrets: Sequence[Secret], values: Mapping[str, Read]) -> Templated:
    """The rule for signatures of public keys, which stand where other schemes have their secrets."""

    def prover(secret: Secret) -> Prover:
        verify = verifier(settings, load(settings.kind, settings.key, secret.reveal()))

        def proves(message: bytes, candidates: Sequence[bytes]) -> bool:
            if len(candidates) == 1:
                return _proved(verify, candidates[0], message)
            # SECURITY: no early exit among the candidates.
            return any([_proved(verify, candidate, message) for candidate in candidates])

        return Prover(secret, proves, Pass(secret.id))

    return Templated(settings, list(map(prover, secrets)), decoder(settings.encoding), values)


def _proved(verify: Verify, signature: bytes, message: bytes) -> bool:
    try:
        verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def verifier(settings: PublicKeyed, key: object) -> Verify:
    """The check of one key, as the settings want it."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key.verify
    hashed = HASHES[getattr(settings, "algorithm", "sha256")]
    if isinstance(key, rsa.RSAPublicKey) and isinstance(settings, RsaSignature):
        public, padded = key, rsa_padding(settings)
        return lambda signature, message: public.verify(signature, message, padded, hashed)
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(settings, EcdsaSignature):
        return _elliptic(key, settings, ec.ECDSA(hashed))
    raise TypeError("the key is not of the scheme")


def rsa_padding(settings: RsaSignature) -> padding.AsymmetricPadding:
    """PKCS #1 v1.5, or PSS with a salt as long as the hash (RFC 8017 sections 8.1 and 8.2)."""
    hashed = HASHES[settings.algorithm]
    return padding.PSS(padding.MGF1(hashed), hashed.digest_size) if settings.padding == "pss" else padding.PKCS1v15()


def _elliptic(key: ec.EllipticCurvePublicKey, settings: EcdsaSignature, algorithm: ec.ECDSA) -> Verify:
    half = (key.curve.key_size + 7) // 8

    def raw(signature: bytes, message: bytes) -> None:
        if len(signature) != 2 * half:
            raise InvalidSignature
        r, s = int.from_bytes(signature[:half]), int.from_bytes(signature[half:])
        key.verify(encode_dss_signature(r, s), message, algorithm)

    return raw if settings.form == "raw" else lambda signature, message: key.verify(signature, message, algorithm)
