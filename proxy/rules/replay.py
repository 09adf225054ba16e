"""The replay rule: reserve a claim before forwarding, confirm it on a 2xx, release it otherwise, before any failure answer.

A repeat of a delivered request is answered for the sender to stop; a repeat of one still in flight waits for its end.
"""

import hashlib
from collections.abc import Callable
from typing import Final, NamedTuple

from proxy.errors import StoreError
from proxy.messages import NOT_JSON, Request
from proxy.policy.model import ReplayRule
from proxy.policy.values import SelectorKind
from proxy.rules.base import answer_of
from proxy.rules.keys import Read, ambiguity, finder, pointer, written
from proxy.store.base import Claimed, Store
from proxy.verdict import Fail, Reason, RuleName


class Reserved(NamedTuple):
    """The claim is ours: settle it. An empty ``key`` means there is nothing to settle."""

    key: bytes
    in_doubt: bool = False


UNCHECKED: Final = Reserved(b"")
_NEW: Final = Claimed.NEW
_MOST: Final = 1 << 63

ANY_BODY: Final = bytes(16)
"""Stands for the body where a repeat may have another one."""


class Replay:
    """``scope`` keeps the keys of different routes apart; ``failed`` is told each store operation that failed.

    ``read``, ``otherwise`` and ``per`` read what the settings of the same names say, ``read`` the key.
    """

    name: Final = RuleName.REPLAY

    def __init__(
        self,
        settings: ReplayRule,
        read: Read,
        scope: str,
        store: Store,
        failed: Callable[[str], None],
        *,
        otherwise: Read | None = None,
        per: Read | None = None,
    ) -> None:
        answer = answer_of(settings)
        self._read = read
        self._otherwise = otherwise
        self._per = per
        self._tokens = pointer(settings.key.argument) if settings.key.kind is SelectorKind.JSON else ()
        self._find = finder(self._tokens)
        self._ambiguous = ambiguity(self._tokens)
        self._whole_numbers = settings.type == "integer"
        self._scope = scope.encode() + b"\0"
        self._store = store
        self._failed = failed
        self._window = settings.window
        self._refuse = settings.on_store_error == "refuse"
        self._drop = settings.in_doubt == "drop"
        self._any_body = settings.on_conflict == "duplicate"
        self._not_json = Fail(Reason.PAYLOAD_NOT_JSON, answer)
        self._keyless = Fail(Reason.REPLAY_KEY_MISSING, answer)
        self._duplicate = Fail(Reason.REPLAY_DUPLICATE)
        self._dropped = Fail(Reason.REPLAY_DUPLICATE, in_doubt=True)
        self._in_flight = Fail(Reason.REPLAY_IN_FLIGHT, retry_after=1)
        self._conflict = Fail(Reason.REPLAY_CONFLICT, answer)
        self._unreachable = Fail(Reason.STORE_UNREACHABLE, retry_after=5)

    def key(self, request: Request) -> bytes | Fail:
        """What names this delivery in the store: the scope and the value, hashed where it is long."""
        value = self._json(request) if self._tokens else self._read(request)
        if self._otherwise is not None and (not value or value is self._not_json):
            found = self._otherwise(request)
            value = b"~" + found if found else None
        if isinstance(value, Fail):
            return value
        return self._named(value, request) if value else self._keyless

    def _named(self, value: bytes, request: Request) -> bytes:
        if self._per is not None:
            apart = self._per(request) or b""
            value = b"%d:%b%b" % (len(apart), apart, value)
        return self._scope + (value if len(value) <= 64 else hashlib.sha256(value).digest())

    def _json(self, request: Request) -> bytes | Fail | None:
        document = request.document()
        if document is NOT_JSON:
            return self._not_json
        # SECURITY: a doubled key must not choose what we count.
        if self._ambiguous(request.body):
            return self._keyless
        text = self._text(self._find(document))
        return self._keyless if text is None and self._whole_numbers else text

    def _text(self, value: object) -> bytes | None:
        """SECURITY: 1, "1", 1.0 and true must not become one key."""
        if type(value) is int and 0 <= value < _MOST:
            return b"%d" % value
        if self._whole_numbers:
            return None
        text = written(value)
        return b'"' + text if text and type(value) is str else text

    async def claim(self, request: Request) -> Reserved | Fail:
        """Reserve, or say why not. Waits while the same request is on its way elsewhere."""
        key = self.key(request)
        if isinstance(key, Fail):
            return key
        try:
            claim = await self._store.claim(key, ANY_BODY if self._any_body else request.digest(), self._window)
        except StoreError:
            self._failed("claim")
            return self._unreachable if self._refuse else UNCHECKED
        if claim.state is _NEW:
            return tuple.__new__(Reserved, (key, False))
        match claim.state:
            case Claimed.DELIVERED:
                return self._duplicate
            case Claimed.CONFLICT:
                return self._conflict
            case Claimed.IN_DOUBT:
                if self._drop:
                    await self.settle(Reserved(key), delivered=True)
                    return self._dropped
                return Reserved(key, in_doubt=True)
            case Claimed.IN_FLIGHT:
                delivered = claim.end is not None and await claim.end
                return self._duplicate if delivered else self._in_flight

    async def settle(self, reserved: Reserved, *, delivered: bool) -> None:
        """Tell the store how it ended. Never raises: a claim that cannot be settled stays with its owner, in doubt."""
        if not reserved.key:
            return
        try:
            await (self._store.confirm(reserved.key) if delivered else self._store.release(reserved.key))
        except StoreError:
            self._failed("confirm" if delivered else "release")
