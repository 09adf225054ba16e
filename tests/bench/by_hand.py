"""What verifying costs without a policy: for each scheme of the bench one sender's check as one writes it by hand.

All that a policy could say is fixed in the code: the header, the form, the algorithm, the address, one secret that is always
active. What stays is what nobody can leave out: to find the signature in its header, to put together what was signed, the
calls of the library over those bytes, to compare. Parsing belongs to it where the scheme itself is made of it: a list in a
header, the JSON in which signed fields stand, Twilio's sorted fields, the claims of a token, the parts and parameters that RFC
9421 signs. Nothing looks for what an attacker may have doubled, nothing limits how much is looked at, no cause is told.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import jwt
import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from proxy.messages import Head

ByHand = Callable[[Head, bytes], bool]
"""Whether head and body are the sender's."""


def telegram(secret: bytes) -> ByHand:
    """The token, compared."""
    return lambda head, _: hmac.compare_digest(head.named.get(b"x-telegram-bot-api-secret-token", b""), secret)


def github(secret: bytes) -> ByHand:
    """``sha256=`` and the HMAC of the body in hex."""

    def verify(head: Head, body: bytes) -> bool:
        given = head.named.get(b"x-hub-signature-256", b"")
        if not given.startswith(b"sha256="):
            return False
        return hmac.compare_digest(binascii.hexlify(hmac.digest(secret, body, "sha256")), given[7:])

    return verify


def shopify(secret: bytes) -> ByHand:
    """The HMAC of the body in base64."""

    def verify(head: Head, body: bytes) -> bool:
        given = head.named.get(b"x-shopify-hmac-sha256", b"")
        return hmac.compare_digest(base64.b64encode(hmac.digest(secret, body, "sha256")), given)

    return verify


def stripe(secret: bytes) -> ByHand:
    """``t=`` and any number of ``v1=`` in one header."""

    def verify(head: Head, body: bytes) -> bool:
        items = [item.partition(b"=") for item in head.named.get(b"stripe-signature", b"").split(b",")]
        stamp = next((value for name, _, value in items if name == b"t"), b"")
        expected = binascii.hexlify(hmac.digest(secret, b"%b.%b" % (stamp, body), "sha256"))
        return any([hmac.compare_digest(expected, value) for name, _, value in items if name == b"v1"])

    return verify


def standard_webhooks(secret: bytes) -> ByHand:
    """Any number of ``v1,`` in one header; id and time in two more."""

    def verify(head: Head, body: bytes) -> bool:
        named = head.named
        message = b"%b.%b.%b" % (named.get(b"webhook-id", b""), named.get(b"webhook-timestamp", b""), body)
        expected = b"v1," + base64.b64encode(hmac.digest(secret, message, "sha256"))
        return any([hmac.compare_digest(expected, one) for one in named.get(b"webhook-signature", b"").split(b" ")])

    return verify


def zalo(app_id: bytes, secret: bytes) -> ByHand:
    """A hash over the body, a field of its JSON, and the secret."""

    def verify(head: Head, body: bytes) -> bool:
        given = head.named.get(b"x-zevent-signature", b"")
        stamp: str = orjson.loads(body)["timestamp"]
        found = hashlib.sha256(b"".join((app_id, body, stamp.encode(), secret))).hexdigest().encode()
        return given.startswith(b"mac=") and hmac.compare_digest(found, given[4:])

    return verify


def discord(public: ed25519.Ed25519PublicKey) -> ByHand:
    """Ed25519 over time and body, in hex."""

    def verify(head: Head, body: bytes) -> bool:
        named = head.named
        try:
            signature = binascii.unhexlify(named.get(b"x-signature-ed25519", b""))
            public.verify(signature, named.get(b"x-signature-timestamp", b"") + body)
        except (InvalidSignature, ValueError):
            return False
        return True

    return verify


def kick(public: rsa.RSAPublicKey) -> ByHand:
    """RSA over id, time and body, in base64."""
    padded, hashed = padding.PKCS1v15(), hashes.SHA256()

    def verify(head: Head, body: bytes) -> bool:
        named = head.named
        written = (named.get(b"kick-event-message-id", b""), named.get(b"kick-event-message-timestamp", b""), body)
        try:
            signature = base64.b64decode(named.get(b"kick-event-signature", b""), validate=True)
            public.verify(signature, b"%b.%b.%b" % written, padded, hashed)
        except (InvalidSignature, ValueError):
            return False
        return True

    return verify


def sendgrid(public: ec.EllipticCurvePublicKey) -> ByHand:
    """ECDSA over time and body, in base64."""
    algorithm = ec.ECDSA(hashes.SHA256())

    def verify(head: Head, body: bytes) -> bool:
        named = head.named
        try:
            signature = base64.b64decode(named.get(b"x-twilio-email-event-webhook-signature", b""), validate=True)
            public.verify(signature, named.get(b"x-twilio-email-event-webhook-timestamp", b"") + body, algorithm)
        except (InvalidSignature, ValueError):
            return False
        return True

    return verify


def _both_addresses(secret: bytes, given: bytes, addresses: tuple[bytes, bytes], rest: bytes) -> bool:
    """With and without the port, as Twilio's own libraries do."""
    one, other = (base64.b64encode(hmac.digest(secret, address + rest, "sha1")) for address in addresses)
    return hmac.compare_digest(one, given) | hmac.compare_digest(other, given)


def twilio_form(secret: bytes, addresses: tuple[bytes, bytes]) -> ByHand:
    """The address and the fields of the form, decoded and sorted."""

    def verify(head: Head, body: bytes) -> bool:
        given = head.named.get(b"x-twilio-signature", b"")
        fields = parse_qsl(body.decode(), keep_blank_values=True)
        rest = "".join([name + value for name, value in sorted(fields)]).encode()
        return _both_addresses(secret, given, addresses, rest)

    return verify


def twilio_hash(secret: bytes, addresses: tuple[bytes, bytes]) -> ByHand:
    """The address, in whose query the body's hash stands."""

    def verify(head: Head, body: bytes) -> bool:
        query = head.query or b""
        given = dict(parse_qsl(query)).get(b"bodySHA256", b"")
        bound = hmac.compare_digest(hashlib.sha256(body).hexdigest().encode(), given)
        return _both_addresses(secret, head.named.get(b"x-twilio-signature", b""), addresses, b"?" + query) and bound

    return verify


def adyen(secret: bytes) -> ByHand:
    """Eight fields of each item; the signature stands in the item."""

    def verify(_: Head, body: bytes) -> bool:
        right = []
        for one in orjson.loads(body)["notificationItems"]:
            item = one["NotificationRequestItem"]
            amount = item["amount"]
            signed = (
                f"{item['pspReference']}:{item.get('originalReference', '')}:{item['merchantAccountCode']}:"
                f"{item['merchantReference']}:{amount['value']}:{amount['currency']}:{item['eventCode']}:{item['success']}"
            )
            expected = base64.b64encode(hmac.digest(secret, signed.encode(), "sha256"))
            right.append(hmac.compare_digest(expected, item["additionalData"]["hmacSignature"].encode()))
        return bool(right) and all(right)

    return verify


def bot_framework(keys: Mapping[str, tuple[rsa.RSAPublicKey, frozenset[str]]], app: str) -> ByHand:
    """PyJWT with the key that the token names, and what the token and the key say of the body."""
    reader = jwt.PyJWT()
    options: Any = {"require": ["exp", "nbf", "serviceurl"], "verify_exp": False, "verify_nbf": False, "verify_iat": False}

    def verify(head: Head, body: bytes) -> bool:
        scheme, _, token = head.named.get(b"authorization", b"").partition(b" ")
        begin = token.partition(b".")[0]
        kid: str = orjson.loads(base64.urlsafe_b64decode(begin + b"=" * (-len(begin) % 4)))["kid"]
        key, channels = keys[kid]
        try:
            claims = reader.decode(
                token, key, ["RS256"], options=options, audience=app, issuer="https://api.botframework.com", leeway=300
            )
        except jwt.PyJWTError:
            return False
        now = head.arrived
        if not claims["nbf"] - 300 <= now < claims["exp"] + 300 or scheme != b"Bearer":
            return False
        activity = orjson.loads(body)
        return bool(activity["serviceUrl"] == claims["serviceurl"] and activity["channelId"] in channels)

    return verify


_PARAMETER = re.compile(rb';([a-z]+)=(?:([0-9]+)|"([^"]*)")')


def message_signatures(public: ed25519.Ed25519PublicKey, host: bytes, path: bytes) -> ByHand:
    """RFC 9421: the parts that the sender says it covers, among those that must be, and the digest of the body."""
    fixed = {b'"@authority"': host, b'"@path"': path}
    needed = {b'"@method"', b'"@authority"', b'"@path"', b'"content-digest"'}

    def verify(head: Head, body: bytes) -> bool:
        named = head.named
        label, _, covered = named.get(b"signature-input", b"").partition(b"=")
        begin, _, rest = covered.partition(b")")
        parts = begin[1:].split(b" ")
        parameters = {name: int(number) if number else text for name, number, text in _PARAMETER.findall(rest)}
        digest = named.get(b"content-digest", b"")
        values = {**fixed, b'"@method"': head.method.encode(), b'"content-digest"': digest}
        lines = [b"%b: %b" % (part, values[part]) for part in parts]
        lines.append(b'"@signature-params": ' + covered)
        given, _, signature = named.get(b"signature", b"").partition(b"=")
        whole = b"sha-256=:" + base64.b64encode(hashlib.sha256(body).digest()) + b":"
        if given != label or not needed.issubset(parts) or not hmac.compare_digest(whole, digest):
            return False
        if parameters[b"alg"] != b"ed25519" or not -60 <= head.arrived - parameters[b"created"] <= 300:
            return False
        try:
            public.verify(base64.b64decode(signature[1:-1], validate=True), b"\n".join(lines))
        except (InvalidSignature, ValueError):
            return False
        return True

    return verify
