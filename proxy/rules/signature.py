"""The signature rule: a scheme and its secrets. Missing is not wrong, doubled is malformed, every active secret is tried.

The plain token stands in the head, so it is judged at the door, before a byte of the body is read.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from proxy.messages import Head, Request
from proxy.policy.keys import KeyForm, decode_key
from proxy.policy.model import HmacSignature, TokenSignature
from proxy.policy.secrets import Secret
from proxy.rules.base import answer_of
from proxy.rules.keys import Read, pairs
from proxy.rules.schemes import MOST_CANDIDATES, Written, hmac_digest, same, signed_bytes
from proxy.verdict import PASS, Fail, Pass, Reason, RuleName, Verdict


class Keyed(NamedTuple):
    """A secret ready for use."""

    secret: Secret
    key: bytes
    matched: Pass

    def __repr__(self) -> str:
        return f"Keyed({self.secret.id})"


def _keyed(secrets: Sequence[Secret], form: KeyForm, prefix: bytes = b"") -> tuple[Keyed, ...]:
    return tuple(Keyed(secret, prefix + decode_key(form, secret.reveal()), Pass(secret.id)) for secret in secrets)


class Token:
    """The plain secret in a header. It covers no byte of the request."""

    name: Final = RuleName.SIGNATURE

    def __init__(self, settings: TokenSignature, secrets: Sequence[Secret]) -> None:
        answer = answer_of(settings)
        self._header = settings.header.lower().encode()
        self._keyed = _keyed(secrets, "utf8", settings.prefix.encode())
        self._absent: Verdict = PASS if settings.when_missing == "pass" else Fail(Reason.SIGNATURE_MISSING, answer)
        self._malformed = Fail(Reason.SIGNATURE_MALFORMED, answer)
        self._mismatch = Fail(Reason.SIGNATURE_MISMATCH, answer)

    def check(self, head: Head) -> Verdict:
        """Compares the raw header bytes with each active secret."""
        given = head.named.get(self._header)
        if not given:
            return self._malformed if self._header in head.repeated else self._absent
        if self._header in head.repeated:
            return self._malformed
        verdict: Verdict = self._mismatch
        for keyed in self._keyed:
            # SECURITY: no early exit, and bytes, not text: time must not tell which secret was near.
            if same(keyed.key, given) and keyed.secret.active(head.arrived):
                verdict = keyed.matched
        return verdict


class Hmac:
    """An HMAC over a template of the request's bytes. ``values`` holds what ``{timestamp}``, ``{id}`` and ``{url}`` stand for."""

    name: Final = RuleName.SIGNATURE

    def __init__(self, settings: HmacSignature, secrets: Sequence[Secret], values: Mapping[str, Read]) -> None:
        answer = answer_of(settings)
        self._header = settings.header.lower().encode()
        self._prefix = settings.prefix.encode()
        self._items = settings.items
        self._key = settings.items.key.encode() if settings.items else b""
        self._algorithm = settings.algorithm
        self._written = Written(settings.algorithm, settings.encoding)
        parts = settings.template.parts
        self._signed = signed_bytes(parts, dict(values), settings, b"")
        self._keyed = _keyed(secrets, settings.key)
        # With {secret} among the signed bytes, each secret has a message of its own.
        own = any(part.place == "secret" for part in parts)
        self._own = {s.id: signed_bytes(parts, dict(values), settings, s.reveal()) for s in secrets} if own else None
        self._absent: Verdict = PASS if settings.when_missing == "pass" else Fail(Reason.SIGNATURE_MISSING, answer)
        self._malformed = Fail(Reason.SIGNATURE_MALFORMED, answer)
        self._mismatch = Fail(Reason.SIGNATURE_MISMATCH, answer)

    def check(self, request: Request) -> Verdict:
        """Any one of the header's candidates made with any one active secret is enough."""
        head = request.head
        given = head.named.get(self._header)
        if not given:
            return self._malformed if self._header in head.repeated else self._absent
        candidates = self._candidates(given)
        if not candidates or self._header in head.repeated:
            return self._malformed
        message = self._signed(request)
        if message is None:
            return self._malformed
        verdict: Verdict = self._mismatch
        for keyed in self._keyed:
            if not keyed.secret.active(head.arrived):
                continue
            if self._own is not None:
                message = self._own[keyed.secret.id](request) or b""
            expected = self._written.write(hmac_digest(keyed.key, message, self._algorithm))
            for candidate in candidates:
                # SECURITY: no early exit: all candidates are compared with all secrets.
                if same(expected, candidate):
                    verdict = keyed.matched
        return verdict

    def _candidates(self, given: bytes) -> list[bytes]:
        found = pairs(given, self._items, self._key) if self._items else [given]
        if len(found) > MOST_CANDIDATES:
            return []
        normal = (self._written.normal(one.removeprefix(self._prefix)) for one in found if one.startswith(self._prefix))
        return [one for one in normal if one is not None]
