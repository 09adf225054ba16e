"""``hookgate explain``: judges a saved request, rule by rule."""

import argparse
import time
from pathlib import Path

from proxy.cli.check import Subparsers
from proxy.networks import UNIX, Address, parse_address

_DESCRIPTION = """\
Judges a saved raw HTTP request as the gate of this policy would, and shows each rule's verdict, mode and time. No store, bot
or network is asked: replay sees an empty store, rate a client that never came before. The switch of a running gate is not
looked at. Where the policy has TLS of its own, the request counts as having come over it, without a client certificate.

Exit 0: it would be forwarded. 1: it would not, or is no HTTP request. 78: the policy is unsound."""


def register(subparsers: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "explain",
        help="judge a saved request, rule by rule",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("policy", type=Path, metavar="POLICY", help="the policy file")
    parser.add_argument(
        "request", metavar="REQUEST", help="file with the raw request, head and body (no PROXY line); - for stdin"
    )
    parser.add_argument("--at", type=moment, metavar="UNIX_TIME", help="when it came: for timestamps and secrets (default: now)")
    parser.add_argument("--peer", type=_peer, default="127.0.0.1", metavar="ADDRESS", help="who connected (default %(default)s)")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="json: one object")
    parser.set_defaults(run=run)


def moment(text: str) -> float:
    """Unix seconds from a command line."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e11:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: give seconds since 1970, such as 1767225600")
    return seconds


def _peer(text: str) -> Address:
    found = UNIX if text == "unix" else parse_address(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no address: give an IP address, or unix")
    return found


def run(arguments: argparse.Namespace) -> int:
    """Explain; 0 when the request would be forwarded."""
    from proxy.cli.explanation import explain  # here, so that the other verbs do not load the edge

    at = time.time() if arguments.at is None else arguments.at
    return explain(arguments.policy, arguments.request, at, arguments.peer, as_json=arguments.format == "json")
