"""Sets of public keys as identity providers publish them: a JWK set (RFC 7517), or a JSON object of certificates.

What a key may verify follows from the key: its type and, where it names one, its algorithm. The libraries load where a set is
read.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import orjson

_LEAST_RSA_BITS: Final = 2048
"""RFC 7518 section 3.3."""

_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")


class VerifyingKey(NamedTuple):
    """One public key."""

    kid: str | None
    algorithms: tuple[str, ...]
    """The JWS algorithms (RFC 7518) that it may verify."""
    key: Any
    """Of the library cryptography."""
    lists: Mapping[str, frozenset[str]]
    """Members of the JWK that are lists of words, such as ``endorsements``."""


class KeySet:
    """Keys by their id."""

    __slots__ = ("_all", "_keys", "_sole")

    def __init__(self, keys: Iterable[VerifyingKey]) -> None:
        found = tuple(keys)
        self._keys: dict[str, VerifyingKey] = {key.kid: key for key in reversed(found) if key.kid is not None}
        self._all = found
        self._sole = found[0] if len(found) == 1 else None

    def __iter__(self) -> Iterator[VerifyingKey]:
        return iter(self._all)

    def find(self, kid: str | None) -> VerifyingKey | None:
        """The key of that id. Without an id on either side, only a key that is the only one."""
        if kid is not None and kid in self._keys:
            return self._keys[kid]
        return self._sole if self._sole is not None and (kid is None or self._sole.kid is None) else None


def read_jwks(body: bytes) -> KeySet:
    """The keys of a JWK set that are meant for signatures; what is of no use here is left out.

    Raises:
        ValueError: it is none, or no key of it is of use.
    """
    document = orjson.loads(body)
    members = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(members, list):
        raise ValueError("is no JWK set")
    return _set(key for member in members if isinstance(member, dict) and (key := _jwk(member)) is not None)


def read_certificates(body: bytes) -> KeySet:
    """The keys of a JSON object that maps the id of each key to its certificate (PEM).

    Raises:
        ValueError: it is none.
    """
    from cryptography.x509 import load_pem_x509_certificate

    document = orjson.loads(body)
    if not isinstance(document, dict) or not all(isinstance(pem, str) for pem in document.values()):
        raise ValueError("is no JSON object of certificates")
    keys = {kid: load_pem_x509_certificate(pem.encode()).public_key() for kid, pem in document.items()}
    return _set(VerifyingKey(kid, fits, key, {}) for kid, key in keys.items() if (fits := _algorithms(key)))


def openid_keys_address(body: bytes) -> str:
    """Where the keys are, as OpenID Connect Discovery 1.0 section 3 writes it.

    Raises:
        ValueError: it does not say.
    """
    document = orjson.loads(body)
    address = document.get("jwks_uri") if isinstance(document, dict) else None
    if not isinstance(address, str):
        raise ValueError("names no jwks_uri")
    return address


def _set(keys: Iterable[VerifyingKey]) -> KeySet:
    found = tuple(keys)
    if not found:
        raise ValueError("holds no key that is of use")
    return KeySet(found)


def _jwk(member: dict[str, Any]) -> VerifyingKey | None:
    """SECURITY: a shared secret in a published set is none, so keys of the type oct are left out."""
    from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
    from jwt.exceptions import InvalidKeyError

    kinds: dict[str, Any] = {"RSA": RSAAlgorithm, "EC": ECAlgorithm, "OKP": OKPAlgorithm}
    kid, kind = member.get("kid"), kinds.get(str(member.get("kty")))
    verifies = member.get("use", "sig") == "sig" and "verify" in member.get("key_ops", ["verify"])
    if kind is None or not verifies or not isinstance(kid, str | None):
        return None
    public = {name: value for name, value in member.items() if name != "d"}
    try:
        key = kind.from_jwk(public)
    except (InvalidKeyError, ValueError, TypeError):
        return None
    named = member.get("alg")
    fits = tuple(one for one in _algorithms(key) if named is None or one == named)
    lists = {name: frozenset(v) for name, v in member.items() if isinstance(v, list) and all(isinstance(one, str) for one in v)}
    return VerifyingKey(kid, fits, key, lists) if fits else None


def _algorithms(key: object) -> tuple[str, ...]:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, rsa.RSAPublicKey):
        return _RSA if key.key_size >= _LEAST_RSA_BITS else ()
    if isinstance(key, ec.EllipticCurvePublicKey):
        curves = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
        return (curves[key.curve.name],) if key.curve.name in curves else ()
    return ("EdDSA",) if isinstance(key, ed25519.Ed25519PublicKey) else ()
