"""A pool for routes whose policy says ``retry: stale-connection``: where a kept connection broke before any byte of an answer
came, the request is sent once more, on a fresh one. The bot may have seen the first, so the second says so and is counted.
"""

import time
from collections.abc import Awaitable, Callable

from proxy.errors import UpstreamError
from proxy.messages import Reply
from proxy.pipeline.gate import Permit
from proxy.policy.model import UpstreamSettings
from proxy.upstream.pool import Pool
from proxy.verdict import Reason


class SecondTry(Pool):
    """``resent`` is told the route of each request that is sent again."""

    def __init__(self, settings: UpstreamSettings, answer_buffer: int, resent: Callable[[str], None]) -> None:
        super().__init__(settings, answer_buffer)
        self._resent = resent

    def forward(self, permit: Permit) -> Awaitable[Reply]:
        """As the pool does, and once more where the policy allows it."""
        return self._forward(permit, time.monotonic())

    async def _forward(self, permit: Permit, now: float) -> Reply:
        self._wake()
        deadline, sender = now + self._settings.turn, permit.request.sender
        kept = None if self._promised else self._reuse(now)
        kept = kept or await self._turn(deadline, sender)
        if kept is not None:
            try:
                return await self._send(kept, permit, time.monotonic() + self._first_byte)
            except UpstreamError as error:
                # What breaks late was not stale, and both tries together must not take longer than one may.
                if error.reason is not Reason.UPSTREAM_UNREACHABLE or time.monotonic() > deadline:
                    raise
            permit = permit._replace(reserved=permit.reserved._replace(in_doubt=True))
            self._resent(permit.route)
            kept = await self._turn(deadline, sender)
            if kept is not None:
                kept.transport.abort()  # most likely as stale as the first
        connection = await self._connect()
        return await self._send(connection, permit, time.monotonic() + self._first_byte)
