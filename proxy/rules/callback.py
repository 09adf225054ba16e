"""The signature rule of WeCom and DingTalk callbacks: ``msg_signature`` in the query, over the encrypted text of the request.

Only that text, the timestamp and the nonce are signed; what else stands in the body is not.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

from proxy.messages import NOT_JSON, Request
from proxy.policy.callbacks import CallbackSignature, LarkEnvelope
from proxy.policy.secrets import Secret
from proxy.policy.values import Selector, SelectorKind
from proxy.rules.base import verdicts_on
from proxy.rules.callback_cipher import message_key, message_signature, open_lark, open_message
from proxy.rules.keys import Read, ambiguity, reader
from proxy.rules.schemes import same
from proxy.rules.signature import Keyed, keyed
from proxy.verdict import Pass, RuleName, Verdict

_HEX: Final = re.compile(rb"[0-9a-f]{40}")
_DIGITS: Final = re.compile(rb"[0-9]{9,14}")
_NONCE: Final = re.compile(rb"[!-~]{1,128}")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]+={0,2}")

# SECURITY: the whole of the XML that these senders write, and nothing more. Whatever a parser could see otherwise than this
# pattern (a document type, an entity, a comment, a nested element, a second Encrypt) is refused before a parser sees it.
_PROLOG: Final = re.compile(rb'\s*(?:<\?xml version="1\.0"(?: encoding="(?:utf|UTF)-8")?\s*\?>)?\s*<xml>\s*')
_ELEMENT: Final = re.compile(rb"<([A-Za-z]{1,32})>(?:<!\[CDATA\[((?:[^\]]|\](?!\]>))*)\]\]>|([^<>&]*))</([A-Za-z]{1,32})>\s*")
_END: Final = re.compile(rb"</xml>\s*")
_MOST_ELEMENTS: Final = 32

_encrypt_is_doubled: Final = ambiguity(("encrypt",))


class Callback:
    """``msg_signature``: SHA-1 over the sorted texts token, timestamp, nonce and encrypted text."""

    name: Final = RuleName.SIGNATURE

    def __init__(self, settings: CallbackSignature, secrets: Sequence[Secret]) -> None:
        self._given = tuple(map(_query, settings.signature_names))
        self._stamps = tuple(map(_query, settings.timestamp_names))
        self._nonce = _query("nonce")
        self._shared = tuple(Keyed(secret, secret.reveal("token"), Pass(secret.id)) for secret in secrets)
        self._absent, self._malformed, self._mismatch = verdicts_on(settings)

    def check(self, request: Request) -> Verdict:
        """Compares with what each active token would make of it."""
        given = _first(self._given, request)
        if given is None:
            return self._malformed if b"signature=" in (request.head.query or b"") else self._absent
        stamp, nonce, sealed = _first(self._stamps, request), self._nonce(request), encrypted(request)
        if not (_HEX.fullmatch(given) and stamp and nonce and sealed and _DIGITS.fullmatch(stamp) and _NONCE.fullmatch(nonce)):
            return self._malformed
        verdict: Verdict = self._mismatch
        for one in self._shared:
            # SECURITY: no early exit: time must not tell which token was near.
            if same(message_signature(one.key, stamp, nonce, sealed), given) and one.secret.active(request.head.arrived):
                verdict = one.matched
        return verdict


class BareEnvelope:
    """Feishu's encryption alone: the body's text can be decrypted to text. A changed one mostly cannot, but may."""

    name: Final = RuleName.SIGNATURE

    def __init__(self, settings: LarkEnvelope, secrets: Sequence[Secret]) -> None:
        self._keys = keyed(secrets, "utf8")
        self._absent, _, self._mismatch = verdicts_on(settings)

    def check(self, request: Request) -> Verdict:
        """Decrypts with each active key."""
        sealed = _in_json(request)
        if sealed is None:
            return self._absent
        verdict: Verdict = self._mismatch
        for secret, key, matched in self._keys:
            if secret.active(request.head.arrived) and _is_text(open_lark(key, sealed)):
                verdict = matched
        return verdict


def _is_text(plain: bytes | None) -> bool:
    try:
        return plain is not None and all(one.isprintable() or one in "\t\r\n" for one in plain.decode())
    except UnicodeDecodeError:
        return False


def encrypted(request: Request) -> bytes | None:
    """The encrypted text: of a check of the address ``echostr`` in the query, else ``Encrypt`` in XML or ``encrypt`` in JSON."""
    if request.head.method == "GET":
        found = _echo(request)
    else:
        found = _in_json(request) if request.body.lstrip()[:1] == b"{" else _in_xml(request.body)
    return found if found and _BASE64.fullmatch(found) else None


def _in_json(request: Request) -> bytes | None:
    document = request.document()
    found = document.get("encrypt") if document is not NOT_JSON and isinstance(document, dict) else None
    return found.encode("utf-8", "replace") if isinstance(found, str) and not _encrypt_is_doubled(request.body) else None


def _in_xml(body: bytes) -> bytes | None:
    start = _PROLOG.match(body)
    if start is None:
        return None
    at, found = start.end(), None
    for _ in range(_MOST_ELEMENTS):
        element = _ELEMENT.match(body, at)
        if element is None:
            break
        opened, in_cdata, plain, closed = element.groups()
        if opened != closed or (opened.lower() == b"encrypt" and (found is not None or opened != b"Encrypt")):
            return None
        if opened == b"Encrypt":
            found = in_cdata if in_cdata is not None else plain
        at = element.end()
    return found if _END.fullmatch(body, at) else None


def opener(secrets: Sequence[Secret], receiver: str) -> Callable[[Request], bytes | None]:
    """The function that decrypts what stands in a request that was proved; ``receiver`` names the value that says for whom."""
    keys = tuple((secret, message_key(secret.reveal("aes_key")), secret.reveal(receiver)) for secret in secrets)

    def opened(request: Request) -> bytes | None:
        sealed = encrypted(request)
        found = [
            open_message(key, sealed, whose) for secret, key, whose in keys if sealed and secret.active(request.head.arrived)
        ]
        return next((one for one in found if one is not None), None)

    return opened


def _query(name: str) -> Read:
    return reader(Selector(SelectorKind.QUERY, name))


_echo: Final = _query("echostr")


def _first(places: tuple[Read, ...], request: Request) -> bytes | None:
    return next((found for read in places if (found := read(request)) is not None), None)
