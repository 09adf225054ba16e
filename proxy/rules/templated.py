"""The signature rule over a template of the request's bytes: an HMAC, a plain hash, or a public key's signature.

Missing is not wrong, doubled is malformed, every active secret is tried with every signature of the header.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from proxy.messages import Request
from proxy.policy.secrets import Secret
from proxy.policy.signatures import HashSignature, HmacSignature, TemplateSignature
from proxy.policy.values import SelectorKind
from proxy.rules.base import verdicts_on
from proxy.rules.keys import Read, listed, reader
from proxy.rules.schemes import MOST_CANDIDATES, Signed, hasher, hmac_under, normal, same, signed_bytes, writer
from proxy.verdict import Pass, RuleName, Verdict

Proves = Callable[[bytes, Sequence[bytes]], bool]
"""Whether one of the candidates signs the message."""
Normal = Callable[[bytes], bytes | None]
"""A candidate in the one form that can be compared, or ``None`` when it cannot be such a signature at all."""


class Prover(NamedTuple):
    """A secret ready for use."""

    secret: Secret
    proves: Proves
    matched: Pass
    own: Signed | None = None
    """What this secret signs, where the secret itself is among the signed bytes."""

    def __repr__(self) -> str:
        return f"Prover({self.secret.id})"


class Templated:
    """``values`` holds what ``{timestamp}``, ``{id}`` and ``{url}`` stand for."""

    name: Final = RuleName.SIGNATURE

    def __init__(
        self, settings: TemplateSignature, provers: Sequence[Prover], normal: Normal, values: Mapping[str, Read]
    ) -> None:
        stand = settings.stand
        sole = stand.kind is SelectorKind.HEADER and "|" not in stand.argument
        self._header = stand.argument.lower().encode() if sole else b""
        """The header where it stands in one; else ``_read`` finds it."""
        self._read = reader(stand)
        self._candidates = _candidates(settings, normal)
        self._provers = tuple(provers)
        own = any(prover.own is not None for prover in self._provers)
        self._signed = None if own else signed_bytes(settings.template.parts, values, settings)
        self._absent, self._malformed, self._mismatch = verdicts_on(settings)

    def check(self, request: Request) -> Verdict:
        """Any one of the candidates made with any one active secret is enough."""
        head = request.head
        given = head.named.get(self._header) if self._header else self._read(request)
        if not given:
            return self._malformed if self._header in head.repeated else self._absent
        candidates = self._candidates(given)
        if not candidates or self._header in head.repeated:
            return self._malformed
        message = b"" if self._signed is None else self._signed(request)
        verdict: Verdict = self._mismatch
        for secret, proves, matched, own in self._provers:
            signed = message if own is None else own(request)
            if signed is None:
                return self._malformed
            # SECURITY: no early exit: all candidates are compared with all secrets.
            if secret.active(head.arrived) and proves(signed, candidates):
                verdict = matched
        return verdict


def _candidates(settings: TemplateSignature, normal: Normal) -> Callable[[bytes], Sequence[bytes]]:
    """The function that takes the signatures out of what stands at their place; none where that is malformed."""
    prefix = settings.prefix.encode()
    length = len(prefix)

    def sole(given: bytes) -> Sequence[bytes]:
        one = normal(given[length:]) if given.startswith(prefix) else None
        return () if one is None else (one,)

    if settings.items is None:
        return sole
    values = listed(settings.items, settings.items.key.encode())

    def several(given: bytes) -> Sequence[bytes]:
        found = values(given)
        if len(found) == 1:
            return sole(found[0])
        return () if len(found) > MOST_CANDIDATES else [one for written in found for one in sole(written)]

    return several


def digests(settings: HmacSignature | HashSignature, secrets: Sequence[Secret], values: Mapping[str, Read]) -> Templated:
    """The rule for an HMAC or a plain hash."""
    algorithm, write = settings.algorithm, writer(settings.encoding)
    parts = settings.template.parts
    # With {secret} among the signed bytes, each secret has a message of its own.
    own = "secret" in settings.places

    def prover(secret: Secret) -> Prover:
        if isinstance(settings, HmacSignature):
            digest = hmac_under(settings.decoded_key(secret.reveal()), algorithm)
        else:
            digest = hasher(algorithm)

        def proves(message: bytes, candidates: Sequence[bytes]) -> bool:
            expected = write(digest(message))
            if len(candidates) == 1:
                return same(expected, candidates[0])
            # SECURITY: no early exit among the candidates.
            return any([same(expected, candidate) for candidate in candidates])

        return Prover(secret, proves, Pass(secret.id), signed_bytes(parts, values, settings, secret) if own else None)

    return Templated(settings, list(map(prover, secrets)), normal(settings.algorithm, settings.encoding), values)
