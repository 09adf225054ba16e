"""Settings of a signature + secrets → the rule that judges it: the one list of schemes.

A scheme whose libraries are large is imported where a route has it, and nowhere else.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from proxy.keyring.base import Keyring, NoNetwork
from proxy.messages import Request
from proxy.policy.callbacks import CallbackSignature, EnvelopeSignature, LarkEnvelope
from proxy.policy.foreign_signatures import JwtSignature, PaypalSignature, SnsSignature
from proxy.policy.message_signatures import MessageSignature
from proxy.policy.model import Route
from proxy.policy.particular import AdyenPaymentsSignature, TwilioSignature
from proxy.policy.schemes import AnySignature, Signature
from proxy.policy.secrets import Secret
from proxy.policy.signatures import (
    EcdsaSignature,
    Ed25519Signature,
    HashSignature,
    HmacSignature,
    RsaSignature,
    SignatureSettings,
    TemplateSignature,
    TokenSignature,
)
from proxy.policy.values import Selector, SelectorKind
from proxy.rules.adyen import AdyenPayments
from proxy.rules.alternatives import Alternatives, Way, fitting
from proxy.rules.base import BodyRule, HeadRule, verdicts_on
from proxy.rules.keys import Header, Read, reader
from proxy.rules.schemes import signed_url
from proxy.rules.signature import HeadToken, PlacedToken, Token
from proxy.rules.templated import digests
from proxy.rules.twilio import Twilio


def head_rule(settings: Signature | None, secrets: Sequence[Secret]) -> HeadRule | None:
    """The rule for a credential that the head alone shows."""
    if not isinstance(settings, TokenSignature) or not settings.in_head:
        return None
    if settings.otherwise is None and settings.stand.kind is SelectorKind.HEADER and "|" not in settings.stand.argument:
        return Token(settings, secrets)
    return HeadToken(PlacedToken(settings, secrets))


def body_rule(route: Route, settings: Signature, secrets: Sequence[Secret], keyring: Keyring | None = None) -> BodyRule | None:
    """The rule for a signature that needs the body; ``None`` for one that the head alone shows."""
    if isinstance(settings, TokenSignature) and settings.in_head:
        return None
    return signature_rule(route, settings, secrets, keyring)


def signature_rule(route: Route, settings: Signature, secrets: Sequence[Secret], keyring: Keyring | None = None) -> BodyRule:
    """The rule of a scheme. Without a keyring no key that stands elsewhere is ever at hand."""
    match settings:
        case TokenSignature():
            return PlacedToken(settings, secrets)
        case HmacSignature() | HashSignature():
            return digests(settings, secrets, values_of(route, settings))
        case Ed25519Signature() | RsaSignature() | EcdsaSignature():
            from proxy.rules.publickey import public_keys

            return public_keys(settings, secrets, values_of(route, settings))
        case CallbackSignature() | LarkEnvelope() | EnvelopeSignature():
            return _encrypted(route, settings, secrets)
        case TwilioSignature():
            return Twilio(settings, secrets, route.public_url or "")
        case AdyenPaymentsSignature():
            return AdyenPayments(settings, secrets)
        case MessageSignature():
            from proxy.rules.message_signature import MessageSignatures

            return MessageSignatures(settings, secrets, route.public_url)
        case JwtSignature() | PaypalSignature() | SnsSignature():
            return _with_keys_elsewhere(settings, secrets, keyring or NoNetwork())
        case AnySignature():
            ways = [Way(fitting(one.when), signature_rule(route, one.signature, secrets, keyring)) for one in settings.of]
            absent, _, _ = verdicts_on(settings)
            return Alternatives(ways, absent)


def _with_keys_elsewhere(
    settings: JwtSignature | PaypalSignature | SnsSignature, secrets: Sequence[Secret], keyring: Keyring
) -> BodyRule:
    match settings:
        case JwtSignature():
            from proxy.rules.jwt import Jwt

            return Jwt(settings, secrets, keyring)
        case PaypalSignature():
            from proxy.rules.paypal import Paypal

            return Paypal(settings, secrets, keyring)
        case SnsSignature():
            from proxy.rules.sns import Sns

            return Sns(settings, secrets, keyring)


def _encrypted(
    route: Route, settings: CallbackSignature | LarkEnvelope | EnvelopeSignature, secrets: Sequence[Secret]
) -> BodyRule:
    match settings:
        case CallbackSignature():
            from proxy.rules.callback import Callback

            return Callback(settings, secrets)
        case LarkEnvelope():
            from proxy.rules.callback import BareEnvelope

            return BareEnvelope(settings, secrets)
        case EnvelopeSignature():
            from proxy.rules.decrypt import Envelope, hmac_of, hmac_secrets

            inner = hmac_of(settings)
            return Envelope(settings, digests(inner, hmac_secrets(secrets), values_of(route, inner)))


def values_of(route: Route, settings: TemplateSignature) -> Mapping[str, Read]:
    """What ``{timestamp}``, ``{id}`` and ``{url}`` of a template stand for on this route."""
    values: dict[str, Read] = {}
    if route.rules.timestamp is not None:
        values["timestamp"] = timestamp_of(route)
    if settings.id is not None:
        values["id"] = _ending(read_of(settings, settings.id), settings)
    if route.public_url is not None:
        values["url"] = signed_url(route.public_url)
    return values


def _ending(read: Read, settings: TemplateSignature) -> Read:
    """SECURITY: with the text that follows ``{id}`` inside it, what is signed has two readings, and two deliveries to claim."""
    follows = (after.literal for part, after in pairwise(settings.template.parts) if part.place == "id" and after.literal)
    mark = next(follows, b"")
    if isinstance(read, Header):
        return Header(read.name, mark)

    def ended(request: Request) -> bytes | None:
        found = read(request)
        return None if found is None or mark in found else found

    return ended if mark else read


def timestamp_of(route: Route) -> Read:
    """Where the route's timestamp stands."""
    rule = route.rules.timestamp
    assert rule is not None  # noqa: S101 - callers asked
    return read_of(route.rules.signature, rule.stand)


def read_of(signature: SignatureSettings | None, selector: Selector) -> Read:
    """The function that reads a place, where ``list:`` means the list of the route's signature."""
    if isinstance(signature, TemplateSignature) and signature.items is not None:
        return reader(selector, signature.items, (signature.header or "").lower().encode())
    return reader(selector)
