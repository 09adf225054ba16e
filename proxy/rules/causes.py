"""Why a signature did not match: the one change that would have made it right, found by asking the signature rule itself.

The rule judges the request changed in one way, or is made anew with other secrets or another encoding: no scheme is known here.
SECURITY: a search does the same work whether or not it finds something, so that its length tells nothing; nothing of it is told
to the caller.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple, Protocol

from proxy.messages import Head, Request
from proxy.policy.schemes import Signature
from proxy.policy.secrets import Secret
from proxy.policy.values import Selector, SelectorKind
from proxy.rules.rewritings import rewritten
from proxy.verdict import Cause, Pass, Reason, Verdict

Subject = Head | Request


class Judge(Protocol):
    """A signature rule: of the head, or of head and body."""

    def check(self, subject: Subject, /) -> Verdict:
        """Judge."""


Make = Callable[[Signature, Sequence[Secret]], Judge]

BODY_BYTES: Final = 256 * 1024
"""Larger bodies are not looked into."""
_STAMPED_BYTES: Final = 4096
"""With larger bodies other times are not tried: there are hundreds."""
_OLDER: Final = 300
_NEWER: Final = 30
"""Seconds by which another time is tried."""
_FIELD_BYTES: Final = 4096
"""What may stand in another header than it should: a token of some length at most."""
_SECRETS: Final = 64
"""Other routes' secrets that are tried."""
_AT_ONCE: Final = 8
"""So many of them in one step: where they are public keys, each costs as much as a hundred HMACs."""

_WRITTEN: Final[Mapping[str, tuple[tuple[Cause, str], ...]]] = {
    "hex": (
        (Cause.HEX_CASE, "hex-any-case"),
        (Cause.BASE64_FOR_HEX, "base64"),
        (Cause.BASE64_FOR_HEX, "base64url"),
    ),
    "hex-any-case": ((Cause.BASE64_FOR_HEX, "base64"), (Cause.BASE64_FOR_HEX, "base64url")),
    "base64": ((Cause.HEX_FOR_BASE64, "hex-any-case"),),
    "base64url": ((Cause.HEX_FOR_BASE64, "hex-any-case"),),
}


class Around(NamedTuple):
    """What a route's search knows besides its signature rule."""

    secrets: Sequence[Secret]
    former: Sequence[Secret]
    """Those that a reload took away."""
    others: Sequence[Secret]
    """Those of other routes."""
    stamp: Selector | None
    """Where the timestamp stands."""


class Causes:
    """Searches for one route. What it needs is made when it is first asked."""

    def __init__(self, settings: Signature, around: Around, make: Make) -> None:
        self._settings = settings
        self._around = around
        self._make = make
        self._judges: dict[object, Judge | None] = {}

    def search(self, subject: Subject, reason: Reason) -> Iterator[Cause | None]:
        """Step by step: each step is a bounded piece of work, and gives what it has found."""
        if reason is not Reason.SIGNATURE_MISSING:
            yield from self._by_secrets(subject)
            yield from self._by_encoding(subject)
            if isinstance(subject, Request) and self._settings.depends_on_body:
                yield from self._by_body(subject)
        yield from self._by_header(subject)
        if reason is Reason.SIGNATURE_MISMATCH:
            yield from self._by_time(subject)

    def _by_secrets(self, subject: Subject) -> Iterator[Cause | None]:
        head = subject.head if isinstance(subject, Request) else subject
        settings, around = self._settings, self._around
        names = settings.value_names()
        idle = [one for one in around.secrets if not one.active(head.arrived)]
        # Not kept: which secrets are idle changes with time and by revocation.
        judge = self._made([_timeless(one, names) for one in (*idle, *around.former)], settings)
        yield Cause.PREVIOUS_SECRET if _right(judge, subject) else None
        judge = self._judge("white", lambda: [white for one in around.secrets for white in _whitespace(one, names)], settings)
        yield Cause.SECRET_WHITESPACE if _right(judge, subject) else None
        for at in range(0, min(len(around.others), _SECRETS), _AT_ONCE):
            few = around.others[at : at + _AT_ONCE]
            judge = self._judge(f"others {at}", partial(list, (_timeless(one, names) for one in few)), settings)
            yield Cause.OTHER_ROUTE_SECRET if _right(judge, subject) else None

    def _by_encoding(self, subject: Subject) -> Iterator[Cause | None]:
        for cause, encoding in _WRITTEN.get(getattr(self._settings, "encoding", ""), ()):
            other = self._settings.model_copy(update={"encoding": encoding})
            judge = self._judge(encoding, lambda: self._around.secrets, other)
            yield cause if _right(judge, subject) else None

    def _by_body(self, request: Request) -> Iterator[Cause | None]:
        judge = self._own()
        for cause, body in rewritten(request.body):
            yield cause if _right(judge, Request(request.head, body)) else None

    def _by_time(self, subject: Subject) -> Iterator[Cause | None]:
        """Signed with another time than the one that stands there: some seconds older or newer, or the one of Date."""
        judge, stand = self._own(), self._around.stamp
        header = _header_of(stand, self._settings)
        if header is None or not isinstance(subject, Request) or len(subject.body) > _STAMPED_BYTES:
            return
        head = subject.head
        given = head.named.get(header, b"")
        for old, new in _stamps(given, stand):
            found = _right(judge, Request(_with(head, header, given.replace(old, new, 1)), subject.body))
            yield Cause.STALE_TIMESTAMP if found else None

    def _by_header(self, subject: Subject) -> Iterator[Cause | None]:
        judge, written = self._own(), getattr(self._settings, "header", None)
        if not written:
            return
        header = written.lower().encode()
        prefix = getattr(self._settings, "prefix", "").encode()
        head = subject.head if isinstance(subject, Request) else subject
        for name, (_, value) in zip(head.names, head.fields, strict=True):
            if name == header or len(value) > _FIELD_BYTES:
                continue
            right = False
            for candidate in {value, prefix + value, prefix + value.partition(b"=")[2], prefix + value[len(prefix) :]}:
                moved = _with(head, header, candidate)
                right |= _right(judge, Request(moved, subject.body) if isinstance(subject, Request) else moved)
            yield Cause.WRONG_HEADER if right else None

    def _own(self) -> Judge | None:
        return self._judge("own", lambda: self._around.secrets, self._settings)

    def _judge(self, name: str, secrets: Callable[[], Sequence[Secret]], settings: Signature) -> Judge | None:
        if name not in self._judges:
            self._judges[name] = self._made(secrets(), settings)
        return self._judges[name]

    def _made(self, secrets: Sequence[Secret], settings: Signature) -> Judge | None:
        """The rule with other secrets; those that cannot be its keys are left out."""
        usable = [one for one in secrets if _usable(one, settings)]
        return self._make(settings, usable) if usable else None


def _right(judge: Judge | None, subject: Subject) -> bool:
    if judge is None:
        return False
    try:
        verdict = judge.check(subject)
    except Exception:  # a stranger's request, changed: whatever it breaks, it is not right
        return False
    return isinstance(verdict, Pass) and bool(verdict.secret)


def _usable(secret: Secret, settings: Signature) -> bool:
    names = settings.value_names()
    if names:
        held = {name: secret.reveal(name) for name in names if secret.has(name)}
        whole = all(name in held for name in names if name not in settings.OPTIONAL_VALUES)
        return bool(held) and whole and settings.values_fault(held) is None
    value = secret.reveal()
    return bool(value) and settings.key_fault(value) is None


def _timeless(secret: Secret, names: Sequence[str]) -> Secret:
    return _changed(secret, names, lambda value: value)


def _whitespace(secret: Secret, names: Sequence[str]) -> Iterator[Secret]:
    """The secret as it would be without white space around it, and with what is pasted along most often."""
    for change in (bytes.strip, lambda value: value + b"\n", lambda value: value + b"\r\n", lambda value: value + b" "):
        other = _changed(secret, names, change)
        if any(other.reveal(name) != secret.reveal(name) for name in ("", *names) if not name or secret.has(name)):
            yield other


def _changed(secret: Secret, names: Sequence[str], change: Callable[[bytes], bytes]) -> Secret:
    values = {name: change(secret.reveal(name)) for name in names if secret.has(name)}
    return Secret(secret.id, change(secret.reveal()), values=values)


def _with(head: Head, name: bytes, value: bytes) -> Head:
    """The head as if this field stood in it once, with this value."""
    return head._replace(named={**head.named, name: value}, repeated=head.repeated - {name})


def _header_of(stand: Selector | None, settings: Signature) -> bytes | None:
    """The header in which the timestamp stands, as its value or as an item of the signature's list."""
    if stand is None:
        return None
    if stand.kind is SelectorKind.HEADER:
        return stand.argument.lower().encode()
    written = getattr(settings, "header", None)
    return written.lower().encode() if stand.kind is SelectorKind.LIST and written else None


def _stamps(given: bytes, stand: Selector | None) -> Iterator[tuple[bytes, bytes]]:
    """The time's text as it stands in ``given``, and what it may have been."""
    syntax = stand is not None and stand.kind is SelectorKind.LIST
    text = given.partition(stand.argument.encode() + b"=")[2] if syntax and stand else given
    digits = text[: len(text) - len(text.lstrip(b"0123456789"))]
    if not 9 <= len(digits) <= 13:
        return
    if len(digits) > 11:  # milliseconds: too many to try; some senders sign whole seconds
        yield digits, digits[:-3]
        yield digits, digits[:-3] + b"000"
        return
    now = int(digits)
    yield digits, digits + b"000"
    for other in (*range(now - 1, now - _OLDER - 1, -1), *range(now + 1, now + _NEWER + 1)):
        yield digits, b"%d" % other
