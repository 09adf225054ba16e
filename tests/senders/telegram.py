"""Telegram as a sender of updates: queues per chat in order, its pace of trying again, its expiries, its reading of answers.

Told from its public server (https://github.com/tdlib/telegram-bot-api, WebhookActor.cpp). Time is compressed: ``second`` is how
long one of Telegram's seconds takes here.
"""

import asyncio
import json
import random
from collections import Counter, deque
from typing import NamedTuple

from tests.senders.answers import Answer, Unreadable, read_answer

_LIFE = {"inline_query": 30, "callback_query": 150, "shipping_query": 150, "pre_checkout_query": 150, "chosen_inline_result": 600}
_LIFE_OF_OTHERS = 24 * 3600
_GONE_SECONDS = 23 * 3600
"""So long nothing but 410, and the webhook is deleted."""
_ANSWER_SECONDS = 60
_LIMIT = 512 * 1024
_LAST_FIELDS = b"Connection: keep-alive\r\nAccept-Encoding: gzip, deflate\r\n"


class Update(NamedTuple):
    """One thing that happened."""

    number: int
    """Its ``update_id``."""
    queue: int
    """The chat (or user, or poll) within which order holds."""
    kind: str
    content: dict[str, object]
    date: float
    """In Telegram's seconds."""

    def body(self) -> bytes:
        """As it stands on the wire: a line feed behind the comma, nothing but ASCII."""
        content = json.dumps(self.content, separators=(",", ":"), ensure_ascii=True)
        return b'{"update_id":%d,\n"%b":%b}' % (self.number, self.kind.encode(), content.encode())

    @property
    def expires(self) -> float:
        """When trying again ends."""
        return self.date + _LIFE.get(self.kind, _LIFE_OF_OTHERS)


class _Pending:
    """An update on its way."""

    def __init__(self, update: Update, patience: float) -> None:
        self.update = update
        self.delay = 0.0
        self.patience = patience
        """The longest pause between two tries."""


class Telegram:
    """Sends to one webhook. Everything it believes is in its lists; ``failures`` counts what it was told, by status or word."""

    def __init__(
        self,
        port: int,
        path: str = "/telegram",
        secret: str = "",
        *,
        second: float = 1.0,
        connections: int = 40,
        seed: int = 0,
        patience: float = _ANSWER_SECONDS,
    ) -> None:
        self.port = port
        self.second = second
        self.delivered: list[int] = []
        self.expired: list[int] = []
        self.executed: list[tuple[str, dict[str, object]]] = []
        """What bots have had done by their answers."""
        self.attempts: Counter[int] = Counter()
        self.failures: Counter[str] = Counter()
        self.failed: Counter[tuple[int, str]] = Counter()
        """By update, what was heard of it."""
        self.deleted = False
        """The webhook is gone: too many 410."""
        self.opened = 0
        """Connections."""
        self._patience = patience
        self._random = random.Random(seed)  # noqa: S311 - a test's
        self._head = f"POST {path} HTTP/1.1\r\nHost: bot.example.com\r\n".encode()
        if secret:
            self._head += f"X-Telegram-Bot-Api-Secret-Token: {secret}\r\n".encode()
        self._queues: dict[int, deque[_Pending]] = {}
        self._ready: asyncio.Queue[int] = asyncio.Queue()
        self._left = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self._gone_since: float | None = None
        self._last_success = 0.0
        self._may_open = asyncio.Lock()
        self._writers: set[asyncio.StreamWriter] = set()
        self._openings: deque[float] = deque(maxlen=10)
        self._began = asyncio.get_running_loop().time()
        self._senders = [asyncio.create_task(self._send_ready()) for _ in range(connections)]

    def now(self) -> float:
        """Telegram's seconds since it began."""
        return (asyncio.get_running_loop().time() - self._began) / self.second

    def put(self, update: Update) -> None:
        """Something has happened."""
        assert len(update.body()) <= _LIMIT + 40, "such an update never enters a queue"
        queue = self._queues.setdefault(update.queue, deque())
        queue.append(_Pending(update, self._random.uniform(60, 120)))
        self._left += 1
        self._empty.clear()
        if len(queue) == 1:
            self._ready.put_nowait(update.queue)

    @property
    def pending(self) -> int:
        """Updates that are neither delivered nor dropped."""
        return self._left

    async def empty(self, seconds: float) -> None:
        """Wait (real seconds at most) until nothing is pending."""
        async with asyncio.timeout(seconds):
            await self._empty.wait()

    async def close(self) -> None:
        """Stop sending."""
        for sender in self._senders:
            sender.cancel()
        await asyncio.gather(*self._senders, return_exceptions=True)
        for writer in list(self._writers):
            self._drop(writer)
        await asyncio.sleep(0)

    # -- one connection

    async def _send_ready(self) -> None:
        line: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while not self.deleted:
            name = await self._ready.get()
            pending = self._queues[name][0]
            line = await self._try(name, pending, line)

    async def _try(
        self, name: int, pending: _Pending, line: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """Send an update once; gives the connection where it can be used again."""
        number = pending.update.number
        answer, heard = None, ""
        try:
            if line is not None and line[0].at_eof():
                self._drop(line[1])
                line = None
            line = line or await self._open()
            self.attempts[number] += 1
            line[1].write(self.request(pending.update))
            async with asyncio.timeout(self._patience * self.second):
                answer = await read_answer(line[0])
        except TimeoutError:
            heard = "slow"
        except Unreadable:
            heard = "unreadable"
        except (OSError, EOFError):
            heard = "closed"
        self._judge(name, pending, answer, heard)
        if line is not None and (answer is None or not answer.reusable):
            self._drop(line[1])
            line = None
        return line

    def _drop(self, writer: asyncio.StreamWriter) -> None:
        self._writers.discard(writer)
        writer.transport.abort()

    def request(self, update: Update) -> bytes:
        """The whole request, its fields in Telegram's order."""
        body = update.body()
        return b"%bContent-Type: application/json\r\nContent-Length: %d\r\n%b\r\n%b" % (self._head, len(body), _LAST_FIELDS, body)

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Openings are rare while nothing succeeds: one in two seconds, else ten in half a second."""
        async with self._may_open:
            healthy = self.now() - self._last_success <= 10
            count, span = (10, 0.5) if healthy else (1, 2.0)
            if len(self._openings) >= count and (wait := self._openings[-count] + span - self.now()) > 0:
                await asyncio.sleep(wait * self.second)
            self._openings.append(self.now())
        self.opened += 1
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 18)
        self._writers.add(writer)
        return reader, writer

    # -- what an answer means

    def _judge(self, name: int, pending: _Pending, answer: Answer | None, heard: str) -> None:
        number = pending.update.number
        if answer is not None and answer.delivered:
            self._last_success = self.now()
            self._gone_since = None
            call = answer.call()
            if call is not None:
                self.executed.append(call)
            self.delivered.append(number)
            self._next(name)
            return
        heard = heard or str(answer.status if answer else 0)
        self.failures[heard] += 1
        self.failed[number, heard] += 1
        self._watch_for_gone(answer)
        delay = float(answer.retry_after if answer else 0) or pending.delay
        pending.delay = min(max(pending.delay, 1.0) * 2, pending.patience)
        if self.now() + delay > pending.update.expires:
            self.expired.append(number)
            self._next(name)
        elif delay:
            asyncio.get_running_loop().call_later(delay * self.second, self._ready.put_nowait, name)
        else:
            self._ready.put_nowait(name)

    def _watch_for_gone(self, answer: Answer | None) -> None:
        if answer is None:
            return
        if answer.status != 410:
            self._gone_since = None
        elif self._gone_since is None:
            self._gone_since = self.now()
        elif self.now() - self._gone_since > _GONE_SECONDS:
            self.deleted = True

    def _next(self, name: int) -> None:
        queue = self._queues[name]
        queue.popleft()
        self._left -= 1
        if queue:
            self._ready.put_nowait(name)
        else:
            del self._queues[name]
        if not self._left:
            self._empty.set()


def message(number: int, chat: int, date: float = 0.0, text: str = "caf\u00e9 \U0001f916") -> Update:
    """An ordinary message in a chat."""
    content: dict[str, object] = {
        "message_id": number,
        "date": 1_700_000_000,
        "chat": {"id": chat, "type": "private"},
        "text": text,
    }
    return Update(number, chat, "message", content, date)
