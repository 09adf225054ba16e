"""AWS SNS: RSA over some fields of the JSON, by a certificate at an address in that JSON (https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html).

SECURITY: all of it is a stranger's word until the signature holds, the address of the certificate above all: it is judged
as text before anything is fetched. A topic that is not pinned may be anybody's.
"""

import base64
import binascii
import json
import re
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from proxy.keyring.addresses import Allowed
from proxy.keyring.base import Keyring
from proxy.messages import Request
from proxy.policy.foreign_signatures import SnsSignature
from proxy.policy.secrets import Secret
from proxy.rules.base import verdicts_on
from proxy.rules.certificates import read_chain, signed_by
from proxy.verdict import PASS, Fail, Pass, Reason, RuleName, Verdict

_HOST: Final = re.compile(r"sns\.[a-z0-9-]{3,}\.amazonaws\.com(\.cn)?")
_NOTIFICATION: Final = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_CONFIRMATION: Final = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
SIGNED: Final[Mapping[str, tuple[str, ...]]] = {
    "Notification": _NOTIFICATION,
    "SubscriptionConfirmation": _CONFIRMATION,
    "UnsubscribeConfirmation": _CONFIRMATION,
}
"""What is signed of each type, in this order; what is not there is left out."""
HASHES: Final = {"1": "sha1", "2": "sha256"}
_READ: Final = frozenset({*_NOTIFICATION, *_CONFIRMATION, "SignatureVersion", "Signature", "SigningCertURL"})


class _Message(NamedTuple):
    """A message as far as it was read; nothing of it is proved."""

    signed: bytes
    signature: bytes
    algorithm: str
    address: str


class Sns:
    """A signature inside the body."""

    name: Final = RuleName.SIGNATURE

    def __init__(self, settings: SnsSignature, secrets: Sequence[Secret], keyring: Keyring) -> None:
        self._topics = frozenset(settings.topics)
        self._versions = frozenset(settings.versions)
        self._pinned = tuple((one, read_chain(one.reveal("cert_pem")), Pass(one.id)) for one in secrets)
        allowed = Allowed(frozenset(settings.hosts), _HOST, settings.private_addresses)
        self._shelf = keyring.shelf(allowed, read_chain)
        self._absent, self._malformed, self._mismatch = verdicts_on(settings)

    def prepare(self, request: Request) -> Awaitable[None] | None:
        """What to wait for before this request is judged: a certificate that is not at hand."""
        message = self._message(request) if not self._pinned else None
        if not isinstance(message, _Message) or self._fault(message.address):
            return None
        source = self._shelf.source(message.address)
        return source.pending() if source is not None else None

    def check(self, request: Request) -> Verdict:
        """Signed with a certificate of the policy where it has one, else with the one that is named."""
        message = self._message(request)
        if not isinstance(message, _Message):
            return message
        now = request.head.arrived
        if self._pinned:
            verdict: Verdict = self._mismatch
            for secret, chain, matched in self._pinned:
                if secret.active(now) and signed_by(chain.key, message.signed, message.signature, message.algorithm):
                    verdict = matched
            return verdict
        if self._fault(message.address):
            return self._malformed
        source = self._shelf.source(message.address)
        chain_there = source.kept if source is not None else None
        if chain_there is None:
            return Fail(Reason.KEYS_UNREACHABLE)
        holds = signed_by(chain_there.key, message.signed, message.signature, message.algorithm)
        return PASS if holds and chain_there.valid(now) else self._mismatch

    def _fault(self, address: str) -> bool:
        return not address.partition("?")[0].endswith(".pem") or self._shelf.fault(address) is not None

    def _message(self, request: Request) -> _Message | Verdict:
        document = request.document()
        if not isinstance(document, dict):
            return self._malformed
        if not document.get("Signature"):
            return self._absent
        if not _once(request.body):
            return self._malformed
        fields: Mapping[str, Any] = {name: document[name] for name in _READ if document.get(name) is not None}
        names = SIGNED.get(str(fields.get("Type")))
        version = fields.get("SignatureVersion")
        if names is None or not all(isinstance(one, str) for one in fields.values()) or version not in self._versions:
            return self._malformed
        if any(name not in fields for name in names if name != "Subject"):
            return self._malformed
        # SECURITY: lines part what is signed. With one inside any field but the first, text could be moved to another field.
        if any("\n" in fields.get(name, "") for name in names[1:]):
            return self._malformed
        if self._topics and fields["TopicArn"] not in self._topics:
            return self._mismatch
        try:
            signature = base64.b64decode(fields["Signature"].encode(), validate=True)
            signed = signed_text(fields, names)
        except (binascii.Error, UnicodeEncodeError):
            return self._malformed
        return _Message(signed, signature, HASHES[version], fields.get("SigningCertURL", ""))


def signed_text(fields: Mapping[str, str], names: Sequence[str]) -> bytes:
    """What is signed of a message.

    Raises:
        UnicodeEncodeError: a field is no text.
    """
    return "".join(f"{name}\n{fields[name]}\n" for name in names if name in fields).encode()


def _once(body: bytes) -> bool:
    """Whether no key of the object stands twice. SECURITY: of one that does, the bot may read the other value."""
    try:
        pairs: list[tuple[str, object]] = json.loads(body, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return False
    return len(pairs) == len({name for name, _ in pairs})
