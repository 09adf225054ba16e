"""``hookgate healthcheck POLICY``: for containers without curl."""

import argparse
import sys
from pathlib import Path

from proxy.cli.addresses import endpoint
from proxy.cli.ask import ask


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "healthcheck",
        help="exit 0 when the gate is live",
        description="Asks a running gate's observe address whether it is live; exit 0 when it is, 1 when not.",
    )
    parser.add_argument("policy", type=Path, metavar="POLICY", help="the policy file of the running gate")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ask /livez."""
    said = ask(endpoint(arguments.policy, "observe"), "GET", "/livez", seconds=3.0)
    sys.stdout.write(said.body.decode("ascii", "replace"))
    return 0 if said.status == 200 else 1
