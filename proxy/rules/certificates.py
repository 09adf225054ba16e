"""Certificates that sign deliveries: read from PEM, trusted by the system's authorities, and used for RSA PKCS#1 v1.5 alone.

Imported only where a route has a scheme that needs it: reading the system's authorities takes a while.
"""

import ssl
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.x509 import (
    Certificate,
    DNSName,
    ExtensionNotFound,
    SubjectAlternativeName,
    load_pem_x509_certificate,
    load_pem_x509_certificates,
)
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

_HASHES: Final = {"sha1": SHA1, "sha256": SHA256}
_MOST_CERTIFICATES: Final = 8
_BUNDLES: Final = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
"""Where Debian, Alpine and Red Hat keep the authorities, for a library that was told of a directory alone."""


class Chain(NamedTuple):
    """A certificate with an RSA key, and what leads from it to an authority."""

    leaf: Certificate
    others: tuple[Certificate, ...]
    key: RSAPublicKey

    def valid(self, now: float) -> bool:
        """Whether this is within the certificate's own time (unix seconds)."""
        return self.leaf.not_valid_before_utc.timestamp() <= now <= self.leaf.not_valid_after_utc.timestamp()


def read_chain(body: bytes) -> Chain:
    """The certificates in a PEM file, the signer's first.

    Raises:
        ValueError: there are none, too many, or the first has no RSA key.
    """
    found = load_pem_x509_certificates(body)
    key = found[0].public_key()
    if len(found) > _MOST_CERTIFICATES or not isinstance(key, RSAPublicKey):
        raise ValueError("is no chain of certificates with an RSA key")
    return Chain(found[0], tuple(found[1:]), key)


def signed_by(key: RSAPublicKey, message: bytes, signature: bytes, algorithm: str) -> bool:
    """Whether the key's owner has signed the message."""
    try:
        key.verify(signature, message, PKCS1v15(), _HASHES[algorithm]())
    except InvalidSignature:
        return False
    return True


class Trust:
    """Whether a chain leads to an authority of the system and is one of the names; told once for each chain and its time."""

    def __init__(self, names: Sequence[str], authorities: Sequence[Certificate]) -> None:
        self._names = tuple(names)
        self._store = Store(list(authorities)) if authorities else None
        self._known: dict[bytes, tuple[float, float]] = {}

    def holds(self, chain: Chain, now: float) -> bool:
        """Whether the chain was to be trusted at this moment (unix seconds)."""
        mark = chain.leaf.fingerprint(SHA256())
        begin, end = self._known.get(mark, (1.0, 0.0))
        if begin <= now <= end:
            return True
        name = next((one for one in _names(chain.leaf) if any(map(_fits(one), self._names))), None)
        if name is None or self._store is None or not self._leads_up(chain, name, now):
            return False
        if len(self._known) >= 64:
            self._known.clear()
        # All of the chain is within its time from now to the first end; before now nobody has looked.
        self._known[mark] = (now, min(one.not_valid_after_utc.timestamp() for one in (chain.leaf, *chain.others)))
        return True

    def _leads_up(self, chain: Chain, name: str, now: float) -> bool:
        assert self._store is not None  # noqa: S101 - the caller asked
        builder = PolicyBuilder().store(self._store).time(datetime.fromtimestamp(now, UTC))
        try:
            builder.build_server_verifier(DNSName(name)).verify(chain.leaf, list(chain.others))
        except VerificationError:
            return False
        return True


def _names(certificate: Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    except (ExtensionNotFound, ValueError):
        return []
    return [name.lower() for name in names.get_values_for_type(DNSName) if "*" not in name]


def _fits(name: str) -> Callable[[str], bool]:
    return lambda wanted: name.endswith(wanted) if wanted.startswith(".") else name == wanted


def system_trust(names: Sequence[str]) -> Trust:
    """Trust in the authorities of this machine (``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` are heeded), read again when they change:
    it takes milliseconds, and a search for a cause makes rules anew.
    """
    paths = ssl.get_default_verify_paths()
    files = (Path(file) for file in (paths.cafile, *_BUNDLES, paths.capath) if file)
    found = next((file for file in files if file.exists()), None)
    return Trust(names, []) if found is None else _trust(tuple(names), found, found.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _trust(names: tuple[str, ...], place: Path, changed: int) -> Trust:
    return Trust(names, _read([place] if place.is_file() else sorted(place.glob("*.0"))))


def _read(files: Sequence[Path]) -> list[Certificate]:
    found: list[Certificate] = []
    for file in files:
        for pem in file.read_bytes().split(b"-----BEGIN CERTIFICATE-----")[1:]:
            try:
                found.append(load_pem_x509_certificate(b"-----BEGIN CERTIFICATE-----" + pem))
            except ValueError:  # an authority of a form that the library refuses vouches for nobody here
                continue
    return found
