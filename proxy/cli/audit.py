"""``hookgate audit verify``: finds any line of an audit that was changed, removed or moved."""

import argparse
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from proxy.cli.check import Subparsers
from proxy.errors import HookgateError
from proxy.observe.chain import ORIGIN, Break, Chain, Followed, follow

_MOST_TOLD = 20

_DESCRIPTION = """\
Follows the chain of an audit from its first line and names each line that was changed, or that does not follow the one above
it. Several files, the oldest first, are followed as one chain.

What a chain cannot show by itself: that lines are missing at its end. Keep the last digest that this prints somewhere else, and
give it as --last DIGEST the next time: it must still be there. Without a key, whoever can write the file can make a whole new
chain; with audit.key in the policy nobody can without it.

Exit 0: whole. 1: not, or it cannot be read."""


def register(subparsers: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = subparsers.add_parser("audit", help="verifies an audit file", description="The audit of a gate.")
    words = parser.add_subparsers(dest="word", metavar="WORD", required=True)
    verify = words.add_parser(
        "verify",
        help="find any line changed, removed or moved",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verify.add_argument("files", nargs="+", type=Path, metavar="FILE", help="the audit file; rotated ones before it")
    key = verify.add_mutually_exclusive_group()
    key.add_argument("--key-file", type=Path, metavar="FILE", help="file with the audit's key")
    key.add_argument("--key-env", metavar="NAME", help="environment variable with the audit's key")
    verify.add_argument("--after", type=_digest, default=ORIGIN.digest, metavar="DIGEST", help="what the first line must follow")
    verify.add_argument(
        "--last", type=_digest, metavar="DIGEST", help="a line's digest known from before: it must be there still"
    )
    verify.set_defaults(run=run)


def _digest(text: str) -> str:
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise argparse.ArgumentTypeError("a digest is 64 characters of 0-9 a-f, as this command prints it")
    return text


def run(arguments: argparse.Namespace) -> int:
    """Follow the chain; 0 when it is whole."""
    chain = Chain(_key(arguments))
    breaks, known = 0, arguments.last in {None, arguments.after}
    try:
        for found in follow(chain, _lines(arguments.files), arguments.after):
            if isinstance(found, Break):
                breaks += 1
                if breaks <= _MOST_TOLD:
                    sys.stdout.write(f"line {found.number} {found.why}\n")
            else:
                _sum_up(found, breaks)
        known = known or any(chain.digest_of(line) == arguments.last for line in _lines(arguments.files))
    except OSError as error:
        raise HookgateError(f"{error.filename} cannot be read: {(error.strerror or 'unknown reason').lower()}") from None
    if not known:
        sys.stdout.write(
            "the line of the digest given with --last is not there: lines were removed at the end, or all were made anew\n"
        )
    return 1 if breaks or not known else 0


def _sum_up(found: Followed, breaks: int) -> None:
    if breaks > _MOST_TOLD:
        sys.stdout.write(f"... and {breaks - _MOST_TOLD} more\n")
    if found.torn:
        sys.stdout.write(f"{found.torn} unfinished by a crash, as the line after it says\n")
    whole = "whole" if not breaks else f"broken in {breaks} {'place' if breaks == 1 else 'places'}"
    sys.stdout.write(f"{found.lines} lines, {whole}; last {found.last.digest}\n")


def _key(arguments: argparse.Namespace) -> bytes:
    """The key as the gate reads it: one newline at a file's end is not part of it."""
    if arguments.key_env is not None:
        given = os.environb.get(os.fsencode(arguments.key_env))
        if not given:
            raise HookgateError(f"the audit's key is not there: environment variable {arguments.key_env} is not set")
        return given
    if arguments.key_file is None:
        return b""
    try:
        value: bytes = arguments.key_file.read_bytes()
    except OSError as error:
        raise HookgateError(
            f"the audit's key cannot be read from {arguments.key_file}: {(error.strerror or 'unknown reason').lower()}"
        ) from None
    value = value[:-2] if value.endswith(b"\r\n") else value.removesuffix(b"\n")
    if not value:
        raise HookgateError(f"the audit's key in {arguments.key_file} is empty")
    return value


def _lines(files: Iterable[Path]) -> Iterator[bytes]:
    for file in files:
        with file.open("rb") as opened:
            yield from opened
