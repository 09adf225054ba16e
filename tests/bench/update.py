"""The request that is timed: a Telegram update of exactly 1024 bytes behind a TLS terminator, the same bytes for every proxy.

Each carries an update_id of its own, because replay protection is on, and is genuine twice over: by the header token that
Telegram sends and by a body HMAC for the proxies that check one.
"""

import hashlib
import hmac
import json

PATH = "/telegram/bench"
BODY_BYTES = 1024
CLIENT = "149.154.167.220"  # within the ranges that Telegram publishes
FIRST_UPDATE_ID = 100_000_000  # all ids of a run have nine digits, so all bodies have one length
_ID = 987_654_321  # stands for the update_id in the pattern below


def _pattern() -> tuple[bytes, bytes]:
    """The body before and after its update_id, padded by the message's text."""
    person = {"id": 11111111, "is_bot": False, "first_name": "Ada", "last_name": "L.", "username": "ada", "language_code": "en"}
    chat = {"id": 11111111, "first_name": "Ada", "last_name": "L.", "username": "ada", "type": "private"}
    message: dict[str, object] = {"message_id": 4711, "from": person, "chat": chat, "date": 1793620000, "text": ""}
    update = {"update_id": _ID, "message": message}
    missing = BODY_BYTES - len(json.dumps(update, separators=(",", ":")))
    message["text"] = ("where is my parcel? " * (missing // 20 + 1))[:missing]
    before, after = json.dumps(update, separators=(",", ":")).encode().split(str(_ID).encode())
    return before, after


class Sender:
    """Makes requests as one sender would who knows ``secret``; a forger is a sender with another secret."""

    def __init__(self, secret: str, client: str = CLIENT) -> None:
        self._before, self._after = _pattern()
        self._keyed = hmac.new(secret.encode(), digestmod=hashlib.sha256)
        self._head = (
            f"POST {PATH} HTTP/1.1\r\nHost: bot.example.com\r\nX-Forwarded-For: {client}\r\nX-Forwarded-Proto: https\r\n"
            f"Content-Type: application/json\r\nContent-Length: {BODY_BYTES}\r\nAccept-Encoding: gzip, deflate\r\n"
            f"X-Telegram-Bot-Api-Secret-Token: {secret}\r\nX-Hub-Signature-256: sha256="
        ).encode()

    def request(self, update_id: int) -> bytes:
        """One whole request, as it goes over the wire."""
        body = b"%s%d%s" % (self._before, update_id, self._after)
        signature = self._keyed.copy()
        signature.update(body)
        return b"%s%s\r\n\r\n%s" % (self._head, signature.hexdigest().encode(), body)

    def requests(self, first_update_id: int, count: int) -> list[bytes]:
        """``count`` requests with rising ids, made beforehand so that making them is no part of what is timed."""
        return [self.request(update_id) for update_id in range(first_update_id, first_update_id + count)]
