"""The demo itself: a bot, a gate, a genuine, a forged and a repeated request, and what each of them came to."""

import asyncio
import os
import secrets
import signal
import socket
import sys
import tempfile
from pathlib import Path

import uvloop
from aiohttp import ClientSession, web

from proxy.app import App
from proxy.observe.log import Sink

_UPDATE = (
    b'{"update_id":10000,\n"message":{"message_id":1,"date":1700000000,'
    b'"chat":{"id":42,"type":"private"},"from":{"id":42,"is_bot":false,"first_name":"Ada"},"text":"hello"}}'
)
_HEADER = "X-Telegram-Bot-Api-Secret-Token"

_POLICY = """\
version: 1
listen: {{address: 127.0.0.1:{port}}}
observe: {{address: 127.0.0.1:{observe}}}
store: {{url: "memory:"}}
upstream: {{url: "http://127.0.0.1:{bot}"}}
routes:
  - name: telegram
    path: /telegram
    provider: telegram
    secrets: [{{id: demo, from_file: secret}}]
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
        return web.Response(text="")

    server = web.AppRunner(web.Application(), access_log=None)
    server.app.router.add_post("/telegram", bot)
    await server.setup()
    site = web.TCPSite(server, "127.0.0.1", 0)
    await site.start()
    port, observe = _port(8080), _port(9464)
    secret = secrets.token_urlsafe(32)
    (folder / "secret").write_text(secret)
    (folder / "secret").chmod(0o600)
    (folder / "update.json").write_bytes(_UPDATE)
    policy = folder / "policy.yaml"
    policy.write_text(_POLICY.format(port=port, observe=observe, bot=server.addresses[0][1]))
    app = App(policy, {}, sink)
    await app.start()
    try:
        whole = await _show(folder, port, observe, secret, seen)
        if not once:
            await _until_told(port)
    finally:
        await app.stop()
        await server.cleanup()
    return 0 if whole else 1


async def _show(folder: Path, port: int, observe: int, secret: str, seen: list[bytes]) -> bool:
    url = f"http://127.0.0.1:{port}/telegram"
    _say(f"gate on {url}, in front of an unchanged bot; metrics on http://127.0.0.1:{observe}/metrics\n")
    curl = f"curl -i {url} -H 'Content-Type: application/json' --data-binary @{folder}/update.json -H"
    rows = (
        ("genuine", secret, f'{curl} "{_HEADER}: $(cat {folder}/secret)"', 200, 1),
        ("forged", "not-the-secret", f"{curl} '{_HEADER}: not-the-secret'", 401, 1),
        ("repeated", secret, "the first line again", 200, 1),
    )
    whole = True
    async with ClientSession() as session:
        for name, token, line, status, deliveries in rows:
            headers = {_HEADER: token, "Content-Type": "application/json"}
            async with session.post(url, data=_UPDATE, headers=headers) as answer:
                body = (await answer.read()).decode()
            whole = whole and answer.status == status and len(seen) == deliveries
            _say(f"{name:9} -> {answer.status} {body}".rstrip())
            _say(f"             the bot has seen {len(seen)} request{'s' if len(seen) != 1 else ''}: {_told(name)}")
            _say(f"             {line}")
        async with session.get(f"http://127.0.0.1:{observe}/metrics") as answer:
            metrics = (await answer.read()).decode().splitlines()
    _say("")
    for line in metrics:
        if line.startswith("hookgate_requests_total") and not line.endswith(" 0.0"):
            _say(line)
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
