"""The plain token: it proves the sender and covers no byte of the request.

Where it stands in the head it is judged at the door, before a byte of the body is read. Missing is not wrong, doubled is
malformed, every active secret is tried.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from proxy.messages import Head, Request
from proxy.policy.keys import KeyForm, decode_key
from proxy.policy.secrets import Secret
from proxy.policy.signatures import TokenSignature
from proxy.policy.values import Selector, SelectorKind
from proxy.rules.base import verdicts_on
from proxy.rules.keys import every, pointer, reader, written
from proxy.rules.schemes import same
from proxy.verdict import Pass, RuleName, Verdict


class Keyed(NamedTuple):
    """A secret ready for use."""

    secret: Secret
    key: bytes
    matched: Pass

    def __repr__(self) -> str:
        return f"Keyed({self.secret.id})"


def keyed(secrets: Sequence[Secret], form: KeyForm, prefix: bytes = b"") -> tuple[Keyed, ...]:
    """The secrets in the form of a key, ``prefix`` before each."""
    return tuple(Keyed(secret, prefix + decode_key(form, secret.reveal()), Pass(secret.id)) for secret in secrets)


class Token:
    """The plain secret in a header."""

    name: Final = RuleName.SIGNATURE

    def __init__(self, settings: TokenSignature, secrets: Sequence[Secret]) -> None:
        self._header = (settings.header or settings.stand.argument).lower().encode()
        self._keyed = keyed(secrets, "utf8", settings.prefix.encode())
        self._absent, self._malformed, self._mismatch = verdicts_on(settings)

    def check(self, head: Head) -> Verdict:
        """Compares the raw header bytes with each active secret."""
        if head.repeated and self._header in head.repeated:
            return self._malformed
        given = head.named.get(self._header)
        if not given:
            return self._absent
        verdict: Verdict = self._mismatch
        for keyed in self._keyed:
            # SECURITY: no early exit, and bytes, not text: time must not tell which secret was near.
            if same(keyed.key, given) and keyed.secret.active(head.arrived):
                verdict = keyed.matched
        return verdict


class PlacedToken:
    """The plain secret in the query, basic credentials or a field of the body; in each element of a list, where the pointer says
    so with ``*``. The first place that has one decides.
    """

    name: Final = RuleName.SIGNATURE

    def __init__(self, settings: TokenSignature, secrets: Sequence[Secret]) -> None:
        self._prefix = settings.prefix.encode()
        places = [settings.stand, *([settings.otherwise] if settings.otherwise else [])]
        self._places = tuple((one.kind is SelectorKind.HEADER, one.argument.lower().encode(), _all(one)) for one in places)
        self._keyed = keyed(secrets, "utf8")
        self._absent, self._malformed, self._mismatch = verdicts_on(settings)

    def check(self, request: Request) -> Verdict:
        """Every element must hold one and the same active secret."""
        for index, (in_header, name, read) in enumerate(self._places):
            if in_header and name in request.head.repeated:
                return self._malformed
            given = read(request)
            if not given:
                continue
            if index == 0 and self._prefix:
                if not all(one is not None and one.startswith(self._prefix) for one in given):
                    continue
                given = [one[len(self._prefix) :] for one in given if one is not None]
            return self._judged(given, request.head.arrived)
        return self._absent

    def _judged(self, given: list[bytes | None], now: float) -> Verdict:
        verdict: Verdict = self._mismatch
        for keyed in self._keyed:
            # SECURITY: no early exit, neither among the secrets nor among the elements.
            right = [same(keyed.key, one or b"") for one in given]
            if all(right) and keyed.secret.active(now):
                verdict = keyed.matched
        return verdict


ReadAll = Callable[[Request], list[bytes | None]]


def _all(selector: Selector) -> ReadAll:
    if selector.kind is SelectorKind.JSON and "*" in (tokens := pointer(selector.argument)):
        return lambda request: [written(one) for one in every(request.document(), tokens)]
    read = reader(selector)

    def one(request: Request) -> list[bytes | None]:
        found = read(request)
        return [found] if found else []

    return one


class HeadToken:
    """The same where the head shows it, so that it is judged at the door."""

    name: Final = RuleName.SIGNATURE

    def __init__(self, token: PlacedToken) -> None:
        self._token = token

    def check(self, head: Head) -> Verdict:
        """Judges the head as a request without a body."""
        return self._token.check(Request(head, b""))
