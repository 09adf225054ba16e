"""Makes a sender's check of the address: the other side of ``handshake``, out of the same data, for whoever tries a gate."""

import re
import secrets as randomness

import orjson

from proxy.errors import HookgateError
from proxy.policy.handshakes import ANY, Handshake
from proxy.policy.secrets import Secret
from proxy.policy.signatures import Placed
from proxy.policy.values import Selector, SelectorKind
from proxy.rules.draft import Draft, Made, first_name
from proxy.rules.keys import pointer
from proxy.rules.sealing import bare_envelope

_ORIGIN = "sender.example.com"


def shape(draft: Draft, settings: Handshake, token: bytes, made: Made) -> None:
    """Let the draft have all that this kind of check is known by, and what names a delivery where that stands in the body.
    ``token`` is the route's ``handshake.token``.

    Raises:
        HookgateError: something stands where none can be written.
    """
    document: dict[str, object] = {}
    for place, mark in made.items() if _is_named(draft, settings) else ():
        if place.kind is SelectorKind.JSON and "*" not in place.argument:
            _set(document, pointer(place.argument), mark.decode())
    signature = draft.route.rules.signature
    stand = signature.stand if isinstance(signature, Placed) and is_signed(settings) else None
    for place, value in _values(settings, token, draft.route.handshake.origins).items():
        if place.kind is SelectorKind.JSON:
            _set(document, pointer(place.argument), value)
        elif place != stand:
            _put(draft, place, value)
    if document:
        draft.body = orjson.dumps(document)
    elif settings.opened:
        draft.body = _text(settings).encode()


def _is_named(draft: Draft, settings: Handshake) -> bool:
    """Whether it is judged as an event is, which must have a name."""
    replay = draft.route.rules.replay
    return is_signed(settings) and settings.members is None and replay is not None and replay.otherwise is None


def _put(draft: Draft, place: Selector, value: str) -> None:
    name = first_name(place.argument).lower().encode()
    if place.kind is SelectorKind.HEADER:
        draft.fields = [one for one in draft.fields if one[0].lower() != name]
    elif place.kind is SelectorKind.FORM:
        draft.fields.append((b"Content-Type", b"application/x-www-form-urlencoded"))
    draft.put(place, value.encode())


def is_signed(settings: Handshake) -> bool:
    """Whether the sender signs it as it signs events."""
    return not settings.waives or settings.forward == "judged"


def seal(draft: Draft, settings: Handshake, secret: Secret) -> None:
    """Encrypt the body of a check that is encrypted and not signed."""
    if settings.opened == "lark":
        draft.body = bare_envelope(secret, draft.body)


def _values(settings: Handshake, token: bytes, origins: tuple[str, ...]) -> dict[Selector, str]:
    text = _text(settings)
    values = {one.selector: text if one.value == ANY else one.value for one in settings.when if one.value}
    if settings.echo is not None and settings.echo.source is not None:
        values[settings.echo.source] = text
    if settings.token:
        values[settings.token[0]] = token.decode() or text
    if settings.origin is not None:
        values[settings.origin] = next((one for one in origins if one != ANY), _ORIGIN)
    for name in settings.query or ():
        values.setdefault(Selector(SelectorKind.QUERY, name), text)
    for name in settings.members or ():
        values.setdefault(Selector(SelectorKind.JSON, f"/{name}"), text)
    # What is encrypted stands where its seal puts it.
    return {place: value for place, value in values.items() if not settings.opened or place.kind is SelectorKind.JSON}


def _text(settings: Handshake) -> str:
    """What the check asks to be answered with: of the characters that the echo may have."""
    text = randomness.token_hex(16)[: settings.echo.longest if settings.echo else None]
    if settings.echo is not None and not re.fullmatch(f"[{settings.echo.allowed}]+", text):
        raise HookgateError(f"the echo of {settings.name} allows no hexadecimal digits, of which one is made here")
    return text


def _set(document: dict[str, object], tokens: tuple[str, ...], value: str) -> None:
    """Numbers and the empty list stand as such."""
    inner = document
    for token in tokens[:-1]:
        found = inner.setdefault(token, {})
        assert isinstance(found, dict)  # noqa: S101 - no preset asks for a value and for something inside it
        inner = found
    inner[tokens[-1]] = orjson.loads(value) if value.isdecimal() or value == "[]" else value
