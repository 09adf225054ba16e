"""The operator's address: the switch and the reload. A unix socket by default; over TCP every call needs the token."""

import hmac
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from aiohttp import web
from aiohttp.typedefs import Handler as WebHandler

from proxy.errors import PolicyError
from proxy.pipeline.modes import Switch
from proxy.policy.secrets import Secret
from proxy.policy.values import Stance
from proxy.verdict import Mode, RuleName


class Controls(NamedTuple):
    """What an operator can do and see."""

    switch: Callable[[], Switch]
    turn: Callable[[Stance | None, str | None], Awaitable[None]]
    """Whole on return: whoever serves goes by it. Raises ``KeyError`` for a route that does not exist."""
    stances: Callable[[], dict[str, Stance]]
    pinned: Callable[[], dict[str, tuple[RuleName, ...]]]
    """The rules that enforce whatever the mode and the switch say, of each route that has some."""
    reload: Callable[[], Awaitable[str]]
    """Gives the SHA-256 of the policy taken; raises ``PolicyError``."""
    secrets: Callable[[], Awaitable[list[dict[str, object]]]]
    """Facts of each secret, by route and id."""
    revoke: Callable[[str, str], Awaitable[int]]
    """Takes route and id, gives how many active secrets the route has left. Raises ``KeyError`` where there is none such."""


def admin_app(controls: Controls, token: Secret | None) -> web.Application:
    """``token`` is demanded of every call where there is one."""

    @web.middleware
    async def guard(request: web.Request, handler: WebHandler) -> web.StreamResponse:
        if token is not None:
            given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
            if not hmac.compare_digest(given, b"Bearer " + token.reveal()):
                return web.json_response({"error": "unauthorized"}, status=401)
        return await handler(request)

    async def show(request: web.Request) -> web.Response:
        return web.json_response(_state(controls))

    async def turn(request: web.Request) -> web.Response:
        return await _turn(request, controls)

    async def reload(request: web.Request) -> web.Response:
        try:
            return web.json_response({"sha256": await controls.reload()})
        except PolicyError as error:
            return web.json_response({"faults": [fault._asdict() for fault in error.faults]}, status=422)

    async def secrets(request: web.Request) -> web.Response:
        return web.json_response({"secrets": await controls.secrets()})

    async def revoke(request: web.Request) -> web.Response:
        return await _revoke(request, controls)

    app = web.Application(middlewares=[guard])
    app.router.add_get("/secrets", secrets)
    app.router.add_post("/revoke", revoke)
    app.router.add_get("/mode", show)
    app.router.add_post("/mode", turn)
    app.router.add_post("/reload", reload)
    return app


async def _turn(request: web.Request, controls: Controls) -> web.Response:
    try:
        asked = await request.json()
        word, route = asked["mode"], asked.get("route")
        stance = None if word == "policy" else Stance.parse(word)
        # SECURITY: the switch reports, it does not turn checks off: what would be refused must still be told.
        if not isinstance(route, str | None) or (stance is not None and stance.mode is Mode.OFF):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        return web.json_response({"error": 'wants {"mode": "enforce|report|N%|policy", "route": NAME or null}'}, status=400)
    try:
        await controls.turn(stance, route)
    except KeyError:
        return web.json_response({"error": f"no route is named {route!r}"}, status=404)
    except OSError as error:
        return web.json_response(
            {"error": f"the switch is turned, but the next restart will forget it: {error.strerror}"}, status=500
        )
    return web.json_response(_state(controls))


async def _revoke(request: web.Request, controls: Controls) -> web.Response:
    try:
        asked = await request.json()
        route, id = asked["route"], asked["id"]
        if not isinstance(route, str) or not isinstance(id, str):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        return web.json_response({"error": 'wants {"route": NAME, "id": ID}'}, status=400)
    try:
        left = await controls.revoke(route, id)
    except KeyError:
        return web.json_response({"error": f"no route {route!r} has a secret {id!r}: see hookgate secret status"}, status=404)
    except OSError as error:
        kept = "it is revoked now, but the next restart will forget it: take it out of the policy"
        return web.json_response({"error": f"{kept} ({(error.strerror or 'unknown reason').lower()})"}, status=500)
    return web.json_response({"route": route, "id": id, "active": left})


def _state(controls: Controls) -> dict[str, object]:
    switch = controls.switch()
    return {
        "switch": {
            "everything": str(switch.everything) if switch.everything else None,
            "routes": {name: str(stance) for name, stance in switch.routes},
        },
        "in_force": {name: str(stance) for name, stance in controls.stances().items()},
        "pinned": {name: [rule.value for rule in rules] for name, rules in controls.pinned().items()},
    }
