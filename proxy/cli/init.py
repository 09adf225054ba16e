"""``hookgate init``: a policy for one sender, and a file for each value of its secret.

What we may choose is fresh and random. What the sender alone can give (a public key, an application's id) is an empty file, and
the policy is unsound until that is filled in.
"""

import argparse
import base64
import re
import secrets
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter

from proxy.cli.check import Subparsers
from proxy.cli.secret import new_secret, write_private
from proxy.policy.faults import nearest
from proxy.policy.particular import TwilioSignature
from proxy.policy.presets import PROVIDERS, preset
from proxy.policy.schemes import AnySignature, Signature
from proxy.policy.signatures import PublicKeySignature, SignatureSettings, TemplateSignature
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
{url}{secrets}{rules}"""
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
        description="Writes DIR/policy.yaml and DIR/secrets/PROVIDER (mode 0600), or a file PROVIDER-NAME for each value where "
        "the secret has several; never overwrites. What the sender alone can give is an empty file.",
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
    policy, values = directory / "policy.yaml", _values(name)
    files = {directory / "secrets" / value.file: value for value in values}
    for file in (policy, *files):
        if file.exists() or file.is_symlink():
            return _refuse(f"{file} exists already; nothing was written", 1)
    try:
        (directory / "secrets" if files else directory).mkdir(mode=0o700, parents=True, exist_ok=True)
        for file, value in files.items():
            write_private(file, f"{value.fresh}\n" if value.fresh else "")
        write_private(policy, _policy_text(name, upstream, values))
    except OSError as error:
        return _refuse(f"{error.filename or directory}: {error.strerror}", 1)
    sys.stdout.write(_next_steps(name, policy, files))
    return 0


class Value(NamedTuple):
    """One value of the secret."""

    name: str
    """Empty where the secret is one value."""
    file: str
    fresh: str
    """Empty where the sender alone can give it."""

    def __repr__(self) -> str:
        return f"<value {self.file}>"


def _values(name: str) -> list[Value]:
    signature = _signature(name)
    if signature is None:
        return [Value("", name, new_secret())]
    if not signature.needs_secrets:
        return []
    needed = [one for one in signature.value_names() if one not in signature.OPTIONAL_VALUES]
    if not needed:
        return [Value("", name, "" if isinstance(signature, PublicKeySignature) else _fresh(name, signature))]
    given = signature.open_values()
    return [Value(one, f"{name}-{one}", "" if one in given else _fresh_value(one)) for one in needed]


def _fresh(name: str, signature: SignatureSettings) -> str:
    """A secret in the form that the sender writes it in."""
    facts, random = preset(name).secret, secrets.token_bytes(32)
    encoded = base64.b64encode(random).decode()
    if getattr(signature, "key", "") == "whsec":
        return f"whsec_{encoded}"
    for form in (new_secret(), random.hex(), random[:16].hex(), encoded):
        long = facts.longest is not None and len(form) > facts.longest
        foreign = facts.alphabet is not None and not re.fullmatch(rf"[{facts.alphabet}]*", form)
        if not (long or foreign or signature.key_fault(form.encode())):
            return form
    return ""


def _fresh_value(name: str) -> str:
    """One of several: letters and digits, which every sender takes."""
    if name == "aes_key":  # 32 bytes in base64 without its padding, as WeCom and DingTalk write them
        return base64.b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    return secrets.token_hex(16)


def _signature(name: str) -> SignatureSettings | None:
    rules = preset(name).route.get("rules")
    written = rules.get("signature") if isinstance(rules, dict) else None
    adapter: TypeAdapter[Signature] = TypeAdapter(Signature)
    return adapter.validate_python(written) if written is not None else None


def _signs_url(signature: SignatureSettings | None) -> bool:
    ways = [one.signature for one in signature.of] if isinstance(signature, AnySignature) else [signature]
    return any(isinstance(one, TwilioSignature) or (isinstance(one, TemplateSignature) and "url" in one.places) for one in ways)


def _policy_text(name: str, upstream: str, values: list[Value]) -> str:
    path = f"/{name}/{secrets.token_urlsafe(18)}"
    public = f"https://bot.example.com{path}"
    return _POLICY.format(
        about=preset(name).about,
        name=name,
        upstream=upstream,
        path=path,
        url=_URL.format(public=public, name=name) if _signs_url(_signature(name)) else "",
        secrets=_secrets_text(values),
        rules=_GENERIC_RULES if name == "generic" else "",
    )


def _secrets_text(values: list[Value]) -> str:
    today = time.strftime("%Y-%m-%d", time.gmtime())
    if not values:
        return ""
    if not values[0].name:
        return f'    secrets:\n      - {{id: "{today}", from_file: secrets/{values[0].file}}}\n'
    lines = [f"        {value.name}: {{from_file: secrets/{value.file}}}\n" for value in values]
    return f'    secrets:\n      - id: "{today}"\n{"".join(lines)}'


def _next_steps(name: str, policy: Path, files: Mapping[Path, Value]) -> str:
    facts = preset(name)
    fresh = " and ".join(str(file) for file, value in files.items() if value.fresh)
    empty = " and ".join(str(file) for file, value in files.items() if not value.fresh)
    advice = facts.secret.advice
    wrote = " and ".join(map(str, (policy, *files)))
    lines = [f"wrote {wrote} (readable by you alone)", "", "next:"]
    if empty:
        lines.append(f"  put what the sender gives you into {empty}, empty until then: {advice}")
    lines.append(f"  hookgate check {policy}")
    lines.append(f"  hookgate serve {policy}")
    lines.append(f"  give the sender the path that stands in {policy}" + (f" and the secret in {fresh}" if fresh else ""))
    if fresh and advice and not empty:
        lines.append(f"  where the sender makes the secret, put it into {fresh} instead: {advice}")
    if _signs_url(_signature(name)):
        lines.append(f"  public_url in {policy} is an example: write the address as the sender has it")
    if facts.page:
        lines.append(f"  how {name} is told: {facts.page}")
    return "\n".join(lines) + "\n"


def _refuse(message: str, code: int) -> int:
    sys.stderr.write(f"hookgate: {message}\n")
    return code
