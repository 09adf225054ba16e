"""The sender of the delivery proofs is itself as faithful as its sources: order, pace, expiry, and what an answer means to it."""

import asyncio
import contextlib
import itertools
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.gates import PATIENCE
from tests.senders.answers import Answer, Unreadable
from tests.senders.telegram import Telegram, Update, message
from tests.upstream.bots import OK, Script, ScriptedBot, Talk, always, scripted

SECRET = "a-secret-of-thirty-two-bytes-0123"  # noqa: S105 - of tests alone
BROKEN = b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n"


@contextlib.asynccontextmanager
async def sending(script: Script, **options: Any) -> AsyncIterator[tuple[Telegram, ScriptedBot]]:
    """A sender, and a bot at its webhook."""
    with scripted(script) as bot:
        sender = Telegram(bot.port, **options)
        try:
            yield sender, bot
        finally:
            await sender.close()


def numbers(bot: ScriptedBot) -> list[int]:
    """The updates that came, by connection."""
    return [json.loads(one.partition(b"\r\n\r\n")[2])["update_id"] for one in bot.requests]


async def test_on_the_wire() -> None:
    """Fields stand in Telegram's order, a line feed follows the first comma, and nothing but ASCII is sent."""
    async with sending(always(OK), secret=SECRET) as (sender, bot):
        sender.put(message(7, 1, text="caf\u00e9 \U0001f916"))
        await sender.empty(PATIENCE)
    body = (
        b'{"update_id":7,\n"message":{"message_id":7,"date":1700000000,"chat":{"id":1,"type":"private"},'
        b'"text":"caf\\u00e9 \\ud83e\\udd16"}}'
    )
    head = (
        "POST /telegram HTTP/1.1\r\nHost: bot.example.com\r\n"
        f"X-Telegram-Bot-Api-Secret-Token: {SECRET}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        "Connection: keep-alive\r\nAccept-Encoding: gzip, deflate\r\n\r\n"
    ).encode()
    assert bot.requests == [head + body]


async def test_order_within_a_chat() -> None:
    """However often tries fail, a chat's next update is sent when the one before it has succeeded, and not earlier."""
    lock, told = threading.Lock(), [0]

    def third(talk: Talk) -> None:
        while talk.request() is not None:
            with lock:
                told[0] += 1
                fails = told[0] % 3
            talk.send(BROKEN if fails else OK)

    async with sending(third, second=0.001, connections=4) as (sender, _):
        for number in range(60):
            sender.put(message(number, number % 6))
        await sender.empty(PATIENCE)
        for chat in range(6):
            assert [one for one in sender.delivered if one % 6 == chat] == list(range(chat, 60, 6))
        assert sum(sender.attempts.values()) == 60 + sender.failures["500"]


async def test_chats_in_parallel() -> None:
    """Different chats do not wait for each other, within the connections there are, which are kept."""
    together = threading.Barrier(3)

    def meet(talk: Talk) -> None:
        while talk.request() is not None:
            together.wait(PATIENCE)
            talk.send(OK)

    async with sending(meet, connections=3) as (sender, bot):
        for number in range(12):
            sender.put(message(number, number))
        await sender.empty(PATIENCE)
        assert len(bot.talks) == sender.opened == 3


async def test_the_pace_of_trying_again() -> None:
    """A first failure is followed at once, later ones after 2, 4, 8 seconds and so on, to a minute or two at most."""
    moments: list[float] = []

    def failing(talk: Talk) -> None:
        while talk.request() is not None:
            moments.append(time.monotonic())
            talk.send(BROKEN if len(moments) < 10 else OK)

    async with sending(failing, second=0.01) as (sender, _):
        sender.put(message(1, 1))
        await sender.empty(PATIENCE)
    gaps = [(after - before) / 0.01 for before, after in itertools.pairwise(moments)]
    for gap, least in zip(gaps, [0, 2, 4, 8, 16, 32, 60, 60, 60], strict=True):
        assert gap >= least * 0.99
    assert gaps[0] < 60


async def test_told_when_to_come_again() -> None:
    """Whole seconds of Retry-After are waited, on any failure."""
    moments: list[float] = []

    def busy(talk: Talk) -> None:
        while talk.request() is not None:
            moments.append(time.monotonic())
            later = b"HTTP/1.1 503 Busy\r\nRetry-After: 20\r\nContent-Length: 0\r\n\r\n"
            talk.send(later if len(moments) < 3 else OK)

    async with sending(busy, second=0.01) as (sender, _):
        sender.put(message(1, 1))
        await sender.empty(PATIENCE)
    assert moments[1] - moments[0] >= 0.198
    assert moments[2] - moments[1] >= 0.198


async def test_what_is_too_old_is_dropped() -> None:
    """An inline query lives 30 seconds, a message a day: when the former is dropped its chat goes on."""

    def picky(talk: Talk) -> None:
        while (came := talk.request()) is not None:
            talk.send(BROKEN if b"inline_query" in came else OK)

    async with sending(picky, second=0.01) as (sender, bot):
        sender.put(Update(1, 5, "inline_query", {"id": "1", "query": "x"}, 0.0))
        sender.put(message(2, 5))
        await sender.empty(PATIENCE)
        assert (sender.expired, sender.delivered) == ([1], [2])
        assert 2 <= sender.attempts[1] <= 5
        assert numbers(bot)[-1] == 2


async def test_gone_for_a_day() -> None:
    """When nothing but 410 comes for 23 hours the webhook is deleted; one other code in between and it is not."""
    gone = b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"
    began = time.monotonic()

    def once(talk: Talk) -> None:
        while talk.request() is not None:
            talk.send(gone if time.monotonic() - began < 0.3 else BROKEN)

    for script, deleted in ((always(gone), True), (once, False)):
        async with sending(script, second=1e-5, patience=1e6) as (sender, _):
            sender.put(message(1, 1, date=100_000.0))
            until = time.monotonic() + (PATIENCE if deleted else 1.5)
            while not sender.deleted and time.monotonic() < until and sender.pending:  # noqa: ASYNC110 - a bounded wait
                await asyncio.sleep(0.01)
            assert sender.deleted is deleted


def reset_once(talk: Talk) -> None:
    """Reset the first connection."""
    if talk.number == 1:
        talk.request()
        talk.reset()
    else:
        always(OK)(talk)


def silent_once(talk: Talk) -> None:
    """Say nothing on the first connection."""
    if talk.number == 1:
        talk.hold()
    else:
        always(OK)(talk)


def broken_once(answer: bytes) -> Script:
    """Say this on the first connection."""
    return lambda talk: always(answer if talk.number == 1 else OK)(talk)


@pytest.mark.parametrize(
    ("script", "heard"),
    [
        (reset_once, "closed"),
        (silent_once, "slow"),
        (broken_once(b"HELLO\r\n\r\n"), "unreadable"),
        (broken_once(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\nok"), "unreadable"),
        (broken_once(b"HTTP/1.1 302 Found\r\nLocation: /\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"), "302"),
    ],
    ids=["reset", "silent", "no HTTP", "no object", "redirect"],
)
async def test_what_fails_is_sent_again(script: Callable[[Talk], None], heard: str) -> None:
    """A connection that breaks, a minute of silence, an answer that is none, any code but 2xx: on a new connection, again."""
    async with sending(script, second=0.02, connections=1) as (sender, bot):
        sender.put(message(1, 1))
        await sender.empty(PATIENCE)
        assert sender.failures == {heard: 1}
        assert sender.delivered == [1]
        assert len(bot.talks) == 2


def answer(body: bytes, kind: str, status: int = 200, **fields: str) -> Answer:
    """An answer of this type."""
    return Answer(status, {"content-type": kind, **fields}, body, True)


PART = b'--x\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
JSON = "application/json"


@pytest.mark.parametrize("body", [b"ok", b"null", b"[]", b"true", b"1", b"{", b"\xff"])
def test_json_that_is_no_object(body: bytes) -> None:
    """A body labelled JSON must be an object: else the answer is broken, 200 or not."""
    with pytest.raises(Unreadable):
        answer(body, JSON).check()
    with pytest.raises(Unreadable):
        answer(body, JSON + "; charset=utf-8", 500).check()
    answer(body, "text/plain").check()


@pytest.mark.parametrize("body", [b"", b"{}", b'"text"', b'{"ok":true}'])
def test_json_that_is_fine(body: bytes) -> None:
    """An empty body, an object and a text are no failure, and nothing is executed."""
    answer(body, JSON).check()
    assert answer(body, JSON).call() is None


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"method":"sendMessage","chat_id":"5"}', JSON),
        (b"method=sendMessage&chat_id=5", "application/x-www-form-urlencoded"),
        (PART % (b"method", b"sendMessage") + PART % (b"chat_id", b"5") + b"--x--\r\n", "multipart/form-data; boundary=x"),
    ],
    ids=["json", "form", "multipart"],
)
def test_a_method_in_the_answer_is_executed(body: bytes, kind: str) -> None:
    """A 2xx whose body names a method is a call of the Bot API; of other statuses, and of what only a stranger wants, none."""
    assert answer(body, kind).call() == ("sendMessage", {"chat_id": "5"})
    assert answer(body, kind, 201).call() is not None
    assert answer(body, kind, 500).call() is None
    for forbidden in (b"setWebhook", b"DeleteWebhook", b"close", b"logOut", b"getMe", b"GETUpdates"):
        assert answer(body.replace(b"sendMessage", forbidden), kind).call() is None


@pytest.mark.parametrize(
    ("written", "seconds"), [("5", 5), ("99999", 3600), ("0", 0), ("-1", 0), ("Fri, 01 Jan 2027 00:00:00 GMT", 0)]
)
def test_retry_after(written: str, seconds: int) -> None:
    """Whole seconds up to an hour; a date counts for nothing."""
    assert answer(b"", "text/plain", 503, **{"retry-after": written}).retry_after == seconds


def test_codings() -> None:
    """Only gzip and deflate are understood."""
    with pytest.raises(Unreadable):
        answer(b"x", "text/plain", 200, **{"content-encoding": "br"}).check()
    with pytest.raises(Unreadable):
        answer(b"no gzip", JSON, 200, **{"content-encoding": "gzip"}).check()
