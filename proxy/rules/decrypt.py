"""AES-256-GCM envelopes (NIST SP 800-38D): the signature rule around one, and the plaintext that a bot gets in its place.

SECURITY: the raw envelope is proved first. What cannot be decrypted with a route's own key is refused like a wrong signature.
"""

import base64
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from proxy.messages import Head, Request
from proxy.policy.callbacks import DecryptSettings, EnvelopeSignature
from proxy.policy.secrets import Secret
from proxy.policy.signatures import HmacSignature, TemplateSignature
from proxy.rules.base import BodyRule, verdicts_on
from proxy.rules.keys import Read, reader
from proxy.rules.schemes import decoded
from proxy.verdict import PASS, Pass, RuleName, Verdict

_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16


def hmac_of(settings: EnvelopeSignature) -> HmacSignature:
    """The scheme of the HMAC around the envelope."""
    taken = {field.alias or name: getattr(settings, name) for name, field in TemplateSignature.model_fields.items()}
    return HmacSignature(scheme="hmac", **taken)


class _HmacKey(Secret):
    """One value of a secret, under its id."""

    __slots__ = ("_whole",)

    def __init__(self, whole: Secret) -> None:
        super().__init__(whole.id, whole.reveal("hmac_key"), created=whole.created)
        self._whole = whole

    def active(self, now: float) -> bool:
        # SECURITY: asked of the secret itself each time: it is the one that is revoked, and a copy would live on.
        return self._whole.active(now)


def hmac_secrets(secrets: Sequence[Secret]) -> tuple[Secret, ...]:
    """The value of each secret that is the HMAC's key, accepted whenever that secret is."""
    return tuple(map(_HmacKey, secrets))


class Envelope:
    """The HMAC over the raw envelope, and one nonce in both of its places: only that of the body is signed."""

    name: Final = RuleName.SIGNATURE

    def __init__(self, settings: EnvelopeSignature, proof: BodyRule) -> None:
        self._proof = proof
        self._nonce = reader(settings.nonce)
        self._body_nonce = reader(settings.body_nonce)
        self._encrypted = reader(settings.encrypted)
        _, self._malformed, self._mismatch = verdicts_on(settings)

    def check(self, request: Request) -> Verdict:
        """Nothing of the body is parsed before its HMAC was right."""
        verdict = self._proof.check(request)
        if type(verdict) is not Pass or not verdict.secret:
            return verdict
        nonce, repeated = self._nonce(request), self._body_nonce(request)
        if nonce is None or repeated is None or self._encrypted(request) is None or _bytes(repeated, _NONCE_BYTES) is None:
            return self._malformed
        return verdict if nonce == repeated else self._mismatch


class _Cipher(Protocol):
    """AESGCM of cryptography, which loads where a route decrypts."""

    def decrypt(self, nonce: bytes, data: bytes, associated_data: None) -> bytes: ...


class _Opener(NamedTuple):
    secret: Secret
    cipher: _Cipher

    def __repr__(self) -> str:
        return f"_Opener({self.secret.id})"


class Decrypt:
    """Opens envelopes. ``check`` judges, ``opened`` gives what it found, in the same turn of the loop."""

    name: Final = RuleName.SIGNATURE

    def __init__(self, settings: DecryptSettings, envelope: EnvelopeSignature, secrets: Sequence[Secret]) -> None:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._wrong = InvalidTag
        self._nonce: Read = reader(envelope.body_nonce)
        self._encrypted: Read = reader(envelope.encrypted)
        keys = ((secret, base64.b64decode(secret.reveal("aes_key_b64"))) for secret in secrets)
        self._openers = tuple(_Opener(secret, AESGCM(key)) for secret, key in keys)
        self._type = settings.content_type.encode() if settings.content_type else None
        _, _, self._mismatch = verdicts_on(envelope)
        self._found: tuple[Request, bytes] | None = None

    def check(self, request: Request) -> Verdict:
        """The ciphertext is whole, and encrypted with an active key; there is no associated data."""
        self._found = None
        nonce, sealed = self._nonce(request), self._encrypted(request)
        iv = _bytes(nonce or b"", _NONCE_BYTES)
        raw = _bytes(sealed or b"")
        if iv is None or raw is None or len(raw) < _TAG_BYTES:
            return self._mismatch
        for one in self._openers:
            if one.secret.active(request.head.arrived):
                try:
                    self._found = request, one.cipher.decrypt(iv, raw, None)
                except self._wrong:
                    continue
                return PASS
        return self._mismatch

    def opened(self, request: Request) -> Request | None:
        """The request with its plaintext, if ``check`` has just decrypted it; ``None`` where it could not."""
        found, self._found = self._found, None
        if found is None or found[0] is not request:
            return None
        return Request(_about(request.head, found[1], self._type), found[1])


def _about(head: Head, body: bytes, content_type: bytes | None) -> Head:
    """The same head for another body: its length, no transfer coding, and its type where one is given."""
    gone = {b"content-length", b"transfer-encoding"} | ({b"content-type"} if content_type else set())
    fields = [field for name, field in zip(head.names, head.fields, strict=True) if name not in gone]
    fields += [(b"Content-Type", content_type)] if content_type else []
    fields.append((b"Content-Length", b"%d" % len(body)))
    names = [name.lower() for name, _ in fields]
    return head._replace(
        fields=tuple(fields),
        names=names,
        named={name: value for name, (_, value) in zip(reversed(names), reversed(fields), strict=True)},
        length=len(body),
        chunked=False,
        kept=None,
    )


def _bytes(text: bytes, length: int | None = None) -> bytes | None:
    """Strict base64 in its one written form; ``None`` for what is none, or has another length."""
    raw = decoded(text, "base64")
    return raw if raw is not None and length in (None, len(raw)) else None
