"""The algorithms of RFC 9421 section 3.3, each as one function over the signature base. Imported only where a route has one."""

import hmac
from collections.abc import Callable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512

from proxy.policy.message_signatures import MessageKey

Verify = Callable[[bytes, bytes], bool]
"""Whether the second bytes are a signature over the first."""


def verifier(key: MessageKey) -> Verify:
    """The function that tells whether this key has signed."""
    public = key.key
    match key.algorithm:
        case "hmac-sha256":
            return lambda base, signature: hmac.compare_digest(hmac.digest(public, base, "sha256"), signature)
        case "ed25519":
            return _told(public.verify)
        case "ecdsa-p256-sha256":
            return _told(lambda signature, base: public.verify(_der(signature, 32), base, ec.ECDSA(SHA256())))
        case "ecdsa-p384-sha384":
            return _told(lambda signature, base: public.verify(_der(signature, 48), base, ec.ECDSA(SHA384())))
        case "rsa-pss-sha512":
            pss = padding.PSS(padding.MGF1(SHA512()), 64)
            return _told(lambda signature, base: public.verify(signature, base, pss, SHA512()))
        case "rsa-v1_5-sha256":
            return _told(lambda signature, base: public.verify(signature, base, padding.PKCS1v15(), SHA256()))


def _told(check: Callable[[bytes, bytes], None]) -> Verify:
    def verify(base: bytes, signature: bytes) -> bool:
        try:
            check(signature, base)
        except InvalidSignature:
            return False
        return True

    return verify


def _der(raw: bytes, size: int) -> bytes:
    """r and s side by side (section 3.3.4) as the library wants them."""
    if len(raw) != 2 * size:
        raise InvalidSignature
    return encode_dss_signature(int.from_bytes(raw[:size]), int.from_bytes(raw[size:]))
