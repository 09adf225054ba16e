"""``hookgate demo``: a small bot and a gate in front of it; three requests show what passes and what does not."""

import argparse


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "demo",
        help="a small bot and a gate in front of it",
        description="Starts a small bot and a gate in front of it on loopback, sends a genuine, a forged and a repeated request,"
        " and prints what happened and the curl lines to do it again. Ctrl-C ends it.",
    )
    parser.add_argument("--once", action="store_true", help="exit after the three requests")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; 0 when the three requests ended as they should."""
    from proxy.cli.demonstration import demonstrate  # here, so that the other verbs do not load a web server

    return demonstrate(once=arguments.once)
