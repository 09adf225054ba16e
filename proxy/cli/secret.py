"""``hookgate secret new``: a fresh secret, to standard output or into a file that only its owner can read."""

import argparse
import os
import secrets
import sys
from pathlib import Path

from proxy.cli.check import Subparsers

SECRET_BYTES = 32
"""Random bytes behind a secret; written as 43 characters that every sender accepts (A-Z a-z 0-9 _ -)."""


def register(subparsers: "Subparsers[argparse.ArgumentParser]") -> "Subparsers[argparse.ArgumentParser]":
    """Add the verb; further words of it can be added to what comes back."""
    parser = subparsers.add_parser("secret", help="make a secret", description="Secrets of routes.")
    words = parser.add_subparsers(dest="word", metavar="WORD", required=True)
    new = words.add_parser(
        "new",
        help="make a fresh secret",
        description="Prints 32 random bytes as 43 characters of A-Z a-z 0-9 _ -, or writes them to a new file of mode 0600.",
    )
    new.add_argument("--out", type=Path, metavar="FILE", help="a file that does not exist yet")
    new.set_defaults(run=secret_new)
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
