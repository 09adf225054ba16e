"""Adyen's payments signature: in each item of the body, over eight of its fields
(https://docs.adyen.com/development-resources/webhooks/verify-hmac-signatures/).
"""

import base64
from collections.abc import Sequence
from typing import Final

from proxy.messages import Request
from proxy.policy.particular import AdyenPaymentsSignature
from proxy.policy.secrets import Secret
from proxy.rules.base import verdicts_on
from proxy.rules.keys import at, doubled, every, written
from proxy.rules.schemes import decoded, hmac_digest, same
from proxy.rules.signature import keyed
from proxy.verdict import Pass, RuleName, Verdict

ITEMS: Final = ("notificationItems", "*", "NotificationRequestItem")
SIGNATURE: Final = ("additionalData", "hmacSignature")
_FIELDS: Final = (
    ("pspReference",),
    ("originalReference",),
    ("merchantAccountCode",),
    ("merchantReference",),
    ("amount", "value"),
    ("amount", "currency"),
    ("eventCode",),
    ("success",),
)
_NAMES: Final = tuple(b'"%b"' % name.encode() for name in {step for path in (ITEMS, *_FIELDS) for step in path} - {"*"})
_MOST_ITEMS: Final = 1000


class AdyenPayments:
    """Every item must be signed, all with one and the same active secret."""

    name: Final = RuleName.SIGNATURE

    def __init__(self, settings: AdyenPaymentsSignature, secrets: Sequence[Secret]) -> None:
        self._keys = keyed(secrets, "hex")
        self._absent, self._malformed, self._mismatch = verdicts_on(settings)

    def check(self, request: Request) -> Verdict:
        """Judges item by item."""
        items = every(request.document(), ITEMS)
        given = [written(at(item, SIGNATURE)) for item in items]
        if not any(given):
            return self._absent
        if len(items) > _MOST_ITEMS:
            return self._malformed
        signed = [(signed_fields(item), decoded(one or b"", "base64") or b"") for item, one in zip(items, given, strict=True)]
        verdict: Verdict = self._mismatch
        for secret, key, matched in self._keys:
            # SECURITY: no early exit, neither among the secrets nor among the items.
            right = [same(hmac_digest(key, message, "sha256"), signature) for message, signature in signed]
            if all(right) and secret.active(request.head.arrived):
                verdict = matched
        # SECURITY: of a name that stands twice in an object, the bot may read the value that is not signed.
        return self._malformed if isinstance(verdict, Pass) and doubled(request.body, _NAMES, len(items)) else verdict


def signed_fields(item: object) -> bytes:
    """The eight fields with ``:`` between them; an absent one is empty."""
    return b":".join(written(at(item, field)) or b"" for field in _FIELDS)


def signature_of(key: bytes, item: object) -> str:
    """An item's signature as Adyen writes it."""
    return base64.b64encode(hmac_digest(key, signed_fields(item), "sha256")).decode()
