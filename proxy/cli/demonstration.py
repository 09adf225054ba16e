"""The demo itself: a bot, a gate, a genuine, a forged and a repeated request, and what each of them came to."""

import asyncio
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path

import uvloop
from aiohttp import ClientSession, web

from proxy.app import App
from proxy.observe.log import Sink

_SECRET = "demo-secret-that-protects-nothing"  # noqa: S105 - a constant, so that the lines below can be written down anywhere
_HEADER = "X-Telegram-Bot-Api-Secret-Token"
_UPDATE = '{"update_id":%d,"message":{"message_id":1,"date":1700000000,"chat":{"id":42,"type":"private"},"text":"hello"}}'

_POLICY = """\
version: 1
allow_inline_secrets: true
listen: {{address: 127.0.0.1:{port}}}
observe: {{address: 127.0.0.1:{observe}}}
store: {{url: "memory:"}}
upstream: {{url: "http://127.0.0.1:{bot}"}}
routes:
  - name: telegram
    path: /telegram
    provider: telegram
    secrets: [{{id: demo, value: {secret}}}]
"""


def demonstrate(*, once: bool) -> int:
    """Run it, and go on serving unless ``once``; 0 when the three requests ended as they should."""
    with (
        tempfile.TemporaryDirectory(prefix="hookgate-demo-") as folder,
        open(os.devnull, "wb") as nowhere,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        return runner.run(_demo(Path(folder), Sink(nowhere.fileno()), once=once))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _port(wanted: int) -> int:
    """The port itself if it is free, else any other."""
    for port in (wanted, 0):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            found: int = sock.getsockname()[1]
            return found
    raise OSError("no free port on 127.0.0.1")


async def _demo(folder: Path, sink: Sink, *, once: bool) -> int:
    seen: list[bytes] = []

    async def bot(request: web.Request) -> web.Response:
        seen.append(await request.read())
        return web.Response(text="hello from the bot\n")

    server = web.AppRunner(web.Application(), access_log=None)
    server.app.router.add_post("/telegram", bot)
    await server.setup()
    site = web.TCPSite(server, "127.0.0.1", 0)
    await site.start()
    port, observe = _port(8080), _port(9464)
    policy = folder / "policy.yaml"
    policy.write_text(_POLICY.format(port=port, observe=observe, secret=_SECRET, bot=server.addresses[0][1]))
    app = App(policy, {}, sink)
    await app.start()
    try:
        whole = await _show(port, observe, seen)
        if not once:
            await _until_told(port)
    finally:
        await app.stop()
        await server.cleanup()
    return 0 if whole else 1


async def _show(port: int, observe: int, seen: list[bytes]) -> bool:
    url = f"http://127.0.0.1:{port}/telegram"
    _say(f"gate on {url}, in front of an unchanged bot; metrics on http://127.0.0.1:{observe}/metrics\n")
    update = _UPDATE % 10000
    rows = (("genuine", _SECRET, 200), ("forged", "not-the-secret", 401), ("repeated", _SECRET, 200))
    whole = True
    async with ClientSession() as session:
        for name, token, status in rows:
            headers = {_HEADER: token, "Content-Type": "application/json"}
            async with session.post(url, data=update, headers=headers) as answer:
                body = (await answer.read()).decode().rstrip()
            whole = whole and answer.status == status and seen == [update.encode()]
            _say(f"{name:9} -> {answer.status} {body}".rstrip())
            _say(f"             the bot has seen {len(seen)} request{'s' if len(seen) != 1 else ''}: {_told(name)}")
        async with session.get(f"http://127.0.0.1:{observe}/metrics") as answer:
            metrics = (await answer.read()).decode().splitlines()
    _say("")
    for line in metrics:
        if line.startswith("hookgate_requests_total") and not line.endswith(" 0.0"):
            _say(line)
    _say("\nthe same by hand (a new update_id is a new update):")
    for token in (_SECRET, "not-the-secret"):
        _say(f"  curl -i {url} -H 'Content-Type: application/json' -H '{_HEADER}: {token}' -d '{_UPDATE % 10001}'")
    return whole


def _told(name: str) -> str:
    return {
        "genuine": "let through byte for byte",
        "forged": "refused, the caller is told nothing",
        "repeated": "acknowledged, not delivered again",
    }[name]


async def _until_told(port: int) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    _say(f"\nserving on 127.0.0.1:{port}; Ctrl-C ends it")
    await stopping.wait()
