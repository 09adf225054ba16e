"""The read-only address: /metrics for Prometheus, /livez and /readyz for probes, and a status page for people."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from proxy.observe.metrics import Facts

_PLAIN = {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store"}


def observe_app(
    render: Callable[[], Awaitable[bytes]], facts: Callable[[], Awaitable[Facts]], ready: Callable[[], Awaitable[str]]
) -> web.Application:
    """``render`` gives the metrics in their text form, ``ready`` the reason for not being ready, or an empty text."""

    async def show_metrics(request: web.Request) -> web.Response:
        return web.Response(body=await render(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def livez(request: web.Request) -> web.Response:
        return web.Response(text="live\n", headers=_PLAIN)

    async def readyz(request: web.Request) -> web.Response:
        reason = await ready()
        return web.Response(text=f"not ready: {reason}\n" if reason else "ready\n", status=503 if reason else 200, headers=_PLAIN)

    async def status(request: web.Request) -> web.Response:
        return web.Response(text=_status(await facts()), headers=_PLAIN)

    app = web.Application()
    app.router.add_get("/metrics", show_metrics)
    app.router.add_get("/livez", livez)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/", status)
    return app


def _status(facts: Facts) -> str:
    lines = [
        f"Hookgate {facts.version}",
        f"policy sha256 {facts.policy}",
        f"last reload {'taken' if facts.reloaded else 'REFUSED: the former policy is in force, see the log'}",
        f"switch {'ENGAGED' if facts.switch else 'as the policy says'}",
        f"connections {facts.connections}, requests under way {facts.in_flight}, claims held {facts.entries}",
        "",
        *(f"{route}: {stance}" for route, stance in facts.stances.items()),
    ]
    return "\n".join(lines) + "\n"
