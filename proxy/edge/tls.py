"""TLS of the public listener: TLS 1.2 or higher, forward-secret AEAD ciphers, client certificates where the policy wants them.

SECURITY: what was swapped gets a context of its own, made whole before it is used. A pair loaded into the live one breaks every
handshake where it is none, and an authority that was taken away would live on there, in its store and in remembered sessions.
"""

import ssl
from pathlib import Path

from proxy.policy.model import ListenTls

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


def server_context(settings: ListenTls) -> ssl.SSLContext:
    """The context of new handshakes; raises ``OSError`` (so ``ssl.SSLError``) where its files cannot be used."""
    context = _context(settings)
    context.load_cert_chain(settings.certificate, settings.key)
    if settings.client_ca is not None:
        context.load_verify_locations(settings.client_ca)
        # Optional here, required route by route: the transport rule tells a missing one from a refused one.
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def expiry(settings: ListenTls) -> float:
    """When the certificate ends, in unix seconds."""
    # Imported on first use: only a listener with TLS needs it.
    from cryptography import x509

    return x509.load_pem_x509_certificate(Path(settings.certificate).read_bytes()).not_valid_after_utc.timestamp()


def _context(settings: ListenTls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if settings.minimum == "1.3" else ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    return context
