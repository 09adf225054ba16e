"""Makes what senders of JWT, HTTP Message Signatures, PayPal and AWS SNS make, the other side of their rules.

A shared secret signs by itself; where the policy knows public keys alone, a private key must be given (``held``).
"""

import base64
import hashlib
import hmac
import secrets as randomness
import zlib
from datetime import UTC, datetime
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384, SHA512
from cryptography.x509 import load_pem_x509_certificate
from jwt import PyJWTError
from jwt import encode as encode_token

from proxy.errors import HookgateError
from proxy.messages import Field, Request
from proxy.policy.foreign_signatures import JwtSignature, PaypalSignature, SnsSignature
from proxy.policy.keysets import read_jwks
from proxy.policy.message_signatures import DIGEST, MessageSignature, read_key
from proxy.policy.secrets import Secret
from proxy.rules.components import Uncovered, lines
from proxy.rules.keys import reader
from proxy.rules.privatekey import side_by_side
from proxy.rules.sns import HASHES, SIGNED, signed_text
from proxy.rules.structured_fields import InnerList, Item, Parameters, write

_LIFETIME = 300
_USUAL = ("@method", "@authority", "@path", DIGEST)


def _private(key: object) -> Any:
    if key is None:
        raise HookgateError("the policy knows public keys alone: give a private key with --key FILE")
    return key


def token_fields(settings: JwtSignature, secret: Secret, held: object, request: Request, at: float) -> list[Field]:
    """The header with a token for this secret's owner, good for five minutes from ``at`` on.

    Raises:
        HookgateError: no key can make it.
    """
    key = secret.reveal() if settings.shared else _private(held)
    claims: dict[str, Any] = {"iat": int(at), "nbf": int(at), "exp": int(at) + _LIFETIME}
    named = settings.audience_from
    audience = secret.reveal(named).decode() if named and secret.has(named) else next(iter(settings.audiences), None)
    issuer = secret.reveal("iss").decode() if secret.has("iss") else next(iter(settings.issuers), None)
    claims |= {name: value for name, value in (("aud", audience), ("iss", issuer)) if value is not None}
    claims |= settings.claims
    claims |= {name: (reader(place)(request) or b"").decode() for name, place in settings.same.items()}
    claims = {**dict.fromkeys(settings.required, ""), **claims}
    kid = _kid(secret, key)
    try:
        token = encode_token(claims, key, settings.algorithms[0], headers={"kid": kid} if kid else None)
    except (PyJWTError, TypeError, ValueError):
        raise HookgateError(f"the private key is not one for {settings.algorithms[0]}") from None
    return [(settings.header.encode(), settings.prefix.encode() + token.encode())]


def _kid(secret: Secret, key: Any) -> str | None:
    """The name that the policy's own set has for a private key's public half."""
    if isinstance(key, bytes) or not secret.has("jwks"):
        return None
    found = (one for one in read_jwks(secret.reveal("jwks")) if one.key == key.public_key())
    return next((one.kid for one in found), None)


def message_fields(
    settings: MessageSignature, secret: Secret, held: object, request: Request, public_url: str | None, at: float
) -> list[Field]:
    """The three headers of a signature over what the policy demands, or over what is usual where it demands nothing.

    Raises:
        HookgateError: no key can make it, or the request lacks what is signed.
    """
    wanted = read_key(secret.reveal(), settings.algorithm)
    extra: list[Field] = []
    if b"content-digest" not in request.head.named:
        digest = base64.b64encode(hashlib.sha256(request.body).digest())
        extra.append((b"Content-Digest", b"sha-256=:" + digest + b":"))
    head = request.head
    fields = (*head.fields, *extra)
    names, named = [name.lower() for name, _ in fields], {name.lower(): value for name, value in extra}
    whole = Request(head._replace(fields=fields, names=names, named={**head.named, **named}), request.body)
    parameters: Parameters = (("created", int(at)), ("keyid", secret.id), ("alg", wanted.algorithm))
    parameters += (("tag", settings.tag),) if settings.tag else ()
    items = tuple(Item(name, ()) for name in settings.components or _USUAL)
    covered = write(InnerList(items, parameters))
    try:
        base = lines(items, public_url).base(whole, covered[len(write(InnerList(items, ()))) :])
    except Uncovered:
        raise HookgateError("what is signed is not in the request: give the header with --header 'NAME: VALUE'") from None
    shared = wanted.algorithm == "hmac-sha256"
    value = hmac.digest(wanted.key, base, "sha256") if shared else _signed(wanted.algorithm, _private(held), base)
    label = (settings.label or "sig1").encode()
    return [
        *extra,
        (b"Signature-Input", label + b"=" + covered),
        (b"Signature", label + b"=" + write(Item(value, ()))),
    ]


def _signed(algorithm: str, key: Any, base: bytes) -> bytes:
    match algorithm, key:
        case "ed25519", ed25519.Ed25519PrivateKey():
            return key.sign(base)
        case "rsa-pss-sha512", rsa.RSAPrivateKey():
            return key.sign(base, padding.PSS(padding.MGF1(SHA512()), 64), SHA512())
        case "rsa-v1_5-sha256", rsa.RSAPrivateKey():
            return key.sign(base, padding.PKCS1v15(), SHA256())
        case "ecdsa-p256-sha256", ec.EllipticCurvePrivateKey() if key.key_size == 256:
            return side_by_side(key.sign(base, ec.ECDSA(SHA256())), 32)
        case "ecdsa-p384-sha384", ec.EllipticCurvePrivateKey() if key.key_size == 384:
            return side_by_side(key.sign(base, ec.ECDSA(SHA384())), 48)
        case _:
            raise HookgateError(f"the private key is no {algorithm} key")


def paypal_fields(secret: Secret, held: object, request: Request) -> list[Field]:
    """The headers beside id and time, for a policy whose certificate is that of the private key.

    Raises:
        HookgateError: there is no RSA key, or not that of the certificate.
    """
    key = _certified(secret, held)
    named = request.head.named
    stamp, number = named.get(PaypalSignature.TIME.encode(), b""), named.get(PaypalSignature.ID.encode(), b"")
    message = b"|".join((number, stamp, secret.reveal("webhook_id"), b"%d" % zlib.crc32(request.body)))
    value = base64.b64encode(key.sign(message, padding.PKCS1v15(), SHA256()))
    return [(b"PAYPAL-AUTH-ALGO", b"SHA256withRSA"), (b"PAYPAL-TRANSMISSION-SIG", value)]


def sns_message(settings: SnsSignature, secret: Secret, held: object, body: bytes, at: float) -> bytes:
    """The message in ``body`` with its signature, for a policy that pins the certificate of the private key. What a message must
    have and this one lacks is made up; a body that is no message becomes the ``Message`` of a notification.

    Raises:
        HookgateError: there is no RSA key, or not that of the certificate, or the body is no text.
    """
    key = _certified(secret, held)
    moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    topic = settings.topics[0] if settings.topics else "arn:aws:sns:us-east-1:000000000000:hookgate"
    address = f"https://{settings.hosts[0] if settings.hosts else 'sns.us-east-1.amazonaws.com'}/hookgate.pem"
    made = {"MessageId": randomness.token_hex(16), "TopicArn": topic, "Timestamp": moment}
    fields = {**made, "SignatureVersion": settings.versions[-1], "SigningCertURL": address, **_message(body)}
    names = SIGNED.get(str(fields["Type"]), ())
    hash_ = {"sha1": SHA1, "sha256": SHA256}.get(HASHES.get(str(fields["SignatureVersion"]), ""))
    lacking = [name for name in names if name != "Subject" and not isinstance(fields.get(name), str)]
    if lacking or not names or hash_ is None:
        raise HookgateError(f"the message lacks {', '.join(lacking) or 'a Type or a SignatureVersion that AWS SNS has'}")
    signature = key.sign(signed_text(fields, names), padding.PKCS1v15(), hash_())
    return orjson.dumps({**fields, "Signature": base64.b64encode(signature).decode()})


def _message(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    if isinstance(document, dict) and "Type" in document and "Message" in document:
        return document
    try:
        return {"Type": "Notification", "Message": body.decode()}
    except UnicodeDecodeError:
        raise HookgateError("the body is no text: a message of AWS SNS is JSON") from None


def _certified(secret: Secret, held: object) -> rsa.RSAPrivateKey:
    key = _private(held)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise HookgateError("the private key is no RSA key")
    if secret.has("cert_pem") and load_pem_x509_certificate(secret.reveal("cert_pem")).public_key() != key.public_key():
        raise HookgateError("the private key is another one than that of the certificate in the policy (cert_pem)")
    return key
