"""What a running gate tells, on every path that a request can take, holds no secret, no path, no body and no header value."""

import json

from tests.conftest import Gates
from tests.gates import TELEGRAM, TOKEN, TOKEN_FIELD, RecordingBot, body, post, status

PATH = "/c4n4ry-path"
MARK = "c4n4ry"
WRONG = f"{MARK}-wrong-token-that-is-long-enough"


def test_canaries(gate: Gates, bot: RecordingBot) -> None:
    """Planted marks in path, query, headers, body, wrong tokens and malformed requests appear nowhere but at the bot."""
    policy = TELEGRAM.format(bot=bot.port).replace("path: /telegram", f"path: {PATH}")
    running = gate(policy + "log: {level: debug}\n")
    update = json.dumps({"update_id": 1, "message": {"text": f"{MARK}-text"}}).encode()
    marked = {"User-Agent": f"{MARK}-agent", "X-Other": MARK}
    sent: list[tuple[bytes, int]] = [
        (post(PATH, update, {TOKEN_FIELD: TOKEN, **marked}), 200),
        (post(PATH, update, {TOKEN_FIELD: TOKEN, **marked}), 200),
        (post(PATH, update + b" ", {TOKEN_FIELD: TOKEN, **marked}), 409),
        (post(PATH, update, {TOKEN_FIELD: WRONG, **marked}), 401),
        (post(PATH, update, marked), 401),
        (post(PATH, b"{" + MARK.encode(), {TOKEN_FIELD: TOKEN}), 400),
        (post(f"{PATH}?{MARK}=1", update, {TOKEN_FIELD: TOKEN}), 404),
        (post(f"{PATH}/{MARK}", update, {TOKEN_FIELD: TOKEN}), 404),
        (post(PATH, update, {TOKEN_FIELD: TOKEN, "Content-Encoding": MARK}), 415),
        (post(PATH, update, {f"{TOKEN_FIELD} ": TOKEN, "X": MARK}), 400),
        (post(PATH, update, {TOKEN_FIELD: f"{TOKEN}\0{MARK}"}), 400),
        (post(PATH, update, {TOKEN_FIELD: TOKEN, "Expect": MARK}), 417),
        (f"{MARK} {PATH} HTTP/1.1\r\nHost: {MARK}\r\n\r\n".encode(), 400),
        (f"POST {PATH} HTTP/9.9\r\nHost: {MARK}\r\nConnection: close\r\n\r\n".encode(), 400),
    ]
    for raw, wanted in sent:
        answer = running.send(raw)
        assert status(answer) == wanted, raw
        for mark in (MARK, PATH, TOKEN):
            assert mark.encode() not in answer, raw
        assert wanted != 200 or not body(answer)
    told = running.get("/metrics") + running.get("/")
    assert running.stop() == 0
    told += running.output()
    for mark in (MARK, PATH, TOKEN, "update_id", "agent"):
        assert mark not in told
    # By the gate's own count: where it was looked for why a signature is wrong, the line comes a moment later.
    exchanges = sorted((line for line in running.lines() if line["event"] == "exchange"), key=lambda line: line["request_id"])
    assert len(exchanges) == len(sent), "one line an exchange"
    assert [line["status"] for line in exchanges] == [wanted for _, wanted in sent]
    assert len({line["request_id"] for line in exchanges}) == len(sent)
