"""The transport rule: TLS here or at a trusted proxy, and a client certificate where one is required."""

import base64
import hashlib
from typing import Final

from proxy.messages import Head
from proxy.policy.model import TransportRule
from proxy.rules.base import answer_of
from proxy.verdict import PASS, Fail, Reason, RuleName, Verdict


class Transport:
    """``pins`` are the SHA-256 digests of accepted client keys (SPKI, RFC 7469 section 2.4); none accepts every verified one."""

    name: Final = RuleName.TRANSPORT

    def __init__(self, settings: TransportRule, pins: tuple[str, ...]) -> None:
        answer = answer_of(settings)
        self._tls = settings.tls == "required"
        self._certificate = settings.client_certificate == "required"
        self._pins = frozenset(base64.b64decode(pin.removeprefix("sha256/")) for pin in pins)
        self._plain = Fail(Reason.TLS_REQUIRED, answer)
        self._missing = Fail(Reason.CLIENT_CERTIFICATE_MISSING, answer)
        self._rejected = Fail(Reason.CLIENT_CERTIFICATE_REJECTED, answer)
        self._known: dict[bytes, bool] = {}

    def check(self, head: Head) -> Verdict:
        """``head.https`` holds TLS facts; a target or header that merely says https is none."""
        if self._tls and not head.https:
            return self._plain
        if self._certificate:
            if head.certificate is None:
                return self._missing
            if self._pins and not self._pinned(head.certificate):
                return self._rejected
        return PASS

    def _pinned(self, certificate: bytes) -> bool:
        found = self._known.get(certificate)
        if found is None:
            found = hashlib.sha256(spki(certificate)).digest() in self._pins
            if len(self._known) < 1024:
                self._known[certificate] = found
        return found


def spki(certificate: bytes) -> bytes:
    """The SubjectPublicKeyInfo (DER) of a certificate (DER)."""
    # Imported on first use: 6 MB of resident memory that only pins need.
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return x509.load_der_x509_certificate(certificate).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
