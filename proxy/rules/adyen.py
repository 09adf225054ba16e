"""Adyen's payments signature: in each item of the body, over eight of its fields
(https://docs.adyen.com/development-resources/webhooks/verify-hmac-signatures/).
"""

from base64 import b64encode
from collections.abc import Sequence
from typing import Any, Final

import orjson

from proxy.messages import Request
from proxy.policy.keys import decode_key
from proxy.policy.particular import AdyenPaymentsSignature
from proxy.policy.secrets import Secret
from proxy.rules.base import verdicts_on
from proxy.rules.keys import doubled, written
from proxy.rules.schemes import hmac_digest, hmac_under, same
from proxy.verdict import Pass, RuleName, Verdict

SIGNATURE: Final = ("additionalData", "hmacSignature")
_NAMES: Final = (
    b'"notificationItems"',
    b'"NotificationRequestItem"',
    b'"pspReference"',
    b'"originalReference"',
    b'"merchantAccountCode"',
    b'"merchantReference"',
    b'"amount"',
    b'"value"',
    b'"currency"',
    b'"eventCode"',
    b'"success"',
)
"""All on the way to what is signed."""
_MOST_ITEMS: Final = 1000
_NOTHING: Final[dict[str, Any]] = {}


class AdyenPayments:
    """Every item must be signed, all with one and the same active secret."""

    name: Final = RuleName.SIGNATURE

    def __init__(self, settings: AdyenPaymentsSignature, secrets: Sequence[Secret]) -> None:
        keys = [(secret, decode_key("hex", secret.reveal())) for secret in secrets]
        self._keyed = tuple((secret, hmac_under(key, "sha256"), Pass(secret.id)) for secret, key in keys)
        self._absent, self._malformed, self._mismatch = verdicts_on(settings)

    def check(self, request: Request) -> Verdict:
        """Judges item by item."""
        items = items_of(request.document())
        given = list(map(_given, items))
        if not any(given):
            return self._absent
        if len(items) > _MOST_ITEMS:
            return self._malformed
        signed = list(map(signed_fields, items))
        verdict: Verdict = self._mismatch
        for secret, digest, matched in self._keyed:
            right = True
            for message, one in zip(signed, given):  # noqa: B905 - of one length, and to make sure takes time
                # SECURITY: no early exit, neither among the secrets nor among the items.
                right &= same(b64encode(digest(message)), one)
            if right and secret.active(request.head.arrived):
                verdict = matched
        return self._malformed if isinstance(verdict, Pass) and not _once(request, len(items)) else verdict


def items_of(document: object) -> list[object]:
    """The items of a delivery, whatever stands in their places."""
    listed = document.get("notificationItems") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        return []
    return [one.get("NotificationRequestItem") if isinstance(one, dict) else None for one in listed]


def _given(item: object) -> bytes:
    inner = item.get(SIGNATURE[0]) if isinstance(item, dict) else None
    found = inner.get(SIGNATURE[1]) if isinstance(inner, dict) else None
    return found.encode() if type(found) is str else written(found) or b""


def signed_fields(item: object) -> bytes:
    """The eight fields with ``:`` between them; an absent one is empty."""
    if not isinstance(item, dict):
        return b":::::::"
    get, amount = item.get, item.get("amount")
    inner = amount.get if isinstance(amount, dict) else _NOTHING.get
    value = inner("value")
    values: tuple[Any, ...] = (
        get("pspReference"),
        get("originalReference"),
        get("merchantAccountCode"),
        get("merchantReference"),
        str(value) if type(value) is int else value,
        inner("currency"),
        get("eventCode"),
        get("success"),
    )
    try:
        return ":".join(values).encode()
    except TypeError:  # not all of them are text, or there
        return b":".join([written(one) or b"" for one in values])


def signature_of(key: bytes, item: object) -> str:
    """An item's signature as Adyen writes it."""
    return b64encode(hmac_digest(key, signed_fields(item), "sha256")).decode()


def _once(request: Request, count: int) -> bool:
    """Whether each name on the way to what is signed stands once in its object.

    SECURITY: of one that stands twice, the bot may read the value that is not signed. JSON that stands there letter for letter as
    it is written anew has none twice; only where it is written in another way, the names are looked for.
    """
    try:
        if orjson.dumps(request.document()) == request.body:
            return True
    except orjson.JSONEncodeError:
        pass  # nested deeper than is written
    return not doubled(request.body, _NAMES, count)
