"""Twilio's signature: HMAC-SHA1 over the URL and the form's fields (https://www.twilio.com/docs/usage/security).

The URL is what was registered, so it is written in several ways: with and without its port, with what browsers escape.
"""

import base64
import hashlib
from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from proxy.messages import Request
from proxy.policy.particular import TwilioSignature
from proxy.policy.secrets import Secret
from proxy.rules.base import verdicts_on
from proxy.rules.escapes import unescaped
from proxy.rules.schemes import decoder, hmac_digest, hmac_under, same, signed_url
from proxy.verdict import Pass, RuleName, Verdict

_MOST_FIELDS: Final = 1000
_FORM: Final = b"application/x-www-form-urlencoded"
_BODY_HASH: Final = b"bodySHA256"

_SPACED: Final = bytes.maketrans(b"+", b" ")

_decoded: Final = decoder("base64")


class Twilio:
    """``public_url`` is the address as it was registered; each request brings its own query."""

    name: Final = RuleName.SIGNATURE

    def __init__(self, settings: TwilioSignature, secrets: Sequence[Secret], public_url: str) -> None:
        self._header = (settings.header or "").lower().encode()
        # SECURITY: the key's own, never what a request says: X-Twilio-Webhooks-Signature-Settings is not signed.
        self._keyed = tuple((one, hmac_under(one.reveal(), settings.algorithm), Pass(one.id)) for one in secrets)
        base, _, query = public_url.partition("?")
        self._addresses = tuple(one.encode() for one in _spellings(base))
        self._query = query.encode() or None
        self._absent, self._malformed, self._mismatch = verdicts_on(settings)

    def check(self, request: Request) -> Verdict:
        """Any spelling of the URL with any active secret is enough; the body must be bound either way."""
        head = request.head
        given = head.named.get(self._header)
        if not given:
            return self._malformed if self._header in head.repeated else self._absent
        signature, form = _decoded(given), is_form(request)
        fields = _fields(request.body) if form else b""
        if signature is None or self._header in head.repeated or fields is None:
            return self._malformed
        if not form and request.body and not _bound(request):
            return self._mismatch
        messages = self._messages(self._query if head.query is None else head.query, fields)
        verdict: Verdict = self._mismatch
        for secret, digest, matched in self._keyed:
            # SECURITY: no early exit, neither among the secrets nor among the spellings.
            right = [same(digest(message), signature) for message in messages]
            if any(right) and secret.active(head.arrived):
                verdict = matched
        return verdict

    def _messages(self, query: bytes | None, fields: bytes) -> list[bytes]:
        """What may have been signed: each spelling of the address with each of the query."""
        if query is None:
            return [address + fields for address in self._addresses]
        return [b"%b?%b%b" % (address, one, fields) for one in _queries(query) for address in self._addresses]


def signed_request(secret: bytes, public_url: str, request: Request, algorithm: str = "sha1") -> bytes:
    """The signature of a request as Twilio makes it, written for the header."""
    fields = _fields(request.body) if is_form(request) else b""
    message = (signed_url(public_url)(request) or b"") + (fields or b"")
    return base64.b64encode(hmac_digest(secret, message, algorithm))


def with_body_hash(query: bytes, body: bytes) -> bytes:
    """The query that binds a body which is no form."""
    return (query + b"&" if query else b"") + _BODY_HASH + b"=" + hashlib.sha256(body).hexdigest().encode()


def is_form(request: Request) -> bool:
    """Whether the body's fields are signed by themselves."""
    kind = request.head.named.get(b"content-type", b"")
    return kind == _FORM or kind.partition(b";")[0].strip().lower() == _FORM


def _fields(body: bytes) -> bytes | None:
    """The names and distinct values of a form, sorted, nothing between; ``None`` for too many."""
    # SECURITY: nothing is proved yet, so no more is parted than may be there.
    parts = body.translate(_SPACED).split(b"&", _MOST_FIELDS)
    if len(parts) > _MOST_FIELDS:
        return None
    found: list[tuple[bytes, bytes]] = []
    for field in parts:
        if field:
            name, _, value = field.partition(b"=")
            if b"%" in field:
                name, value = unescaped(name), unescaped(value)
            found.append((name, value))
    if len(dict(found)) < len(found):
        found = list(set(found))
    return b"".join([text for pair in sorted(found) for text in pair])


def _bound(request: Request) -> bool:
    """Whether the signature covers a body that is no form, by its hash in the URL."""
    pairs = [one.partition(b"=") for one in (request.head.query or b"").split(b"&")]
    given = [value for name, _, value in pairs if name == _BODY_HASH]
    return len(given) == 1 and same(given[0].lower(), hashlib.sha256(request.body).hexdigest().encode())


def _spellings(url: str) -> tuple[str, ...]:
    """With the port and without it: Twilio writes it or leaves it out, whatever was registered."""
    parts = urlsplit(url)
    bare = parts.netloc
    if parts.port is not None:
        bare = parts.netloc.rpartition(":")[0]
    port = parts.port or (443 if parts.scheme == "https" else 80)
    spelled = (parts.netloc, bare, f"{bare}:{port}")
    return tuple(dict.fromkeys(parts._replace(netloc=netloc).geturl() for netloc in spelled))


def _queries(query: bytes) -> list[bytes]:
    """The query as it came, with the apostrophe escaped, and written anew, as Twilio's older libraries do."""
    found = [query]
    if b"'" in query:
        found.append(query.replace(b"'", b"%27"))
    if b"%" in query or b"+" in query:
        # Latin-1 is a byte a character: what is no ASCII, UTF-8 or not, is escaped byte for byte.
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, encoding="latin-1")
        found.append(urlencode(pairs, encoding="latin-1").encode())
    return found
