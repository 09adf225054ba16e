"""A bot that knows nothing of Hookgate: it takes Telegram updates and echoes texts back in its answer.

It stands for yours. It checks no secret, so it must be reachable through Hookgate alone.
"""

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType

LARGEST = 1024 * 1024


class Webhook(BaseHTTPRequestHandler):
    """One update a POST, whatever the path."""

    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_POST(self) -> None:
        """Answers with a sendMessage, which Telegram carries out, or with an empty 200 where there is no text."""
        length = int(self.headers.get("Content-Length", "0"))
        if length > LARGEST:
            self._answer(413, b"")
            self.close_connection = True
            return
        update = json.loads(self.rfile.read(length))
        message = update.get("message") or {}
        self.log_message("update %s", update.get("update_id"))
        if "text" not in message:
            self._answer(200, b"")
            return
        reply = {"method": "sendMessage", "chat_id": message["chat"]["id"], "text": message["text"]}
        self._answer(200, json.dumps(reply).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        if body:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Silent: the request line holds the path, and the path is a secret."""


def stop(number: int, frame: FrameType | None) -> None:
    """Ends the process; as PID 1 it would otherwise ignore SIGTERM."""
    sys.exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    # In a pod the two share the loopback address, so the bot listens there alone; in compose it needs its network's.
    address = (os.environ.get("BOT_HOST", "127.0.0.1"), int(os.environ.get("BOT_PORT", "8081")))
    ThreadingHTTPServer(address, Webhook).serve_forever()
