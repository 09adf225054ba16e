"""A source of keys on a port of this machine: what it answers is set by the test, and what it was asked is kept."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class KeySource:
    """Answers each path with what ``pages`` holds: status, fields, body."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.hold: threading.Event | None = None
        source = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                source.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                if source.hold is not None:
                    source.hold.wait(20)
                status, fields, body = source.pages.get(self.path, (404, {}, b""))
                if fields.get("ETag") and self.headers.get("If-None-Match") == fields["ETag"]:
                    status, body = 304, b""
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **fields}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                """Tests are quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self.host = f"127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def page(self, path: str, body: bytes, status: int = 200, **fields: str) -> str:
        """Let ``path`` answer so; gives its address."""
        self.pages[path] = (status, {name.replace("_", "-"): value for name, value in fields.items()}, body)
        return f"http://{self.host}{path}"

    def close(self) -> None:
        """Answer nothing more."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def key_source() -> Iterator[KeySource]:
    """A source until the end of the block."""
    source = KeySource()
    try:
        yield source
    finally:
        if source.hold is not None:
            source.hold.set()
        source.close()
