"""Certificates made on the spot, and what their keys sign: an authority of our own, known to the system for a test."""

import base64
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from proxy.keyring.ring import Ring
from tests.pipeline.judging import Compiled, compiled

AUTHORITY = trustme.CA()
INTERMEDIATE = AUTHORITY.create_child_ca()
BEGIN, END = datetime(2025, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)


class Signer:
    """A certificate with an RSA key, as the web's authorities make them."""

    def __init__(self, name: str, issuer: trustme.CA = INTERMEDIATE, begin: datetime = BEGIN, end: datetime = END) -> None:
        self._key = rsa.generate_private_key(65537, 2048)
        by = x509.load_pem_x509_certificate(issuer.cert_pem.bytes())
        key = load_pem_private_key(issuer.private_key_pem.bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        made = (
            x509.CertificateBuilder(by.subject, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
            .sign(key, SHA256())
        )
        self.leaf = made.public_bytes(Encoding.PEM)
        self.pem = self.leaf + (issuer.cert_pem.bytes() if issuer is INTERMEDIATE else b"")
        """The certificate and what leads to its authority."""

    def sign(self, message: bytes, algorithm: str = "sha256") -> bytes:
        """A signature in base64."""
        hash_ = SHA256() if algorithm == "sha256" else SHA1()  # noqa: S303 - what the older version of SNS uses
        return base64.b64encode(self._key.sign(message, PKCS1v15(), hash_))


def trusted(folder: Path, *authorities: trustme.CA) -> str:
    """A file of authorities, for ``SSL_CERT_FILE``."""
    file = folder / "authorities.pem"
    file.write_bytes(b"".join(one.cert_pem.bytes() for one in authorities or (AUTHORITY,)))
    return str(file)


@asynccontextmanager
async def fetching(folder: Path, route: dict[str, Any]) -> AsyncIterator[Compiled]:
    """A gate that fetches what it needs over real sockets."""
    ring = Ring()
    try:
        yield await compiled(folder, route, keyring=ring)
    finally:
        await ring.close()


def flipped(data: bytes) -> Iterator[bytes]:
    """The data with the lowest bit of each byte turned over."""
    for index, byte in enumerate(data):
        yield data[:index] + bytes([byte ^ 1]) + data[index + 1 :]
