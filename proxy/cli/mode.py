"""``hookgate mode POLICY [MODE]``: shows or turns the switch of a running gate."""

import argparse
import json
import os
import sys
from pathlib import Path

from proxy.cli.addresses import admin_token, endpoint
from proxy.cli.ask import ask
from proxy.errors import HookgateError
from proxy.policy.values import Stance
from proxy.verdict import Mode

_DESCRIPTION = """\
Without MODE: shows what is in force. With MODE: turns the switch, for all routes or one, at once and over restarts.

  hookgate mode policy.yaml report               refuse nothing, report what would have been refused
  hookgate mode policy.yaml 5% --route telegram  enforce for a stable twentieth of one route's requests
  hookgate mode policy.yaml enforce              refuse what the rules find, whatever the file says
  hookgate mode policy.yaml policy               give control back to the file

Rules that a route has pinned (the signature of senders that probe with forged requests, as Discord) refuse in every mode;
they are named beside the route."""


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "mode",
        help="shows or sets the switch of a running gate",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("policy", type=Path, metavar="POLICY", help="the policy file of the running gate")
    parser.add_argument("mode", nargs="?", type=_mode, metavar="MODE", help="enforce | report | N%% | policy")
    parser.add_argument("--route", metavar="NAME", help="this route only")
    parser.set_defaults(run=run)


def _mode(text: str) -> str:
    if text != "policy":
        try:
            stance = Stance.parse(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is none of enforce, report, N%, policy") from None
        if stance.mode is Mode.OFF:
            raise argparse.ArgumentTypeError("the switch does not turn checks off; report refuses nothing and still tells")
    return text


def run(arguments: argparse.Namespace) -> int:
    """Ask the admin address."""
    address = endpoint(arguments.policy, "admin")
    token = admin_token(arguments.policy, os.environ)
    if arguments.mode is None:
        said = ask(address, "GET", "/mode", token=token)
    else:
        said = ask(address, "POST", "/mode", {"mode": arguments.mode, "route": arguments.route}, token=token)
    try:
        state = json.loads(said.body)
    except ValueError:
        raise HookgateError(f"what answers at {address} is no gate: see admin.address in {arguments.policy}") from None
    if said.status != 200:
        raise HookgateError(state.get("error", "the gate refused"))
    switch = state["switch"]
    turned = [f"all routes: {switch['everything']}"] if switch["everything"] else []
    turned += [f"{name}: {word}" for name, word in switch["routes"].items()]
    sys.stdout.write(f"switch: {', '.join(turned) or 'not engaged (as the policy says)'}\n")
    for name, word in state["in_force"].items():
        pinned = state.get("pinned", {}).get(name)
        stays = f"; pinned, and enforced in every mode: {', '.join(pinned)}" if pinned else ""
        sys.stdout.write(f"{name}: {word}{stays}\n")
    return 0
