"""The proxy that one writes in an afternoon: `web.Application`, one handler, `ClientSession`, a body HMAC, `web.Response`.

Run as a process of its own: port, the bot's port, and the file that holds the secret.
"""

import asyncio
import hashlib
import hmac
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import uvloop
from aiohttp import ClientSession, TCPConnector, web

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "upgrade", "te", "trailer"}


class PlainProxy:
    """Checks the signature and passes the request on."""

    def __init__(self, bot: str, secret: bytes) -> None:
        self._bot = bot
        self._secret = secret
        self._session: ClientSession | None = None

    async def session(self, _: web.Application) -> AsyncIterator[None]:
        """One session for the life of the application."""
        async with ClientSession(connector=TCPConnector(limit=0), auto_decompress=False) as self._session:
            yield

    async def handle(self, request: web.Request) -> web.Response:
        """One request, top to bottom."""
        assert self._session is not None
        body = await request.read()
        expected = "sha256=" + hmac.new(self._secret, body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected.encode(), request.headers.get("X-Hub-Signature-256", "").encode()):
            return web.Response(status=401)
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP]
        url = self._bot + request.path_qs
        async with self._session.request(request.method, url, headers=headers, data=body, allow_redirects=False) as reply:
            content = await reply.read()
            kept = {name: value for name, value in reply.headers.items() if name.lower() not in HOP_BY_HOP}
            return web.Response(status=reply.status, headers=kept, body=content)


def main(port: str, bot_port: str, secret_file: str) -> None:
    """Serve until SIGTERM."""
    proxy = PlainProxy(f"http://127.0.0.1:{bot_port}", Path(secret_file).read_bytes())
    application = web.Application()
    application.cleanup_ctx.append(proxy.session)
    application.router.add_route("*", "/{path:.*}", proxy.handle)
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    web.run_app(application, host="127.0.0.1", port=int(port), access_log=None, print=None)


if __name__ == "__main__":
    main(*sys.argv[1:])
