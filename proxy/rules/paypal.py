"""PayPal's signature: RSA over transmission id, time, webhook id and the CRC-32 of the body (https://developer.paypal.com/api/rest/webhooks/).

The certificate comes from the address in the request, on PayPal's own hosts alone; a certificate that stands in the policy is
taken instead, as it is. SECURITY: a CRC-32 binds no body: whoever holds one genuine delivery can make another with the same
one. Only that a transmission id counts once stands against it.
"""

import base64
import binascii
import zlib
from collections.abc import Awaitable, Sequence
from typing import Final, NamedTuple

from proxy.keyring.addresses import Allowed
from proxy.keyring.base import Keyring
from proxy.messages import Request
from proxy.policy.foreign_signatures import PaypalSignature
from proxy.policy.secrets import Secret
from proxy.rules.base import verdicts_on
from proxy.rules.certificates import Chain, Trust, read_chain, signed_by, system_trust
from proxy.verdict import Fail, Pass, Reason, RuleName, Verdict

_SIGNATURE: Final = b"paypal-transmission-sig"
_ADDRESS: Final = b"paypal-cert-url"
_ALGORITHM: Final = b"paypal-auth-algo"
_ID: Final = PaypalSignature.ID.encode()
_TIME: Final = PaypalSignature.TIME.encode()


class _Keyed(NamedTuple):
    secret: Secret
    webhook: bytes
    chain: Chain | None
    """``None``: the one that the request names."""
    matched: Pass

    def __repr__(self) -> str:
        return f"<webhook {self.secret.id}>"


class Paypal:
    """Five headers and a body."""

    name: Final = RuleName.SIGNATURE

    def __init__(self, settings: PaypalSignature, secrets: Sequence[Secret], keyring: Keyring) -> None:
        self._keyed = tuple(
            _Keyed(
                one, one.reveal("webhook_id"), read_chain(one.reveal("cert_pem")) if one.has("cert_pem") else None, Pass(one.id)
            )
            for one in secrets
        )
        self._fetches = any(keyed.chain is None for keyed in self._keyed)
        self._shelf = keyring.shelf(Allowed(frozenset(settings.hosts), private=settings.private_addresses), read_chain)
        self._trust = system_trust(settings.names) if self._fetches else Trust(settings.names, [])
        self._absent, self._malformed, self._mismatch = verdicts_on(settings)

    def prepare(self, request: Request) -> Awaitable[None] | None:
        """What to wait for before this request is judged: a certificate that is not at hand."""
        if not self._fetches or not isinstance(self._signature(request), bytes):
            return None
        source = self._shelf.source(request.head.named.get(_ADDRESS, b"").decode("latin-1"))
        return source.pending() if source is not None else None

    def check(self, request: Request) -> Verdict:
        """Any active webhook's id, with its own certificate or the one that is named."""
        head = request.head
        signature = self._signature(request)
        if not isinstance(signature, bytes):
            return signature
        crc = b"%d" % zlib.crc32(request.body)
        verdict: Verdict = self._mismatch
        named: Chain | Fail | None = None
        for keyed in self._keyed:
            if not keyed.secret.active(head.arrived):
                continue
            if keyed.chain is None and named is None:
                named = self._named(request)
            chain = keyed.chain or named
            if isinstance(chain, Fail):
                verdict = chain if verdict is self._mismatch else verdict
                continue
            message = b"|".join((head.named[_ID], head.named[_TIME], keyed.webhook, crc))
            if chain is not None and signed_by(chain.key, message, signature, "sha256"):
                verdict = keyed.matched
        return verdict

    def _signature(self, request: Request) -> bytes | Verdict:
        head = request.head
        if not head.named.get(_SIGNATURE):
            return self._malformed if _SIGNATURE in head.repeated else self._absent
        doubled = not head.repeated.isdisjoint((_SIGNATURE, _ADDRESS, _ALGORITHM, _ID, _TIME))
        if doubled or not head.named.get(_ID) or not head.named.get(_TIME):
            return self._malformed
        # Their separator inside would let one signed text be read as two.
        if b"|" in head.named[_ID] or b"|" in head.named[_TIME]:
            return self._malformed
        if head.named.get(_ALGORITHM, b"SHA256withRSA") != b"SHA256withRSA":
            return self._malformed
        try:
            return base64.b64decode(head.named[_SIGNATURE], validate=True)
        except binascii.Error:
            return self._malformed

    def _named(self, request: Request) -> Chain | Fail:
        address = request.head.named.get(_ADDRESS, b"").decode("latin-1")
        if self._shelf.fault(address):
            return self._malformed
        source = self._shelf.source(address)
        chain = source.kept if source is not None else None
        if chain is None:
            return Fail(Reason.KEYS_UNREACHABLE)
        return chain if self._trust.holds(chain, request.head.arrived) else self._mismatch
