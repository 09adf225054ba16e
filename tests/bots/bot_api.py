"""A Bot API on loopback, as much of it as a bot asks for when it starts and answers; it keeps what it was asked."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BOT_TOKEN = "42:TEST-of-the-tests-alone-0123456789ab"  # noqa: S105 - of tests alone
PHOTO = b"\x89PNG\r\n\x1a\n\r\n--webhookBoundary\r\n\x00\xff" + bytes(range(256)) * 8
"""Bytes in which whoever reads lines, text or boundaries stumbles."""

_RESULTS: dict[str, object] = {
    "getMe": {"id": 42, "is_bot": True, "first_name": "Hook", "username": "hook_bot"},
    "sendMessage": {"message_id": 7, "date": 1_700_000_000, "chat": {"id": 42, "type": "private"}, "text": "sent"},
}


class BotApi:
    """``url`` is what a bot takes as its base URL."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        """The names of the methods that were called."""
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"] or 0))
                method = self.path.rpartition("/")[2]
                api.calls.append(method)
                body = json.dumps({"ok": True, "result": _RESULTS.get(method, True)}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def bot_api() -> Iterator[BotApi]:
    """A Bot API until the end of the block."""
    api = BotApi()
    threading.Thread(target=api.server.serve_forever, daemon=True).start()
    try:
        yield api
    finally:
        api.server.shutdown()
        api.server.server_close()
