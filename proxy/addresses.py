"""The observe and admin addresses: small web applications on sockets of their own."""

from aiohttp import web

from proxy.edge.binding import bind
from proxy.policy.endpoints import Endpoint


class Addresses:
    """Those that are open."""

    def __init__(self) -> None:
        self._runners: list[web.AppRunner] = []

    async def open(self, app: web.Application, address: Endpoint) -> Endpoint:
        """Bind and serve; gives the bound address (port 0 becomes the real one). Raises ``StartError`` with the remedy."""
        sock = bind(address, 0o600)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        self._runners.append(runner)
        await web.SockSite(runner, sock).start()
        return address if address.path else Endpoint(address.host, sock.getsockname()[1])

    async def close(self) -> None:
        """Serve no more."""
        for runner in self._runners:
            await runner.cleanup()
