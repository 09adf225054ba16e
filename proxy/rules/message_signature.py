"""HTTP Message Signatures (RFC 9421): which of a request's signatures counts, whether it covers enough, and whether it holds.

Its times are judged by the moment of arrival. The body is bound by Content-Digest (RFC 9530), which is checked wherever it
stands, signed or not. SECURITY: the message chooses neither the algorithm nor what must be covered.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from proxy.messages import Head, Request
from proxy.policy.message_signatures import MessageSignature, read_key
from proxy.policy.secrets import Secret
from proxy.rules.base import verdicts_on
from proxy.rules.components import Uncovered, signature_base
from proxy.rules.message_algorithms import verifier
from proxy.rules.schemes import same
from proxy.rules.structured_fields import InnerList, Item, dictionary
from proxy.verdict import Cause, Pass, RuleName, Verdict

_HASHES: Final = {"sha-256": "sha256", "sha-512": "sha512"}
_MOST_SIGNATURES: Final = 8


class _Keyed(NamedTuple):
    secret: Secret
    algorithm: str
    verify: Callable[[bytes, bytes], bool]
    matched: Pass

    def __repr__(self) -> str:
        return f"<{self.algorithm} {self.secret.id}>"


class MessageSignatures:
    """The one signature of a request that counts."""

    name: Final = RuleName.SIGNATURE

    def __init__(self, settings: MessageSignature, secrets: Sequence[Secret], public_url: str | None) -> None:
        self._settings = settings
        self._public_url = public_url
        keys = [(secret, read_key(secret.reveal(), settings.algorithm)) for secret in secrets]
        self._keyed = tuple(_Keyed(secret, key.algorithm, verifier(key), Pass(secret.id)) for secret, key in keys)
        self._ids = frozenset(secret.id for secret in secrets)
        self._absent, self._malformed, self._mismatch = verdicts_on(settings)
        self._stale = self._mismatch._replace(cause=Cause.STALE_TIMESTAMP)

    def check(self, request: Request) -> Verdict:
        """The digest, what is covered, the times, and then the signature with every key that may have made it."""
        head = request.head
        if b"signature" not in head.named and b"signature-input" not in head.named:
            return self._absent
        try:
            covered, signature = self._chosen(head)
            base, names = signature_base(covered, request, self._public_url)
        except (ValueError, Uncovered):
            return self._malformed
        if self._settings.lacking(names):
            return self._malformed
        if b"content-digest" in head.named and not _digest_holds(request):
            return self._mismatch
        verdict = self._verified(covered, base, signature, head.arrived)
        return verdict if verdict is self._mismatch or self._timely(covered, head.arrived) else self._stale

    def _chosen(self, head: Head) -> tuple[InnerList, bytes]:
        """SECURITY: where more than one could be meant, none is: an unproved one must not lend its name to another."""
        inputs, signatures = dictionary(_field(head, b"signature-input")), dictionary(_field(head, b"signature"))
        if inputs.keys() != signatures.keys() or len(inputs) > _MOST_SIGNATURES:
            raise ValueError("signatures and what they cover do not belong together")
        label, tag = self._settings.label, self._settings.tag
        chosen = [
            (covered, signatures[name])
            for name, covered in inputs.items()
            if (label is None or name == label) and (tag is None or covered.parameter("tag") == tag)
        ]
        if len(chosen) != 1:
            raise ValueError("no one signature is meant")
        covered, signature = chosen[0]
        if not isinstance(covered, InnerList) or not isinstance(signature, Item) or not isinstance(signature.value, bytes):
            raise ValueError("not of the types that RFC 9421 section 4 demands")
        return covered, signature.value

    def _verified(self, covered: InnerList, base: bytes, signature: bytes, now: float) -> Verdict:
        algorithm, keyid = covered.parameter("alg"), covered.parameter("keyid")
        verdict: Verdict = self._mismatch
        for keyed in self._keyed:
            if algorithm is not None and algorithm != keyed.algorithm:
                continue
            if keyid in self._ids and keyid != keyed.secret.id:
                continue
            if keyed.secret.active(now) and keyed.verify(base, signature):
                verdict = keyed.matched
        return verdict

    def _timely(self, covered: InnerList, now: float) -> bool:
        """RFC 9421 section 2.3: created and expires, in whole seconds."""
        settings = self._settings
        created, expires = covered.parameter("created"), covered.parameter("expires")
        if not all(one is None or type(one) is int for one in (created, expires)):
            return False
        if type(expires) is int and now >= expires:
            return False
        if type(created) is not int:
            return settings.created == "optional"
        return created - settings.future <= now <= created + settings.tolerance


def _field(head: Head, name: bytes) -> bytes:
    """All lines of a field as one (RFC 9110 section 5.3)."""
    return b", ".join(value for one, (_, value) in zip(head.names, head.fields, strict=True) if one == name)


def _digest_holds(request: Request) -> bool:
    """Whether every digest of a hash that we know is that of the body, and there is one."""
    try:
        digests = dictionary(_field(request.head, b"content-digest"))
    except ValueError:
        return False
    known = [(_HASHES[name], item) for name, item in digests.items() if name in _HASHES]
    return bool(known) and all(
        isinstance(item, Item) and isinstance(item.value, bytes) and same(hashlib.new(hash_, request.body).digest(), item.value)
        for hash_, item in known
    )
