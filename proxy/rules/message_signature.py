"""HTTP Message Signatures (RFC 9421): which of a request's signatures counts, whether it covers enough, and whether it holds.

Its times are judged by the moment of arrival. The body is bound by Content-Digest (RFC 9530), which is checked wherever it
stands, signed or not. SECURITY: the message chooses neither the algorithm nor what must be covered.
"""

import hashlib
from base64 import b64encode
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from proxy.messages import Head, Request
from proxy.policy.message_signatures import MessageSignature, read_key
from proxy.policy.secrets import Secret
from proxy.rules.base import verdicts_on
from proxy.rules.components import Lines, Uncovered, field, lines
from proxy.rules.covered import Covered, Parameters, covered
from proxy.rules.message_algorithms import verifier
from proxy.rules.schemes import same
from proxy.rules.structured_fields import InnerList, Item, dictionary, sole_bytes
from proxy.verdict import Cause, Pass, RuleName, Verdict

_HASHES: Final = {"sha-256": hashlib.sha256, "sha-512": hashlib.sha512}
_MOST_SIGNATURES: Final = 8
_KEPT_BYTES: Final = 1024


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
        self._label, self._tag = settings.label, settings.tag
        self._any = settings.label is None and settings.tag is None
        self._future, self._tolerance, self._undated = settings.future, settings.tolerance, settings.created == "optional"
        self._public_url = public_url
        self._kept = lru_cache(maxsize=64)(self._read)
        """The lists that came last: a sender's is the same in all its requests."""
        keys = [(secret, read_key(secret.reveal(), settings.algorithm)) for secret in secrets]
        self._keyed = tuple(_Keyed(secret, key.algorithm, verifier(key), Pass(secret.id)) for secret, key in keys)
        self._ids = frozenset(secret.id for secret in secrets)
        self._absent, self._malformed, self._mismatch = verdicts_on(settings)
        self._stale = self._mismatch._replace(cause=Cause.STALE_TIMESTAMP)

    def check(self, request: Request) -> Verdict:
        """The digest, what is covered, the times, and then the signature with every key that may have made it."""
        head = request.head
        try:
            (_, items, parameters, ending), signature = self._chosen(head)
            found, enough = (self._kept if len(items) <= _KEPT_BYTES else self._read)(items)
            base = found.base(request, ending)
        except (ValueError, Uncovered):
            there = b"signature" in head.named or b"signature-input" in head.named
            return self._malformed if there else self._absent
        if not enough:
            return self._malformed
        if b"content-digest" in head.named and not _digest_holds(request):
            return self._mismatch
        verdict = self._verified(parameters, base, signature, head.arrived)
        return verdict if verdict is self._mismatch or self._timely(parameters, head.arrived) else self._stale

    def _read(self, items: bytes) -> tuple[Lines, bool]:
        """The lines for a list as it is written, and whether they cover all that they must."""
        (member,) = dictionary(b"a=" + items).values()
        if not isinstance(member, InnerList):
            raise Uncovered
        found = lines(member.items, self._public_url)
        return found, not self._settings.lacking(found.whole)

    def _chosen(self, head: Head) -> tuple[Covered, bytes]:
        """SECURITY: where more than one could be meant, none is: an unproved one must not lend its name to another."""
        inputs, text = covered(field(head, b"signature-input")), field(head, b"signature")
        if len(inputs) == 1 and self._any:
            sole = sole_bytes(text)
            if sole is not None and sole[0] == inputs[0][0] and inputs[0][1]:
                return inputs[0], sole[1]
        signatures = dictionary(text)
        if {one[0] for one in inputs} != signatures.keys() or len(inputs) > _MOST_SIGNATURES:
            raise ValueError("signatures and what they cover do not belong together")
        found = [one for one in inputs if self._is_meant(one)]
        if len(found) != 1:
            raise ValueError("no one signature is meant")
        (meant,) = found
        signature = signatures[meant[0]]
        if not meant[1] or type(signature) is not Item or type(signature.value) is not bytes:
            raise ValueError("not of the types that RFC 9421 section 4 demands")
        return meant, signature.value

    def _is_meant(self, one: Covered) -> bool:
        label, _, parameters, _ = one
        return self._label in {None, label} and self._tag in {None, parameters.get(b"tag")}

    def _verified(self, parameters: Parameters, base: bytes, signature: bytes, now: float) -> Verdict:
        algorithm, keyid = parameters.get(b"alg"), parameters.get(b"keyid")
        verdict: Verdict = self._mismatch
        for secret, own, verify, matched in self._keyed:
            if algorithm is not None and algorithm != own:
                continue
            if keyid in self._ids and keyid != secret.id:
                continue
            if secret.active(now) and verify(base, signature):
                verdict = matched
        return verdict

    def _timely(self, parameters: Parameters, now: float) -> bool:
        """RFC 9421 section 2.3: created and expires, in whole seconds."""
        created, expires = parameters.get(b"created"), parameters.get(b"expires")
        if (created is not None and type(created) is not int) or (expires is not None and type(expires) is not int):
            return False
        if expires is not None and now >= expires:
            return False
        if created is None:
            return self._undated
        return created - self._future <= now <= created + self._tolerance


def _digest_holds(request: Request) -> bool:
    """Whether every digest of a hash that we know is that of the body, and there is one."""
    text = field(request.head, b"content-digest")
    # As nearly all write it, it need not be read.
    if text.startswith(b"sha-256=:") and text == b"sha-256=:%b:" % b64encode(hashlib.sha256(request.body).digest()):
        return True
    try:
        digests = dictionary(text)
    except ValueError:
        return False
    known = [(begin, item) for name, item in digests.items() if (begin := _HASHES.get(name)) is not None]
    return bool(known) and all(
        isinstance(item, Item) and isinstance(item.value, bytes) and same(begin(request.body).digest(), item.value)
        for begin, item in known
    )
