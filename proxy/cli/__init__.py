"""The command line: one file a verb.

Exit codes: 0 fine, 1 it ran and found a problem, 2 wrong usage, 78 the policy is unsound.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Final

from proxy import __version__
from proxy.errors import HookgateError, PolicyError

VERBS: Final = (
    "serve", "check", "explain", "sign", "demo", "init", "schema", "mode", "secret", "telegram", "audit", "healthcheck", "version"
)  # fmt: skip
_EPILOG: Final = "Each verb explains itself: hookgate VERB --help"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; no traceback ever reaches a user for what a user can mend."""
    parser = argparse.ArgumentParser(
        prog="hookgate",
        description="An edge verification proxy for bots: lets through only what the provider really sent, byte for byte, once.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"hookgate {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for verb in _needed(sys.argv[1:] if argv is None else argv):
        importlib.import_module(f"proxy.cli.{verb}").register(verbs)
    _open_closed_streams()
    arguments = parser.parse_args(argv)
    try:
        result: int = arguments.run(arguments)
        sys.stdout.flush()  # here, or a reader who has gone is found out at the very end, where nobody can say it well
    except PolicyError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's answer
        return 78
    except HookgateError as error:
        print(f"hookgate: {error}", file=sys.stderr)  # noqa: T201 - a command's answer
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _drop_unwritten()
        return 1
    except OSError as error:
        named = f"{error.filename}: " if error.filename else ""
        print(f"hookgate: {named}{error.strerror or type(error).__name__}", file=sys.stderr)  # noqa: T201 - a command's answer
        _drop_unwritten()
        return 1
    return result


def _drop_unwritten() -> None:
    """What standard output does not take, Python would try to write once more at its end, and complain in its own words."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _needed(argv: Sequence[str]) -> Sequence[str]:
    """The verb that is asked for, or all where none is. A health check every few seconds must not load what it does not use."""
    asked = next((word for word in argv if not word.startswith("-")), "")
    return (asked,) if asked in VERBS else VERBS


def _open_closed_streams() -> None:
    """SECURITY: where a caller closed them, the next sockets would take the numbers 0 to 2, and log lines would go there."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
