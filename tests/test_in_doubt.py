"""A gate is killed while a request is with the bot: nobody knows how it ended, so the policy says what its repeat comes to."""

import signal
import socket

import pytest

from tests.conftest import Gates
from tests.gates import TELEGRAM, TOKEN, TOKEN_FIELD, body, post, recording_bot, serving, status, until

UPDATE = post("/telegram", b'{"update_id":7,"message":{"text":"hello"}}', {TOKEN_FIELD: TOKEN})
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone"


@pytest.mark.parametrize("in_doubt", ["deliver", "drop"])
def test_killed_with_a_request_at_the_bot(gate: Gates, in_doubt: str) -> None:
    """After kill -9 a request in doubt is delivered once more and marked, or dropped; either way it is counted, once."""
    rules = f"    rules: {{replay: {{in_doubt: {in_doubt}}}}}\n"
    with recording_bot(answer=b"") as bot:
        text = TELEGRAM.format(bot=bot.port).replace('"memory:"', '"sqlite:claims.db"')
        first = gate(text + rules)
        with socket.create_connection(("127.0.0.1", first.port)) as sender:
            sender.sendall(UPDATE)
            until(lambda: bot.requests, "the update to reach the bot")
            first.stop(signal.SIGKILL)
        bot.answer = OK
        with serving(first.policy) as second:
            answer = second.send(UPDATE)
            assert status(answer) == 200
            assert body(answer) == (b"done" if in_doubt == "deliver" else b"")
            assert len(bot.requests) == (2 if in_doubt == "deliver" else 1)
            if in_doubt == "deliver":
                assert b"\r\nHookgate-Redelivery: maybe\r\n" in bot.requests[1]
                assert b"Hookgate-Redelivery" not in bot.requests[0]
            assert second.metric("hookgate_ambiguous_total", route="telegram") == 1
            # Now its end is known: a third one is a repeat like any other.
            answer = second.send(UPDATE)
            assert (status(answer), body(answer)) == (200, b"")
            assert second.metric("hookgate_ambiguous_total", route="telegram") == 1
            assert len(bot.requests) == (2 if in_doubt == "deliver" else 1)


def test_in_doubt_until_delivered(gate: Gates) -> None:
    """A redelivery that fails leaves the request in doubt: the next try is marked and counted too, until one is delivered."""
    with recording_bot(answer=b"") as bot:
        first = gate(TELEGRAM.format(bot=bot.port).replace('"memory:"', '"sqlite:claims.db"'))
        with socket.create_connection(("127.0.0.1", first.port)) as sender:
            sender.sendall(UPDATE)
            until(lambda: bot.requests, "the update to reach the bot")
            first.stop(signal.SIGKILL)
        bot.answer = b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"
        with serving(first.policy) as second:
            assert [status(second.send(UPDATE)) for _ in range(2)] == [500, 500]
            bot.answer = OK
            assert status(second.send(UPDATE)) == 200
            marked = [b"\r\nHookgate-Redelivery: maybe\r\n" in request for request in bot.requests]
            assert marked == [False, True, True, True]
            assert second.metric("hookgate_ambiguous_total", route="telegram") == 3
            assert status(second.send(UPDATE)) == 200
            assert len(bot.requests) == 4
