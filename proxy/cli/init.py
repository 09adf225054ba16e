"""``hookgate init``: a policy for one sender and a fresh secret beside it, ready to serve."""

import argparse
import base64
import secrets
import sys
import time
from pathlib import Path

from proxy.cli.check import Subparsers
from proxy.cli.secret import new_secret, write_private
from proxy.policy.faults import nearest
from proxy.policy.presets import PROVIDERS, preset
from proxy.policy.values import Target

_POLICY = """\
# {about}
version: 1
listen: {{address: 127.0.0.1:8080}}            # plain HTTP: put a TLS terminator in front, or give tls: {{certificate, key}}
upstream: {{url: "{upstream}"}}
routes:
  - name: {name}
    path: {path}    # cannot be guessed: treat it as a secret
    provider: {name}
{url}    secrets:
      - {{id: "{today}", from_file: secrets/{name}}}
{rules}"""
_URL = """\
    public_url: {public}    # as registered with {name}, to the letter: it is signed
"""
_GENERIC_RULES = """\
    rules:
      size: {max: 1MiB}
      signature:                               # as your sender's page describes it
        scheme: hmac
        header: X-Signature
        algorithm: sha256
        encoding: hex
        template: "{body}"
      replay: {key: "body:sha256", window: 24h}
"""


def register(subparsers: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "init",
        help="write a policy and a fresh secret",
        description="Writes DIR/policy.yaml and DIR/secrets/PROVIDER (mode 0600); never overwrites.",
    )
    parser.add_argument("provider", metavar="PROVIDER", help="who sends: " + ", ".join(PROVIDERS))
    parser.add_argument("--upstream", metavar="URL", default="http://127.0.0.1:8081", help="the bot (default %(default)s)")
    parser.add_argument("--directory", type=Path, metavar="DIR", default=Path(), help="where to write (default: here)")
    parser.set_defaults(run=init)


def init(arguments: argparse.Namespace) -> int:
    """Run the verb."""
    name, directory = arguments.provider, arguments.directory
    if name not in PROVIDERS:
        return _refuse(f"unknown provider {name!r}{nearest(name, PROVIDERS) or '; there are ' + ', '.join(PROVIDERS)}", 2)
    try:
        upstream = str(Target.parse(arguments.upstream))
    except ValueError as error:
        return _refuse(f"--upstream {error}", 2)
    policy, secret = directory / "policy.yaml", directory / "secrets" / name
    for file in (policy, secret):
        if file.exists() or file.is_symlink():
            return _refuse(f"{file} exists already; nothing was written", 1)
    try:
        secret.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(secret, f"{_fresh(name)}\n")
        write_private(policy, _policy_text(name, upstream))
    except OSError as error:
        return _refuse(f"{error.filename or directory}: {error.strerror}", 1)
    sys.stdout.write(_next_steps(name, policy, secret))
    return 0


def _fresh(name: str) -> str:
    """A secret in the form that the sender writes it in."""
    secret = secrets.token_bytes(32)
    match _signature(name).get("key"):
        case "hex":
            return secret.hex()
        case "base64":
            return base64.b64encode(secret).decode()
        case "whsec":
            return f"whsec_{base64.b64encode(secret).decode()}"
        case _:
            return new_secret()


def _signature(name: str) -> dict[str, object]:
    rules = preset(name).route.get("rules")
    signature = rules.get("signature") if isinstance(rules, dict) else None
    return signature if isinstance(signature, dict) else {}


def _policy_text(name: str, upstream: str) -> str:
    path = f"/{name}/{secrets.token_urlsafe(18)}"
    signs_url = "{url}" in str(_signature(name).get("template"))
    return _POLICY.format(
        about=preset(name).about,
        name=name,
        upstream=upstream,
        path=path,
        url=_URL.format(public=f"https://bot.example.com{path}", name=name) if signs_url else "",
        today=time.strftime("%Y-%m-%d", time.gmtime()),
        rules=_GENERIC_RULES if name == "generic" else "",
    )


def _next_steps(name: str, policy: Path, secret: Path) -> str:
    facts = preset(name)
    lines = [f"wrote {policy} and {secret} (both readable by you alone)", "", "next:"]
    lines.append(f"  hookgate check {policy}")
    lines.append(f"  hookgate serve {policy}")
    lines.append(f"  give the sender the path that stands in {policy} and the secret in {secret}")
    if facts.secret.advice:
        lines.append(f"  where the sender makes the secret, put it into {secret} instead: {facts.secret.advice}")
    if facts.page:
        lines.append(f"  how {name} is told: {facts.page}")
    return "\n".join(lines) + "\n"


def _refuse(message: str, code: int) -> int:
    sys.stderr.write(f"hookgate: {message}\n")
    return code
