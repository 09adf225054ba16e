"""``hookgate telegram set-webhook | info | delete-webhook``: tells Telegram of the gate, with the policy's own secret."""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from proxy.cli.botapi import BotApi, bot_token, plain
from proxy.cli.check import Subparsers
from proxy.errors import HookgateError
from proxy.policy.model import Route
from proxy.policy.reader import Loaded, read_policy
from proxy.policy.signatures import TokenSignature
from proxy.policy.values import format_instant
from proxy.revocations import Revocations
from proxy.rules.signing import current

_API = "https://api.telegram.org"
_TOKEN = "TELEGRAM_BOT_TOKEN"  # noqa: S105 - a variable's name
_HEADER = "x-telegram-bot-api-secret-token"

_DESCRIPTION = """\
Calls the Bot API. The bot token comes from a file or the environment, never from the command line, and is never printed;
neither are the webhook's path and the secret.

  hookgate telegram set-webhook policy.yaml --token-file token
  TELEGRAM_BOT_TOKEN=... hookgate telegram info"""

_SET = """\
Registers the route's public_url with the route's current secret: of those that are active and not revoked, the one that stays
valid the longest. Telegram changes over at once; updates under way may still carry the old secret, so keep both for a while."""


def register(subparsers: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = subparsers.add_parser(
        "telegram", help="sets, shows or deletes Telegram's webhook", description=_DESCRIPTION, formatter_class=raw
    )
    words = parser.add_subparsers(dest="word", metavar="WORD", required=True)
    setting = words.add_parser(
        "set-webhook", help="register the route's address and current secret", description=_SET, formatter_class=raw
    )
    setting.add_argument("policy", type=Path, metavar="POLICY", help="the policy file")
    setting.add_argument("--max-connections", type=int, metavar="N", help="1 to 100; Telegram's own default is 40")
    setting.add_argument(
        "--allowed-updates", metavar="TYPES", help="comma-separated update types; an empty text for Telegram's default set"
    )
    setting.add_argument("--drop-pending-updates", action="store_true", help="forget what waits at Telegram")
    setting.set_defaults(run=set_webhook)
    info = words.add_parser("info", help="show what Telegram knows", description="Shows what Telegram knows of the webhook.")
    info.add_argument("policy", type=Path, nargs="?", metavar="POLICY", help="compare with its public_url")
    info.set_defaults(run=show)
    deleting = words.add_parser("delete-webhook", help="delete it", description="Deletes the webhook: no updates come any more.")
    deleting.add_argument("policy", type=Path, nargs="?", metavar="POLICY", help="not needed; taken for symmetry")
    deleting.add_argument("--drop-pending-updates", action="store_true", help="forget what waits at Telegram")
    deleting.set_defaults(run=delete_webhook)
    for word in (setting, info, deleting):
        if word is not deleting:
            word.add_argument("--route", metavar="NAME", help="the route, where the policy has several of provider telegram")
        word.add_argument("--token-file", type=Path, metavar="FILE", help=f"file with the bot token (default: ${_TOKEN})")
        word.add_argument("--api", default=_API, metavar="URL", help="the Bot API server (default %(default)s)")


def set_webhook(arguments: argparse.Namespace) -> int:
    """Run the verb."""
    loaded = read_policy(arguments.policy, os.environ)
    route = _route(loaded, arguments.route)
    url = _public_url(route)
    revocations = Revocations(Path(loaded.policy.state_directory))
    revocations.read()
    revocations.apply(loaded.secrets)
    secret = current(loaded.secrets[route.name], time.time())
    given: dict[str, Any] = {"url": url, "secret_token": secret.reveal().decode("utf-8", "surrogateescape")}
    if arguments.max_connections is not None:
        given["max_connections"] = arguments.max_connections
    if arguments.allowed_updates is not None:
        given["allowed_updates"] = [word.strip() for word in arguments.allowed_updates.split(",") if word.strip()]
    if arguments.drop_pending_updates:
        given["drop_pending_updates"] = True
    _api(arguments).call("setWebhook", given)
    sys.stdout.write(f"{route.name}: the webhook at {urlsplit(url).netloc} is set, with secret {secret.id}\n")
    return 0


def show(arguments: argparse.Namespace) -> int:
    """Run the verb."""
    own = None
    if arguments.policy is not None:
        own = _public_url(_route(read_policy(arguments.policy, os.environ), arguments.route))
    known = _api(arguments).call("getWebhookInfo", {})
    if not isinstance(known, dict):
        raise HookgateError("the Bot API gave no information")
    for line in _lines(known, own):
        sys.stdout.write(f"{line}\n")
    return 0 if own is None or known.get("url") == own else 1


def delete_webhook(arguments: argparse.Namespace) -> int:
    """Run the verb."""
    _api(arguments).call("deleteWebhook", {"drop_pending_updates": True} if arguments.drop_pending_updates else {})
    sys.stdout.write("the webhook is deleted: no updates come any more\n")
    return 0


def _api(arguments: argparse.Namespace) -> BotApi:
    return BotApi(arguments.api, bot_token(arguments.token_file, _TOKEN))


def _route(loaded: Loaded, name: str | None) -> Route:
    """The route that Telegram sends to, named or the only one."""
    routes = [route for route in loaded.policy.routes if _of_telegram(route)]
    if name is not None:
        routes = [route for route in routes if route.name == name]
    if len(routes) == 1:
        return routes[0]
    if name is not None:
        raise HookgateError(f"no route {name!r} has Telegram's token header (provider: telegram)")
    raise HookgateError(
        f"several routes are Telegram's ({', '.join(route.name for route in routes)}): choose one with --route"
        if routes
        else "no route of this policy has Telegram's token header (provider: telegram)"
    )


def _of_telegram(route: Route) -> bool:
    signature = route.rules.signature
    return isinstance(signature, TokenSignature) and _HEADER in signature.header_names()


def _public_url(route: Route) -> str:
    url = route.public_url or ""
    if not url.startswith("https://"):
        raise HookgateError(f"route {route.name!r} needs public_url: https://..., the address under which Telegram reaches it")
    return url


def _lines(known: dict[str, Any], own: str | None) -> list[str]:
    """SECURITY: of the address its host alone; its path is a secret. Words of the API are shown as plain text."""
    url = str(known.get("url", ""))
    lines = [f"webhook: {urlsplit(url).netloc or 'none'}"]
    if own is not None:
        lines.append("address: " + ("the route's public_url" if url == own else "NOT the route's public_url"))
    facts = ("pending_update_count", "max_connections", "ip_address", "has_custom_certificate")
    lines += [f"{name}: {plain(str(known[name]))}" for name in facts if name in known]
    if "allowed_updates" in known:
        lines.append(f"allowed_updates: {', '.join(plain(str(one)) for one in known['allowed_updates'])}")
    for name in ("last_error", "last_synchronization_error"):
        moment = known.get(f"{name}_date")
        if isinstance(moment, int):
            lines.append(f"{name}: {format_instant(moment)} {plain(str(known.get(f'{name}_message', '')))}".rstrip())
    path = urlsplit(url).path
    return [line.replace(path, "/...") if len(path) > 1 else line for line in lines]
