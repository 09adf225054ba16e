"""One request, top to bottom: walls, route, door, body, desk, permit, bot, settle, answer, observe.

Everything it needs comes in one ``Serving``, taken once at the start: a request ends with the policy it began with.
"""

import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Final, NamedTuple

from proxy.edge.answers import own_answer, said_answer
from proxy.edge.budget import UNLIMITED, Budget
from proxy.edge.framing import HeadReader
from proxy.edge.intake import Intake
from proxy.edge.recurring import Recalled
from proxy.edge.reply import reply_bytes
from proxy.edge.site import Journey
from proxy.edge.story import Story, exchange_of
from proxy.errors import UpstreamError
from proxy.exchange import Exchange
from proxy.messages import Head, Reply, Request
from proxy.networks import NetworkSet
from proxy.parser import RawRequest
from proxy.pipeline.build import Routes
from proxy.pipeline.gate import Gate, Judgement, Permit, refusal_of
from proxy.verdict import CLOSES, Fail, Reason, Refusal

_log = logging.getLogger("hookgate.handler")

Inquire = Callable[[Judgement, Exchange], None]

_BODILESS: Final = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})


class Serving(NamedTuple):
    """What one policy serves with; replaced whole by a reload."""

    routes: Routes
    heads: HeadReader
    trusted: NetworkSet
    forward: Callable[[Permit], Awaitable[Reply]]
    answers: Mapping[str, Mapping[int, int]]
    """For each route the bot's statuses that its sender must not see, and what it sees instead."""
    budget: Budget = UNLIMITED


class Handler:
    """Makes the journeys of all requests."""

    def __init__(self, serving: Serving, observe: Callable[[Exchange], None], inquire: Inquire | None = None) -> None:
        """``inquire`` takes the exchanges with findings: it may pass them on to ``observe`` later."""
        self.serving = serving
        self._observe = observe
        self._inquire = inquire or (lambda judgement, exchange: observe(exchange))
        self._prefix = os.urandom(4).hex().encode()
        self._count = count(1)
        self.in_flight = 0

    def request_id(self) -> bytes:
        """16 characters, unique to this process and most likely beyond it."""
        return b"%b%08x" % (self._prefix, next(self._count) & 0xFFFFFFFF)

    def wall(self, line: Intake, reason: Reason) -> None:
        """Answer and count what never became a request."""
        story = Story(self.request_id())
        self._refuse(line, story, refusal_of(Fail(reason)))
        self._tell(line, story)

    def recall(self, line: Intake, data: bytes) -> Journey | None:
        """The journey of a request whose head is known already; ``None`` where the parser has to read it."""
        found = self.serving.heads.recurring.recall(line.key, data)
        return None if found is None else self.travel(line, None, found)

    async def travel(self, line: Intake, message: RawRequest | None, recalled: Recalled | None = None) -> None:
        """The journey of one request. Ends with exactly one answer and one exchange."""
        story = Story(self.request_id())
        serving = self.serving
        self.in_flight += 1
        try:
            body = None
            if recalled is not None:
                body = recalled.body
                head: Head | Reason = serving.heads.again(recalled, line.wire, story.arrived, story.started, story.request_id)
            else:
                assert message is not None  # noqa: S101 - either is given
                head = serving.heads.read(message, line.wire, story.arrived, story.started, story.request_id)
            permit = await self._permit(line, head, body, story, serving)
            if permit is not None:
                await self._forward(line, story, permit, serving)
        except Exception:
            _log.exception("a request could not be handled")
            self._refuse(line, story, refusal_of(Fail(Reason.RULE_BROKE)))
        finally:
            self.in_flight -= 1
        self._tell(line, story)

    async def _permit(
        self, line: Intake, head: Head | Reason, body: bytes | Reason | None, story: Story, serving: Serving
    ) -> Permit | None:
        """All until the permit; ``None`` where the request has been answered instead."""
        if isinstance(head, Reason):
            self._refuse(line, story, refusal_of(Fail(head)))
            return None
        story.head = head
        story.request_id = head.request_id
        gate = serving.routes.gates.get(head.path)
        gate = gate.gate_of(head) if gate is not None and gate.waives else gate
        if gate is None or (head.query is not None and not gate.query):
            unknown = refusal_of(Fail(Reason.UNKNOWN_ROUTE))
            self._refuse(line, story, serving.budget.spend(head, None, None, unknown))
            return None
        story.route = gate
        wall = _route_wall(head, gate)
        if wall is not None:
            refusal = serving.budget.spend(head, gate, None, refusal_of(Fail(wall)))
            self._refuse(line, story, refusal, allow=", ".join(sorted(gate.methods)).encode())
            return None
        story.judgement = judgement = gate.open()
        budget = serving.budget
        stopped = await gate.asking_door(head, judgement) if gate.asks else gate.door(head, judgement)
        stopped = stopped or (budget.hopeless(head, gate, judgement) if budget.spent else None)
        if stopped is not None:
            self._refuse(line, story, budget.spend(head, gate, judgement, stopped))
            return None
        if body is None:
            body = await self._body(line, story, head, gate.body_limit(judgement))
        elif len(body) > gate.body_limit(judgement):
            body = Reason.BODY_TOO_LARGE
        if isinstance(body, Reason):
            self._refuse(line, story, gate.oversize(judgement) if body is Reason.BODY_TOO_LARGE else refusal_of(Fail(body)))
            return None
        story.size = len(body)
        permit = await gate.desk(Request(head, body, line), judgement)
        if isinstance(permit, Refusal):
            self._refuse(line, story, serving.budget.spend(head, gate, judgement, permit))
            return None
        if line.raw is not None:
            self._remember(line, line.raw, head, serving)
        return permit

    def _remember(self, line: Intake, raw: bytes, head: Head, serving: Serving) -> None:
        if not line.closing:
            line.at_boundary = serving.heads.recurring.remember(line.key, raw, head)

    async def _body(self, line: Intake, story: Story, head: Head, limit: int) -> bytes | Reason:
        body = line.take(limit)
        if body is None:
            before = time.monotonic()
            body = await line.whole(limit, head)
            story.waited = time.monotonic() - before
        return body

    async def _forward(self, line: Intake, story: Story, permit: Permit, serving: Serving) -> None:
        gate = story.route
        assert gate is not None  # noqa: S101 - it made the permit
        story.permit = permit
        before = time.monotonic()
        try:
            try:
                reply = await serving.forward(permit)
            finally:
                story.upstream = time.monotonic() - before
            delivered = 200 <= reply.status < 300
        except UpstreamError as error:
            # SECURITY: the claim goes before the answer: the sender resends at once, and must not meet its own claim.
            await gate.settle(permit.reserved, delivered=False)
            self._refuse(line, story, refusal_of(Fail(error.reason, retry_after=error.retry_after)))
            return
        except BaseException:
            await gate.settle(permit.reserved, delivered=False)
            raise
        if permit.reserved.key:
            await gate.settle(permit.reserved, delivered=delivered)
        self._answer(line, story, permit, reply, serving.answers.get(gate.name))

    def _answer(self, line: Intake, story: Story, permit: Permit, reply: Reply, answers: Mapping[int, int] | None) -> None:
        mapped = answers.get(reply.status) if answers else None
        if mapped is not None:
            if reply.rest is not None:
                reply.rest.abort()
            story.status = mapped
            wait = 5 if mapped in {429, 503} else 0
            bodyless = permit.request.head.method == "HEAD"
            data = own_answer(mapped, story.request_id, close=line.closing, retry_after=wait, bodyless=bodyless)
            line.answer(data, close=line.closing)
            return
        head = permit.request.head
        story.status = reply.status
        data, close = reply_bytes(reply, close=line.closing, bodyless=head.method == "HEAD", old=line.speaks_1_0)
        line.answer(data, close=close)
        if reply.rest is not None:
            line.stream(reply.rest, framed=reply.length is None and not line.speaks_1_0)

    def _refuse(self, line: Intake, story: Story, refusal: Refusal, allow: bytes = b"") -> None:
        story.reason = refusal.reason
        story.status = refusal.status
        close = refusal.reason in CLOSES or line.closing or line.unread
        if refusal.said is not None:
            line.answer(said_answer(refusal.status, refusal.said, story.request_id, close=close), close=close)
            return
        bodyless = story.head is not None and story.head.method == "HEAD"
        line.answer(
            own_answer(
                refusal.status,
                story.request_id,
                close=close,
                retry_after=refusal.retry_after,
                allow=allow if refusal.reason is Reason.METHOD_NOT_ALLOWED else b"",
                bodyless=bodyless,
            ),
            close=close,
        )

    def _tell(self, line: Intake, story: Story) -> None:
        """SECURITY: an observer that breaks is logged, never felt by a request."""
        try:
            exchange = exchange_of(line, story)
            if exchange.findings and story.judgement is not None:
                self._inquire(story.judgement, exchange)
            else:
                self._observe(exchange)
        except Exception:
            _log.exception("an observer broke")


def _route_wall(head: Head, gate: Gate) -> Reason | None:
    if head.method not in gate.methods:
        return Reason.METHOD_NOT_ALLOWED
    if head.length is None and not head.chunked and head.method not in _BODILESS:
        return Reason.LENGTH_REQUIRED
    return None
