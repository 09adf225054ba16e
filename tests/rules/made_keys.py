"""Key pairs made for a test, the public half in every form that a sender prints it in."""

import base64
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

Private = ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

_CURVES: Final[dict[str, ec.EllipticCurve]] = {"ecdsa": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}


class MadeKey(NamedTuple):
    """A private key and its PEM."""

    key: Private
    private: bytes

    def public(self, form: str) -> str:
        """The public key as ``signature.key`` names its forms."""
        public = self.key.public_key()
        if form == "pem":
            return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        if form == "spki":
            return base64.b64encode(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
        raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        if form == "hex":
            return raw.hex()
        return ("whpk_" if form == "whpk" else "") + base64.b64encode(raw).decode()


def made_key(kind: str) -> MadeKey:
    """A fresh key: ``ed25519``, ``rsa``, ``ecdsa`` (P-256), ``p384`` or ``p521``."""
    key: Private
    if kind == "ed25519":
        key = ed25519.Ed25519PrivateKey.generate()
    elif kind == "rsa":
        key = rsa.generate_private_key(65537, 2048)
    else:
        key = ec.generate_private_key(_CURVES[kind])
    return MadeKey(key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
