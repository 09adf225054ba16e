"""``hookgate schema``: the policy file's JSON Schema, for editors."""

import argparse
import sys

import orjson

from proxy.cli.check import Subparsers
from proxy.policy.editor import policy_schema


def register(subparsers: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "schema",
        help="the policy's JSON Schema, for editors",
        description="Prints the JSON Schema (draft-07) of the policy file. Save it beside a policy and name it in the policy's "
        "first line: # yaml-language-server: $schema=policy.schema.json",
    )
    parser.set_defaults(run=schema)


def schema(arguments: argparse.Namespace) -> int:
    """Run the verb."""
    sys.stdout.write(orjson.dumps(policy_schema(), option=orjson.OPT_INDENT_2).decode() + "\n")
    return 0
