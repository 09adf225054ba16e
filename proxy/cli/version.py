"""``hookgate version``: what runs here."""

import argparse
import platform
import sys

from proxy import __version__


def register(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = verbs.add_parser("version", help="version, Python, parser", description="Shows what runs here.")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the versions that a report of a fault should name."""
    import aiohttp
    from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy

    import proxy.messages

    parser: object = HttpRequestParser
    kind = "pure Python: serve will refuse it" if parser is HttpRequestParserPy else "C (llhttp)"
    compiled = "no" if (proxy.messages.__file__ or "").endswith(".py") else "yes"
    sys.stdout.write(
        f"hookgate {__version__}\nPython {platform.python_version()}\nparser: aiohttp {aiohttp.__version__}, {kind}\n"
        f"compiled: {compiled}\n"
    )
    return 0
