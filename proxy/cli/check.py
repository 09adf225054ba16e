"""``hookgate check``: every fault of a policy at once, or that it is sound. No network, no side effect."""

import argparse
import os
import sys
from pathlib import Path

import orjson

from proxy.errors import Fault, PolicyError
from proxy.policy.printing import printed
from proxy.policy.reader import Loaded, read_policy

Subparsers = argparse._SubParsersAction  # the type of what add_subparsers returns; argparse gives it no public name

UNSOUND = 78
"""Exit code of an unsound policy: EX_CONFIG of sysexits.h."""


def register(subparsers: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "check",
        help="every fault of a policy at once",
        description="Reads a policy and everything it names, and prints every fault as file:line:column: path: message. "
        "Exit 0: sound (warnings may stand there). Exit 78: unsound.",
    )
    parser.add_argument("policy", type=Path, metavar="POLICY", help="the policy file")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="json: one object with faults and warnings")
    parser.add_argument(
        "--print", action="store_true", dest="spelled", help="show the policy with presets spelled out and secrets as their ids"
    )
    parser.set_defaults(run=check)


def check(arguments: argparse.Namespace) -> int:
    """Run the verb."""
    try:
        loaded = read_policy(arguments.policy, os.environ)
    except PolicyError as error:
        _tell(_as_json(error.faults, ()) if arguments.format == "json" else "\n".join(map(str, error.faults)))
        return UNSOUND
    if arguments.spelled:
        _tell(printed(loaded.policy, Path(arguments.policy).parent).rstrip("\n"))
    elif arguments.format == "json":
        _tell(_as_json((), loaded.warnings))
    else:
        _tell(_summary(arguments.policy, loaded))
    return 0


def _summary(file: Path, loaded: Loaded) -> str:
    count = len(loaded.policy.routes)
    lines = [f"{file}: sound, {count} {'route' if count == 1 else 'routes'}"]
    return "\n".join(lines + [f"warning: {warning}" for warning in loaded.warnings])


def _as_json(faults: tuple[Fault, ...], warnings: tuple[Fault, ...]) -> str:
    tree = {"faults": [fault._asdict() for fault in faults], "warnings": [warning._asdict() for warning in warnings]}
    return orjson.dumps(tree, option=orjson.OPT_INDENT_2).decode()


def _tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
