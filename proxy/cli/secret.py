"""``hookgate secret new | status | revoke``: makes a secret, shows those of a running gate, takes one out of service."""

import argparse
import json
import os
import secrets
import sys
import time
from pathlib import Path
from typing import Any

from proxy.cli.addresses import admin_token, endpoint
from proxy.cli.ask import ask
from proxy.cli.check import Subparsers
from proxy.errors import HookgateError

SECRET_BYTES = 32
"""Random bytes behind a secret; written as 43 characters that every sender accepts (A-Z a-z 0-9 _ -)."""

_REVOKE = """\
Takes a secret out of service at once, on all workers, over reloads and restarts. Whoever sends with it is refused from the next
request on, so where it is the route's last active one, everybody is until the policy has another (it is taken without a restart).

Revoking cannot be undone by a command: another secret needs another id. Take a revoked one out of the policy in time."""


def register(subparsers: "Subparsers[argparse.ArgumentParser]") -> "Subparsers[argparse.ArgumentParser]":
    """Add the verb; further words of it can be added to what comes back."""
    parser = subparsers.add_parser("secret", help="makes, shows and revokes secrets", description="Secrets of routes.")
    words = parser.add_subparsers(dest="word", metavar="WORD", required=True)
    new = words.add_parser(
        "new",
        help="make a fresh secret",
        description="Prints 32 random bytes as 43 characters of A-Z a-z 0-9 _ -, or writes them to a new file of mode 0600.",
    )
    new.add_argument("--out", type=Path, metavar="FILE", help="a file that does not exist yet")
    new.set_defaults(run=secret_new)
    status = words.add_parser(
        "status",
        help="show the secrets of a running gate",
        description="Shows each secret of a running gate: state, age, matches and last use since the start; never its value.",
    )
    status.add_argument("policy", type=Path, metavar="POLICY", help="the policy file of the running gate")
    status.add_argument("--format", choices=("text", "json"), default="text", help="json: one object, times in unix seconds")
    status.set_defaults(run=secret_status)
    revoke = words.add_parser(
        "revoke",
        help="take a secret out of service at once",
        description=_REVOKE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    revoke.add_argument("policy", type=Path, metavar="POLICY", help="the policy file of the running gate")
    revoke.add_argument("route", metavar="ROUTE", help="the route's name")
    revoke.add_argument("id", metavar="ID", help="the secret's id")
    revoke.set_defaults(run=secret_revoke)
    return words


def secret_new(arguments: argparse.Namespace) -> int:
    """Run the verb."""
    fresh = new_secret()
    if arguments.out is None:
        sys.stdout.write(f"{fresh}\n")
        return 0
    try:
        write_private(arguments.out, f"{fresh}\n")
    except OSError as error:
        sys.stderr.write(f"hookgate: {arguments.out}: {error.strerror}\n")
        return 1
    return 0


def secret_status(arguments: argparse.Namespace) -> int:
    """Run the verb."""
    state = _asked(arguments.policy, "GET", "/secrets")
    if arguments.format == "json":
        sys.stdout.write(json.dumps(state, indent=2) + "\n")
        return 0
    now = time.time()
    rows = [("route", "id", "state", "age", "active window", "matches", "last use")]
    rows += [
        (
            one["route"],
            one["id"],
            one["state"],
            _ago(one["created"], now, "unknown"),
            f"{_moment(one['not_before'])} .. {_moment(one['not_after'])}" if one["not_before"] or one["not_after"] else "always",
            str(one["matches"]),
            _ago(one["last_match"], now, "never", " ago"),
        )
        for one in state["secrets"]
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        sys.stdout.write("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() + "\n")
    return 0


def secret_revoke(arguments: argparse.Namespace) -> int:
    """Run the verb."""
    asked = {"route": arguments.route, "id": arguments.id}
    left = _asked(arguments.policy, "POST", "/revoke", asked)["active"]
    sys.stdout.write(f"{arguments.route}: secret {arguments.id} is revoked; {left} active left\n")
    if not left:
        sys.stderr.write(
            f"hookgate: route {arguments.route} has no active secret left: every request to it is refused until the policy "
            "has another (hookgate secret new)\n"
        )
    return 0


def new_secret() -> str:
    """A secret that nobody can guess and every sender accepts."""
    return secrets.token_urlsafe(SECRET_BYTES)


def write_private(file: Path, text: str) -> None:
    """Write a new file of mode 0600.

    Raises:
        OSError: it exists already (a link to nowhere included), or cannot be written.
    """
    # SECURITY: O_EXCL never follows a planted link, and the mode holds from the first moment.
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)


def _asked(policy: Path, method: str, path: str, body: object = None) -> Any:
    """What the gate's admin address says; raises ``HookgateError`` with its own sentence where it refuses."""
    address = endpoint(policy, "admin")
    said = ask(address, method, path, body, token=admin_token(policy, os.environ))
    try:
        state = json.loads(said.body)
    except ValueError:
        raise HookgateError(f"what answers at {address} is no gate: see admin.address in {policy}") from None
    if said.status != 200:
        raise HookgateError(state.get("error", "the gate refused"))
    return state


def _moment(seconds: float | None) -> str:
    return "" if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _ago(seconds: float | None, now: float, none: str, after: str = "") -> str:
    """The time since then in its largest unit."""
    if seconds is None:
        return none
    gone = max(0, int(now - seconds))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if gone >= size:
            return f"{gone // size}{unit}{after}"
    return f"{gone}s{after}"
