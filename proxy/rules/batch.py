"""The replay rule for senders that put several events into one request: each event has a claim of its own.

A request of which every event was delivered is a repeat; one with a new event among them is forwarded whole: a gate cannot
take a request apart without changing its bytes.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from typing import Final

from proxy.errors import StoreError
from proxy.messages import NOT_JSON, Request
from proxy.policy.model import ReplayRule
from proxy.rules.keys import Read, every
from proxy.rules.replay import ANY_BODY, UNCHECKED, Replay, Reserved
from proxy.store.base import Claim, Claimed, Store
from proxy.verdict import Fail

MOST_EVENTS: Final = 200
"""Claims that one request may make; a larger one is known by what ``otherwise`` names, or refused for want of a key."""

_OURS: Final = frozenset({Claimed.NEW, Claimed.IN_DOUBT})


class Batch(Replay):
    """``json:/events/*/id``: ``*`` stands for each element of a list."""

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
        super().__init__(settings, read, scope, store, failed, otherwise=otherwise, per=per)
        self._numbers = count(1)
        self._batches: dict[bytes, list[bytes]] = {}
        """The keys of each request that is on its way."""

    async def claim(self, request: Request) -> Reserved | Fail:
        """Reserve all events, or say why not. Holds none while it waits for another request's end."""
        keys = self._keys(request)
        if isinstance(keys, Fail):
            return keys
        try:
            claims = await self._claims(keys)
        except StoreError:
            self._failed("claim")
            return self._unreachable if self._refuse else UNCHECKED
        ours = [key for key, claim in claims.items() if claim.state in _OURS]
        in_doubt = any(claim.state is Claimed.IN_DOUBT for claim in claims.values())
        if any(claim.state is Claimed.IN_FLIGHT for claim in claims.values()):
            return await self._overtaken(ours, claims)
        if not ours:
            return self._duplicate
        reserved = self._held(ours, in_doubt=in_doubt)
        if in_doubt and self._drop:
            await self.settle(reserved, delivered=True)
            return self._dropped
        return reserved

    def _keys(self, request: Request) -> list[bytes] | Fail:
        document = request.document()
        if document is NOT_JSON and self._otherwise is None:
            return self._not_json
        values = [] if document is NOT_JSON else every(document, self._tokens)
        texts = list(dict.fromkeys(map(self._text, values)))
        # SECURITY: an event without an id, or with two, must not hide behind those that have one.
        if not texts or None in texts or len(texts) > MOST_EVENTS or self._ambiguous(request.body):
            found = self._otherwise(request) if self._otherwise is not None else None
            return [self._named(b"~" + found, request)] if found else self._keyless
        return [self._named(text, request) for text in texts if text is not None]

    async def _claims(self, keys: list[bytes]) -> dict[bytes, Claim]:
        """All claims in one turn; what was reserved before one of them failed is released."""

        async def one(key: bytes) -> Claim:
            return await self._store.claim(key, ANY_BODY, self._window)

        found = await asyncio.gather(*map(one, keys), return_exceptions=True)
        claims = {key: claim for key, claim in zip(keys, found, strict=True) if isinstance(claim, Claim)}
        if len(claims) < len(keys):
            await self._release((key for key, claim in claims.items() if claim.state in _OURS), claims)
            raise StoreError("not every claim was answered")
        return claims

    async def _overtaken(self, ours: list[bytes], claims: Mapping[bytes, Claim]) -> Fail:
        await self._release(ours, claims)
        ends = [claim.end for claim in claims.values() if claim.state is Claimed.IN_FLIGHT]
        delivered = [end is not None and await end for end in ends]
        return self._duplicate if all(delivered) and not ours else self._in_flight

    def _held(self, keys: list[bytes], *, in_doubt: bool) -> Reserved:
        reserved = Reserved(b"batch %d" % next(self._numbers), in_doubt)
        self._batches[reserved.key] = keys
        return reserved

    async def _release(self, keys: Iterable[bytes], claims: Mapping[bytes, Claim]) -> None:
        """Give back what was reserved; what is in doubt and to be dropped must not become new by that."""
        for key in keys:
            await super().settle(Reserved(key), delivered=self._drop and claims[key].state is Claimed.IN_DOUBT)

    async def settle(self, reserved: Reserved, *, delivered: bool) -> None:
        """Tell the store how it ended, for each event that was ours."""
        settle = super().settle
        await asyncio.gather(*(settle(Reserved(key), delivered=delivered) for key in self._batches.pop(reserved.key, ())))
