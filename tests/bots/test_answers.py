"""Answers that a bot gives in two ways: in the reply to the webhook, which must come back whole, and by calling the Bot API."""

import re

import pytest

from tests.bots.bot_api import PHOTO
from tests.bots.conftest import Stage
from tests.bots.test_bots import GENUINE, as_it_came, directly, handled
from tests.bots.updates import update
from tests.gates import body, post, status, until


@pytest.mark.parametrize("text", ["hello", "photo"])
def test_method_in_the_reply(aiogram_stage: Stage, text: str) -> None:
    """A method answered in the webhook's reply, multipart with a file in it, comes back byte for byte as the bot wrote it."""
    number, data = update("message", text=text)
    aiogram_stage.tap.clear()
    answer = aiogram_stage.gate.send(post("/telegram", data, GENUINE))
    handled(aiogram_stage, "message", number)
    assert status(answer) == 200
    assert b"Content-Type: multipart/form-data; boundary=" in answer
    assert (b"sendPhoto" in body(answer)) == (PHOTO in body(answer)) == (text == "photo")
    assert as_it_came(answer) == as_it_came(bytes(aiogram_stage.tap.from_bot))


def test_same_reply_without_the_gate(aiogram_stage: Stage) -> None:
    """Date, boundary and the file's made-up name aside, the reply through the gate is the reply without it."""
    asked = [post("/telegram", update("message", text="photo")[1], GENUINE) for _ in range(2)]
    replies = []
    for answer in (aiogram_stage.gate.send(asked[0]), directly(aiogram_stage, asked[1])):
        random = re.findall(rb"boundary=(\S+)\r\n|attach://([\w-]+)", answer)
        for word in map(b"".join, random):
            answer = answer.replace(word, b"*" * len(word))
        first, fields, rest = as_it_came(answer)
        replies.append((first, [field for field in fields if not field.startswith(b"Date")], rest))
    assert replies[0] == replies[1]


def test_answer_by_the_bot_api(telegram_ext_stage: Stage) -> None:
    """A handler that calls the Bot API does so for a genuine update, once, however often it is sent."""
    before = telegram_ext_stage.api.calls.count("sendMessage")
    assert {"getMe", "setWebhook"} <= set(telegram_ext_stage.api.calls)
    number, data = update("message")
    for _ in range(3):
        assert status(telegram_ext_stage.gate.send(post("/telegram", data, GENUINE))) == 200
    handled(telegram_ext_stage, "message", number)
    until(lambda: telegram_ext_stage.api.calls.count("sendMessage") == before + 1, "the handler's sendMessage")
    # The next one's answer comes after any second answer to the first would have.
    second, data = update("message")
    telegram_ext_stage.gate.send(post("/telegram", data, GENUINE))
    handled(telegram_ext_stage, "message", second)
    until(lambda: telegram_ext_stage.api.calls.count("sendMessage") == before + 2, "the second sendMessage")
    assert telegram_ext_stage.journal.seen().count(("message", number)) == 1
