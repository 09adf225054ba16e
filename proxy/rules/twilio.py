"""Twilio's signature: HMAC-SHA1 over the URL and the form's fields (https://www.twilio.com/docs/usage/security).

The URL is what was registered, so it is written in several ways: with and without its port, with what browsers escape.
"""

import base64
import hashlib
from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qsl, unquote_to_bytes, urlencode, urlsplit

from proxy.messages import Request
from proxy.policy.particular import TwilioSignature
from proxy.policy.secrets import Secret
from proxy.rules.base import verdicts_on
from proxy.rules.schemes import decoded, hmac_digest, same, signed_url
from proxy.verdict import Pass, RuleName, Verdict

_MOST_FIELDS: Final = 1000
_FORM: Final = b"application/x-www-form-urlencoded"
_BODY_HASH: Final = b"bodySHA256"


class Twilio:
    """``public_url`` is the address as it was registered; each request brings its own query."""

    name: Final = RuleName.SIGNATURE

    def __init__(self, settings: TwilioSignature, secrets: Sequence[Secret], public_url: str) -> None:
        self._header = (settings.header or "").lower().encode()
        self._secrets = tuple((secret, Pass(secret.id)) for secret in secrets)
        # SECURITY: the key's own, never what a request says: X-Twilio-Webhooks-Signature-Settings is not signed.
        self._algorithm = settings.algorithm
        self._urls = tuple(map(signed_url, _spellings(public_url)))
        self._absent, self._malformed, self._mismatch = verdicts_on(settings)

    def check(self, request: Request) -> Verdict:
        """Any spelling of the URL with any active secret is enough; the body must be bound either way."""
        head = request.head
        given = head.named.get(self._header)
        if not given:
            return self._malformed if self._header in head.repeated else self._absent
        signature = decoded(given, "base64")
        fields = _fields(request)
        if signature is None or self._header in head.repeated or fields is None:
            return self._malformed
        if not _bound(request):
            return self._mismatch
        messages = [message for url in self._urls for message in _messages(url(request) or b"", fields)]
        verdict: Verdict = self._mismatch
        for secret, matched in self._secrets:
            # SECURITY: no early exit, neither among the secrets nor among the spellings.
            right = [same(hmac_digest(secret.reveal(), message, self._algorithm), signature) for message in messages]
            if any(right) and secret.active(head.arrived):
                verdict = matched
        return verdict


def signed_request(secret: bytes, public_url: str, request: Request, algorithm: str = "sha1") -> bytes:
    """The signature of a request as Twilio makes it, written for the header."""
    message = (signed_url(public_url)(request) or b"") + (_fields(request) or b"")
    return base64.b64encode(hmac_digest(secret, message, algorithm))


def with_body_hash(query: bytes, body: bytes) -> bytes:
    """The query that binds a body which is no form."""
    return (query + b"&" if query else b"") + _BODY_HASH + b"=" + hashlib.sha256(body).hexdigest().encode()


def is_form(request: Request) -> bool:
    """Whether the body's fields are signed by themselves."""
    kind = request.head.named.get(b"content-type", b"").partition(b";")[0].strip().lower()
    return kind == _FORM


def _fields(request: Request) -> bytes | None:
    """The names and distinct values of a form, sorted, nothing between; empty for other bodies, ``None`` for too many."""
    if not is_form(request):
        return b""
    # SECURITY: nothing is proved yet, so the fields are counted before each is looked at.
    if request.body.count(b"&") >= _MOST_FIELDS:
        return None
    pairs = (field.partition(b"=") for field in request.body.split(b"&") if field)
    found = {(_plain(name), _plain(value)) for name, _, value in pairs}
    return b"".join(name + value for name, value in sorted(found))


def _plain(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def _bound(request: Request) -> bool:
    """Whether the signature covers the body: as a form, by its hash in the URL, or because there is none."""
    if not request.body or is_form(request):
        return True
    pairs = (one.partition(b"=") for one in (request.head.query or b"").split(b"&"))
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


def _messages(url: bytes, fields: bytes) -> list[bytes]:
    """The URL as it came, with the apostrophe escaped, and with its query written anew, as Twilio's older libraries do."""
    base, mark, query = url.partition(b"?")
    found = [url]
    if b"'" in query:
        found.append(base + mark + query.replace(b"'", b"%27"))
    if b"%" in query or b"+" in query:
        # Latin-1 is a byte a character: what is no ASCII, UTF-8 or not, is escaped byte for byte.
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, encoding="latin-1")
        found.append(base + mark + urlencode(pairs, encoding="latin-1").encode())
    return [one + fields for one in found]
