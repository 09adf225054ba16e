"""JSON Web Tokens (RFC 7519): PyJWT judges the signature, with the policy's algorithms and a key that fits; we judge the claims.

Claims of time are judged by the moment of arrival, not by the clock, so that a saved request can be judged later. SECURITY: a
token says which key it wants by ``kid``, and nothing else that it says about itself is believed.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import orjson
from jwt import PyJWS
from jwt.exceptions import PyJWTError

from proxy.keyring.addresses import Allowed, host_of
from proxy.keyring.base import Keyring, Source
from proxy.messages import Head, Request
from proxy.policy.foreign_signatures import JwtSignature
from proxy.policy.keysets import KeySet, VerifyingKey, openid_keys_address, read_certificates, read_jwks
from proxy.policy.secrets import Secret
from proxy.policy.values import Selector
from proxy.rules.base import verdicts_on
from proxy.rules.keys import Read, ambiguity, pointer, reader, written
from proxy.verdict import PASS, Cause, Fail, Pass, Reason, RuleName, Verdict

_MOST_BYTES: Final = 16 * 1024
_KEPT_BYTES: Final = 1024


class _Owner(NamedTuple):
    """For whom a token may be."""

    secret: Secret | None
    audiences: frozenset[str]
    issuers: frozenset[str]
    matched: Pass

    def __repr__(self) -> str:
        return f"<owner {self.matched.secret}>"

    def is_meant(self, claims: dict[str, Any], now: float) -> bool:
        """Whether the token is for this one, and this one is active."""
        if self.secret is not None and not self.secret.active(now):
            return False
        named = claims.get("aud")
        if self.audiences and self.audiences.isdisjoint((named,) if isinstance(named, str) else _words(named)):
            return False
        issuer = claims.get("iss")
        return not self.issuers or (isinstance(issuer, str) and issuer in self.issuers)


class _Lane(NamedTuple):
    """Keys, and those for whom they count."""

    keys: KeySet | None
    """``None``: they are fetched."""
    owners: tuple[_Owner, ...]


class Jwt:
    """A token in a header."""

    name: Final = RuleName.SIGNATURE

    def __init__(self, settings: JwtSignature, secrets: Sequence[Secret], keyring: Keyring) -> None:
        self._algorithms = tuple(settings.algorithms)
        self._header = settings.header.lower().encode()
        self._prefix = settings.prefix.lower().encode()
        self._jws = PyJWS(settings.algorithms, {"verify_signature": True, "enforce_minimum_key_length": True})
        self._source = _source(settings, keyring)
        self._lanes = tuple(_lanes(settings, secrets))
        self._claims = _Claims(settings)
        self._absent, self._malformed, self._mismatch = verdicts_on(settings)
        self._stale = self._mismatch._replace(cause=Cause.STALE_TIMESTAMP)

    def prepare(self, request: Request) -> Awaitable[None] | None:
        """What to wait for before this request is judged: keys that are not at hand."""
        if self._source is None:
            return None
        token = self._token(request.head)
        asked = _asked(token) if isinstance(token, bytes) else None
        if asked is None:
            return None
        kept = self._source.kept
        return self._source.pending(missing=kept is not None and kept.find(asked.kid) is None)

    def check(self, request: Request) -> Verdict:
        """Any one of those for whom the route is must be meant, by a token that one of their keys has signed."""
        head = request.head
        token = self._token(head)
        if not isinstance(token, bytes):
            return token
        asked = _asked(token)
        if asked is None:
            return self._malformed
        verdict: Verdict = self._mismatch
        for lane in self._lanes:
            keys = lane.keys or (self._source.kept if self._source is not None else None)
            if keys is None:
                verdict = Fail(Reason.KEYS_UNREACHABLE) if verdict is self._mismatch else verdict
                continue
            key = keys.find(asked.kid)
            claims = self._verified(token, key) if key is not None else None
            if claims is None or key is None:
                continue
            matched = next((one.matched for one in lane.owners if one.is_meant(claims, head.arrived)), None)
            if matched is None or not self._claims.hold(claims, key, request):
                continue
            verdict = matched if self._claims.timely(claims, head.arrived) else self._stale
        return verdict

    def _token(self, head: Head) -> bytes | Verdict:
        given = head.named.get(self._header)
        if self._header in head.repeated:
            return self._malformed
        if not given:
            return self._absent
        begin = len(self._prefix)
        if given[:begin].lower() != self._prefix or len(given) > _MOST_BYTES:
            return self._malformed
        return given[begin:].strip(b" ")

    def _verified(self, token: bytes, key: VerifyingKey) -> dict[str, Any] | None:
        # SECURITY: what the policy allows and what the key is for; the token's own alg must be among these.
        algorithms = [one for one in key.algorithms if one in self._algorithms]
        if not algorithms:
            return None
        try:
            claims = orjson.loads(self._jws.decode_complete(token, key.key, algorithms)["payload"])
        except (PyJWTError, orjson.JSONDecodeError):
            return None
        return claims if isinstance(claims, dict) else None


class _Claims:
    """What the claims of a genuine token must say about this request."""

    def __init__(self, settings: JwtSignature) -> None:
        self._required = frozenset(settings.required)
        self._exact = tuple(settings.claims.items())
        self._same = _places(settings.same)
        self._lists = _places(settings.key_lists)
        self._leeway = settings.leeway

    def hold(self, claims: dict[str, Any], key: VerifyingKey, request: Request) -> bool:
        """Whether all is there, and what the claims and the key repeat of the request is what stands in it."""
        if not claims.keys() >= self._required:
            return False
        for name, wanted in self._exact:
            if claims.get(name) != wanted:
                return False
        for name, read, twice in self._same:
            if _single(read, twice, request) != _text(claims.get(name)):
                return False
        for name, read, twice in self._lists:
            listed = key.lists.get(name)
            value = _single(read, twice, request) if listed is not None else None
            if listed is not None and (value is None or value.decode("utf-8", "replace") not in listed):
                return False
        return True

    def timely(self, claims: dict[str, Any], now: float) -> bool:
        """RFC 7519 sections 4.1.4 to 4.1.6, at the moment of arrival."""
        early, late = now - self._leeway, now + self._leeway
        ends, begins, issued = claims.get("exp"), claims.get("nbf"), claims.get("iat")
        for one in (ends, begins, issued):
            if one is not None and type(one) is not int and type(one) is not float:
                return False
        return (ends is None or early < ends) and (begins is None or begins <= late) and (issued is None or issued <= late)


_Place = tuple[str, Read, Callable[[bytes], bool]]


def _places(named: dict[str, Selector]) -> tuple[_Place, ...]:
    return tuple((name, reader(place), ambiguity(pointer(place.argument))) for name, place in named.items())


def _single(read: Read, twice: Callable[[bytes], bool], request: Request) -> bytes | None:
    """SECURITY: a key that stands twice in the JSON is read by the bot as one value, and here perhaps as the other."""
    return None if twice(request.body) else read(request)


def _text(claim: object) -> bytes:
    found = written(claim)
    return b"\xff" if found is None else found  # what no place in a JSON document can be


def _words(value: object) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


class _Asked(NamedTuple):
    """What a token says about itself, as far as it is listened to."""

    kid: str | None


def _asked(token: bytes) -> _Asked | None:
    parts = token.split(b".", 3)
    if len(parts) != 3:
        return None
    return _header(parts[0]) if len(parts[0]) <= _KEPT_BYTES else _header.__wrapped__(parts[0])


@lru_cache(maxsize=64)
def _header(segment: bytes) -> _Asked | None:
    """A token's header is the same in all that were signed with one key, so that the last ones are kept."""
    try:
        header = orjson.loads(base64.urlsafe_b64decode(segment + b"=" * (-len(segment) % 4)))
    except (binascii.Error, orjson.JSONDecodeError):
        return None
    kid = header.get("kid") if isinstance(header, dict) else b""
    return _Asked(kid) if isinstance(kid, str | None) else None


def _lanes(settings: JwtSignature, secrets: Sequence[Secret]) -> Iterable[_Lane]:
    if settings.shared:
        for secret in secrets:
            key = VerifyingKey(None, settings.algorithms, secret.reveal(), {})
            yield _Lane(KeySet([key]), (_owner(settings, secret),))
        return
    for secret in secrets:
        if secret.has("jwks"):
            yield _Lane(read_jwks(secret.reveal("jwks")), (_owner(settings, secret),))
    others = tuple(_owner(settings, secret) for secret in secrets if not secret.has("jwks"))
    if others or not secrets:
        yield _Lane(None, others or (_owner(settings, None),))


def _owner(settings: JwtSignature, secret: Secret | None) -> _Owner:
    audiences, issuers = set(settings.audiences), set(settings.issuers)
    if secret is not None and settings.audience_from and secret.has(settings.audience_from):
        audiences.add(secret.reveal(settings.audience_from).decode("utf-8", "replace"))
    if secret is not None and secret.has("iss"):
        issuers = {secret.reveal("iss").decode("utf-8", "replace")}
    return _Owner(secret, frozenset(audiences), frozenset(issuers), Pass(secret.id) if secret is not None else PASS)


def _source(settings: JwtSignature, keyring: Keyring) -> Source[KeySet] | None:
    address = settings.address
    if address is None:
        return None
    allowed = Allowed(frozenset({host_of(address), *settings.hosts}), private=settings.private_addresses)
    if settings.certificates_url:
        return keyring.source(address, allowed, read_certificates)
    return keyring.source(address, allowed, read_jwks, openid_keys_address if settings.openid_url else None)
