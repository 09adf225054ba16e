"""What tests of TLS need of certificates and contexts, on either side."""

import base64
import hashlib
import ssl
import warnings

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def pin(certificate: trustme.LeafCert) -> str:
    """The pin of a certificate's key (RFC 7469)."""
    key = x509.load_pem_x509_certificate(certificate.cert_chain_pems[0].bytes()).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return "sha256/" + base64.b64encode(hashlib.sha256(spki).digest()).decode()


def of_yesterday(context: ssl.SSLContext) -> ssl.SSLContext:
    """The context, speaking TLS 1.1 at most."""
    with warnings.catch_warnings():
        # Python deprecates these versions; a test of their refusal has to name them.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context
