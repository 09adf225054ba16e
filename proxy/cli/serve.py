"""``hookgate serve POLICY``: runs the gate until a signal ends it."""

import argparse
import signal
from pathlib import Path

_DESCRIPTION = """\
Runs the gate of a policy. One JSON line an exchange goes to stdout; metrics and probes to the policy's observe address.

signals: TERM and INT drain and exit 0 (a second INT exits at once), HUP reloads the policy whole or not at all,
QUIT writes the stacks to stderr and goes on. With several workers, signal the parent: it tells them."""

_MOST = 256


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "serve", help="runs the gate", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("policy", type=Path, metavar="POLICY", help="the policy file")
    parser.add_argument("--workers", type=_workers, metavar="N", help="processes that serve, whatever the policy says")
    parser.set_defaults(run=run)


def _workers(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST:
        raise argparse.ArgumentTypeError(f"wants a whole number from 1 to {_MOST}")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Serve; 0 after a drain that left no request behind."""
    # Until the policy is read there is nothing to reload, and the default would end us.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # Here, so that the other verbs do not load a web server: a container's probe runs one of them every few seconds.
    from proxy.footprint import lean

    lean()
    from proxy.cli.service import serve

    return serve(arguments.policy, arguments.workers)
