"""Recognises a sender's check of the address and makes its answer. It neither forwards nor refuses: the pipeline does.

SECURITY: an answer repeats only what its class of characters allows, and what is made with a secret is made of such text alone.
"""

import base64
import hmac
import re
import secrets as randomness
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import orjson

from proxy.messages import NOT_JSON, Head, Request
from proxy.policy.handshakes import ANY, Echo, Handshake, HandshakeSettings
from proxy.policy.secrets import Secret
from proxy.policy.values import Selector, SelectorKind
from proxy.rules.keys import Read, ambiguity, at, pointer, reader
from proxy.rules.schemes import same
from proxy.verdict import PASS, Answer, Fail, Reason, Refusal, RuleName, Said, Verdict

Opener = Callable[[Request], bytes | None]
"""The plaintext of an encrypted request, for looking only."""
Sealer = Callable[[bytes, Request], bytes]
"""The body that carries a text back, encrypted and signed."""

_EMPTY_LIST: Final = "[]"
_PLACE: Final = re.compile(r"(\{(?:echo|token|hmac:hex|hmac:base64|sealed)\})")


class Known:
    """One kind of handshake of one route."""

    def __init__(
        self,
        settings: Handshake,
        option: HandshakeSettings,
        token: bytes,
        secrets: Sequence[Secret],
        opener: Opener | None,
        sealer: Sealer | None,
    ) -> None:
        self.settings: Final = settings
        self.method: Final = settings.method
        self._token = token
        self._secrets = secrets
        self._opener = opener
        self._sealer = sealer
        self._when = tuple(_holds(one.selector, one.value) for one in settings.when)
        # A signature that was right is no reason against a handshake that may come without one.
        self._signed_when = tuple(_holds(one.selector, one.value) for one in settings.when if one.value)
        self._tokens = tuple(map(reader, settings.token))
        named = [*(one.selector for one in settings.when), *settings.token, *([settings.echo.source] if settings.echo else [])]
        self._doubled = tuple(ambiguity(pointer(one.argument)) for one in named if one and one.kind is SelectorKind.JSON)
        self._origin = reader(settings.origin) if settings.origin else None
        self._origins = frozenset(origin.encode() for origin in option.origins)
        self._members = frozenset(settings.members) if settings.members is not None else None
        echo = settings.echo
        self._echo: Read | None = _echo(echo) if echo else None
        self._harmless = re.compile(f"[{echo.allowed}]{{1,{echo.longest}}}".encode()) if echo else None

    def shown_by(self, head: Head) -> bool:
        """Whether this head, without a body, is such a check."""
        if head.method != self.method or head.chunked or head.length:
            return False
        return self._query_fits(head) and self._fits(Request(head, b""), self._when)

    def view(self, request: Request, *, proved: bool) -> Request | None:
        """The request as its conditions see it, decrypted where it is encrypted; ``None`` where it is no such check."""
        if request.head.method != self.method or not self._query_fits(request.head) or (self.settings.by_head and request.body):
            return None
        seen = request
        if self._opener is not None:
            plain = self._opener(request)
            if plain is None:
                return None
            seen = Request(request.head, plain)
        if not self._fits(seen, self._signed_when if proved else self._when):
            return None
        # SECURITY: another parser may take the other one of two equal keys, and see an event.
        return None if any(doubled(seen.body) for doubled in self._doubled) else seen

    def token_verdict(self, seen: Request) -> Verdict:
        """Whether the token that stands in it is ours, or none is known to compare with."""
        if not self._token or not self._tokens:
            return PASS
        answer = Answer(self.settings.refused)
        given = next((found for read in self._tokens if (found := read(seen)) is not None), None)
        if given is None:
            return Fail(Reason.SIGNATURE_MISSING, answer)
        return PASS if same(given, self._token) else Fail(Reason.SIGNATURE_MISMATCH, answer)

    def answer(self, request: Request, seen: Request, secret: str) -> Refusal | None:
        """What to say; ``secret`` is the id of the one that proved the request, if one did."""
        said = self.settings.answer
        if said is None or (not secret and self.token_verdict(seen) is not PASS):
            return None
        echo = self._echo(seen) if self._echo is not None else b""
        if echo is None:
            return None
        fill = self._fill(request, echo, secret, in_json=said.type == "application/json")
        fields = [(name.encode(), _filled(value, fill)) for name, value in said.fields.items()]
        if said.type:
            fields.insert(0, (b"Content-Type", said.type.encode()))
        if echo:
            fields.append((b"X-Content-Type-Options", b"nosniff"))
        return Refusal(Reason.HANDSHAKE, said.status, said=Said(tuple(fields), _filled(said.body, fill)))

    def _fill(self, request: Request, echo: bytes, secret: str, *, in_json: bool) -> Mapping[str, Callable[[], bytes]]:
        said = self.settings.answer
        seals = said.seals.encode() if said else b""

        def mac() -> bytes:
            return hmac.digest(self._key(secret, request.head.arrived), echo, "sha256")

        return {
            "{echo}": lambda: orjson.dumps(echo.decode())[1:-1] if in_json else echo,
            "{token}": lambda: self._token,
            "{hmac:hex}": lambda: mac().hex().encode(),
            "{hmac:base64}": lambda: base64.b64encode(mac()),
            "{sealed}": lambda: self._sealer(seals, request) if self._sealer is not None else b"",
        }

    def _key(self, secret: str, now: float) -> bytes:
        """The one that proved the request; for one that needs no proof, the first that is active."""
        active = [one for one in self._secrets if one.active(now)]
        return next(
            (one.reveal() for one in active if one.id == secret), active[0].reveal() if active else randomness.token_bytes(32)
        )

    def _fits(self, seen: Request, conditions: "tuple[Condition, ...]") -> bool:
        if not all(condition(seen) for condition in conditions):
            return False
        if self._members is not None:
            document = seen.document()
            if not isinstance(document, dict) or document.keys() != self._members:
                return False
        if self._echo is not None and self._harmless is not None:
            echo = self._echo(seen)
            if echo is None or self._harmless.fullmatch(echo) is None:
                return False
        return self._origin_fits(seen)

    def _origin_fits(self, seen: Request) -> bool:
        if self._origin is None:
            return True
        given = self._origin(seen)
        return given is not None and (not self._origins or b"*" in self._origins or given.lower() in self._origins)

    def _query_fits(self, head: Head) -> bool:
        wanted = self.settings.query
        if wanted is None:
            return True
        names = [pair.partition(b"=")[0].decode("latin-1") for pair in (head.query or b"").split(b"&")] if head.query else []
        return len(names) == len(set(names)) and set(wanted) <= set(names) <= {*wanted, *self.settings.optional_query}


class TokenProof:
    """Judges the token of an unsigned handshake, in the place of the route's signature."""

    name: Final = RuleName.SIGNATURE

    def __init__(self, known: Known) -> None:
        self._known = known

    def check(self, request: Request) -> Verdict:
        """The token is right, or there is none to compare with."""
        seen = self._known.view(request, proved=False)
        return self._known.token_verdict(seen) if seen is not None else Fail(Reason.SIGNATURE_MISMATCH)


Condition = Callable[[Request], bool]


def _holds(selector: Selector, wanted: str) -> Condition:
    read: Read = reader(selector)
    if wanted == ANY:
        return lambda request: read(request) is not None
    if not wanted:
        return _absent(selector)
    if wanted == _EMPTY_LIST and selector.kind is SelectorKind.JSON:
        tokens = pointer(selector.argument)
        return lambda request: request.document() is not NOT_JSON and at(request.document(), tokens) == []
    text = wanted.encode()
    return lambda request: read(request) == text


def _absent(selector: Selector) -> Condition:
    if selector.kind is SelectorKind.HEADER:
        name = selector.argument.lower().encode()
        return lambda request: name not in request.head.named
    read = reader(selector)
    return lambda request: read(request) is None


def _echo(settings: Echo) -> Read:
    return reader(settings.source) if settings.source else lambda seen: seen.body


def _filled(text: str, fill: Mapping[str, Callable[[], bytes]]) -> bytes:
    return b"".join(fill[piece]() if piece in fill else piece.encode() for piece in _PLACE.split(text))
