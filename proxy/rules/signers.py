"""Each scheme's way to sign a draft, out of the parts that judge it: what is signed is read by the very readers of the rule.

SECURITY: no message here shows a secret or a signature.
"""

import secrets as randomness

import orjson

from proxy.errors import HookgateError
from proxy.messages import Field, Request
from proxy.policy.callbacks import CallbackSignature, EnvelopeSignature, LarkEnvelope
from proxy.policy.foreign_signatures import JwtSignature, PaypalSignature, SnsSignature
from proxy.policy.keys import decode_key
from proxy.policy.message_signatures import MessageSignature
from proxy.policy.model import Route
from proxy.policy.particular import AdyenPaymentsSignature, TwilioSignature
from proxy.policy.schemes import AnySignature, Signature
from proxy.policy.signatures import (
    EcdsaSignature,
    Ed25519Signature,
    HashSignature,
    HmacSignature,
    ListSyntax,
    RsaSignature,
    TemplateSignature,
    TokenSignature,
)
from proxy.policy.templates import Part
from proxy.policy.values import Selector, SelectorKind
from proxy.rules import sealing
from proxy.rules.adyen import SIGNATURE, items_of, signature_of
from proxy.rules.decrypt import hmac_of, hmac_secrets
from proxy.rules.draft import Draft, Made, first_name, stamp_of
from proxy.rules.keys import Read, reader
from proxy.rules.schemes import encoded, hmac_digest, plain_digest, signed_bytes, signed_url
from proxy.rules.twilio import is_form, signed_request, with_body_hash


def sign(draft: Draft, signature: Signature, made: Made) -> None:
    """Put the credential where its scheme wants it."""
    match signature:
        case TokenSignature():
            draft.put(_concrete(draft, signature.stand), signature.prefix.encode() + draft.secret.reveal())
        case CallbackSignature() | LarkEnvelope() | EnvelopeSignature():
            _seal(draft, signature, made)
        case TemplateSignature():
            _sign_template(draft, signature, made)
        case TwilioSignature():
            if draft.body and not is_form(draft.request()):
                path, _, query = draft.target.partition(b"?")
                draft.target = path + b"?" + with_body_hash(query, draft.body)
            made_of = signed_request(draft.secret.reveal(), draft.route.public_url or "", draft.request(), signature.algorithm)
            draft.put(signature.stand, made_of)
        case AdyenPaymentsSignature():
            draft.body = _with_items_signed(draft)
        case AnySignature():
            _sign_first(draft, signature, made)
        case JwtSignature() | MessageSignature() | PaypalSignature():
            draft.fields += _foreign_fields(draft, signature)
        case SnsSignature():
            from proxy.rules.foreign_signing import sns_message

            draft.body = sns_message(signature, draft.secret, draft.key, draft.body, draft.at)


def _items(syntax: ListSyntax | None, made: Made) -> bytes:
    """The items of the signature's list that are no signatures."""
    if syntax is None:
        return b""
    items = (f"{name}{syntax.pair}".encode() + value for (kind, name), value in made.items() if kind is SelectorKind.LIST)
    return syntax.separator.encode().join(items)


def _foreign_fields(draft: Draft, signature: JwtSignature | MessageSignature | PaypalSignature) -> list[Field]:
    from proxy.rules.foreign_signing import message_fields, paypal_fields, token_fields

    request = draft.request()
    match signature:
        case JwtSignature():
            return token_fields(signature, draft.secret, draft.key, request, draft.at)
        case MessageSignature():
            return message_fields(signature, draft.secret, draft.key, request, draft.route.public_url, draft.at)
        case PaypalSignature():
            return paypal_fields(draft.secret, draft.key, request)


def _sign_first(draft: Draft, signature: AnySignature, made: Made) -> None:
    """In the first of several ways."""
    way = signature.of[0]
    for condition in way.when:
        if not draft.has(condition.selector):
            draft.put(condition.selector, condition.value.encode())
    sign(draft, way.signature, made)


def _seal(draft: Draft, signature: CallbackSignature | LarkEnvelope | EnvelopeSignature, made: Made) -> None:
    """The body becomes what its sender encrypts of it."""
    match signature:
        case CallbackSignature():
            echo = draft.method == "GET"
            query, draft.body = sealing.callback(signature, draft.secret, draft.body, draft.at, echo=echo)
            draft.target = draft.target.partition(b"?")[0] + b"?" + query
        case LarkEnvelope():
            draft.body = sealing.bare_envelope(draft.secret, draft.body)
        case EnvelopeSignature():
            draft.body, nonce = sealing.gcm_envelope(signature, draft.secret, draft.body)
            draft.put(signature.nonce, nonce)
            (draft.secret,) = hmac_secrets((draft.secret,))
            _sign_template(draft, hmac_of(signature), made)


def _sign_template(draft: Draft, settings: TemplateSignature, made: Made) -> None:
    if not settings.covers_body:
        for place, value in _lacking(draft, settings, made):
            draft.put(place, value)
    items = _items(settings.items, made)
    listed = [(first_name(settings.stand.argument).encode(), items)] if items else []
    message = _message(draft, settings, draft.request(listed))
    value = settings.prefix.encode() + encoded(_signature(draft, settings, message), settings.encoding)
    syntax = settings.items
    if syntax is not None:
        value = (items + syntax.separator.encode() if items else b"") + f"{syntax.key}{syntax.pair}".encode() + value
    draft.put(settings.stand, value)


def _lacking(draft: Draft, settings: TemplateSignature, made: Made) -> list[tuple[Selector, bytes]]:
    """What stands in the body beside the signature and is signed, where the body has none of it."""
    rule = draft.route.rules.timestamp
    stamped = {rule.stand: stamp_of(rule, draft.at)} if rule is not None else {}
    places = [Selector(SelectorKind.JSON, part.argument) for part in settings.template.parts if part.place == "json"]
    places += [place for place in stamped if place.kind is SelectorKind.JSON and "timestamp" in settings.places]
    values = {**made, **stamped}
    return [(one, values.get(one) or randomness.token_hex(16).encode()) for one in places if not draft.has(one)]


def _message(draft: Draft, settings: TemplateSignature, request: Request) -> bytes:
    values = _values(draft.route, settings)
    parts = settings.template.parts
    message = signed_bytes(parts, values, settings, draft.secret)(request)
    if message is None:
        lacking = [one for one in parts if signed_bytes((one,), values, settings, draft.secret)(request) is None]
        raise HookgateError(f"what is signed lacks {', '.join(map(_written, lacking))}: only a header can be given")
    return message


def _signature(draft: Draft, settings: TemplateSignature, message: bytes) -> bytes:
    match settings:
        case HmacSignature():
            return hmac_digest(settings.decoded_key(draft.secret.reveal()), message, settings.algorithm)
        case HashSignature():
            return plain_digest(b"", message, settings.algorithm)
        case Ed25519Signature() | RsaSignature() | EcdsaSignature():
            from proxy.rules.privatekey import signed

            if draft.key is None:
                raise HookgateError("the policy holds the public key alone: give its private key with --key FILE")
            return signed(settings, draft.key, message)
        case _:
            raise HookgateError("requests of this scheme cannot be made here")


def _concrete(draft: Draft, stand: Selector) -> Selector:
    """The place without ``*``: the first element of each list."""
    if stand.kind is not SelectorKind.JSON or "*" not in stand.argument:
        return stand
    return Selector(stand.kind, stand.argument.replace("/*", "/0"))


def _with_items_signed(draft: Draft) -> bytes:
    try:
        document = orjson.loads(draft.body)
    except orjson.JSONDecodeError:
        document = None
    items = [item for item in items_of(document) if isinstance(item, dict)]
    if not items:
        raise HookgateError("the body must be JSON with notificationItems: each of them is signed by itself")
    for item in items:
        item.setdefault(SIGNATURE[0], {})[SIGNATURE[1]] = signature_of(decode_key("hex", draft.secret.reveal()), item)
    return orjson.dumps(document)


def _values(route: Route, settings: TemplateSignature) -> dict[str, Read]:
    header = settings.stand.argument.lower().encode()
    values: dict[str, Read] = {"url": signed_url(route.public_url or "")}
    if route.rules.timestamp is not None:
        values["timestamp"] = reader(route.rules.timestamp.stand, settings.items, header)
    if settings.id is not None:
        values["id"] = reader(settings.id, settings.items, header)
    return values


def _written(part: Part) -> str:
    return "{" + (f"{part.place}:{part.argument}" if part.argument else part.place) + "}"
