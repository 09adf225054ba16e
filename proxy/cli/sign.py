"""``hookgate sign``: a genuine request for a route, to try a gate with. What it writes is a credential."""

import argparse
import os
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from proxy.cli.check import Subparsers
from proxy.cli.explain import moment
from proxy.messages import Field
from proxy.policy.endpoints import Endpoint
from proxy.policy.faults import nearest
from proxy.policy.handshakes import token_owner
from proxy.policy.model import Policy, Route
from proxy.policy.reader import Loaded, read_policy
from proxy.rules.signing import Check, Genuine, genuine

_DESCRIPTION = """\
Makes a genuine request for a route, signed with its current secret, and writes it to standard output. Timestamps and ids
are made where they stand in a header; the body is sent as it is. To see what a gate would make of it:
  hookgate sign POLICY ROUTE --body FILE | hookgate explain POLICY -

The output is a credential: it holds the route's secret path and a signature, for a token route the secret itself."""

_OUTPUTS = """\
http (default): the raw bytes of the whole request. curl: a command whose secrets stand in curl's standard input (a
configuration in a here-document), never in its arguments, where every user of the machine could read them. headers: a
line for each header field, Host and Content-Length left out, as curl -H @FILE reads them"""

_HANDSHAKE = """\
the sender's check of the address instead of an event, as its preset knows it (Slack's url_verification, Discord's ping),
signed where the sender signs it; NAME where the sender makes several kinds"""


def register(subparsers: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "sign",
        help="make a genuine request for a route",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("policy", type=Path, metavar="POLICY", help="the policy file")
    parser.add_argument("route", metavar="ROUTE", help="the route's name")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--body", metavar="FILE", help="file with the body; - for stdin")
    what.add_argument("--handshake", nargs="?", const="", metavar="NAME", help=_HANDSHAKE)
    parser.add_argument("--output", choices=("http", "curl", "headers"), default="http", help=_OUTPUTS)
    parser.add_argument("--header", type=_field, action="append", default=[], metavar="'NAME: VALUE'", help="a field to add")
    parser.add_argument("--key", type=Path, metavar="FILE", help="a private key (PEM), where the policy holds the public one")
    parser.add_argument(
        "--at", type=moment, metavar="UNIX_TIME", help="when it is sent: for timestamps and secrets (default: now)"
    )
    parser.set_defaults(run=run)


def _field(text: str) -> Field:
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or not value.strip():
        raise argparse.ArgumentTypeError("must be a field such as 'X-Event: ping'")
    if name.strip().lower() in {"host", "content-length", "transfer-encoding"}:
        raise argparse.ArgumentTypeError(f"{name.strip()} is made here")
    return os.fsencode(name.strip()), os.fsencode(value.strip())


def run(arguments: argparse.Namespace) -> int:
    """Sign; whoever reads standard output gets the request and nothing else."""
    at = time.time() if arguments.at is None else arguments.at
    loaded = read_policy(arguments.policy, os.environ, now=at)
    policy = loaded.policy
    routes = {route.name: route for route in policy.routes}
    route = routes.get(arguments.route)
    if route is None:
        near = nearest(arguments.route, routes) or f"; the routes are {', '.join(routes)}"
        return _refuse(f"the policy has no route {arguments.route!r}{near}")
    if arguments.output == "curl" and arguments.body == "-":
        return _refuse("--output curl needs a body that stands in a file: curl reads its secrets from standard input")
    check = _check(loaded, route, arguments.handshake)
    if isinstance(check, str):
        return _refuse(check)
    try:
        body = _read(arguments.body)
        key = _private(arguments.key) if arguments.key else None
    except OSError as error:
        return _refuse(f"{error.filename} cannot be read: {(error.strerror or 'unknown reason').lower()}")
    secrets = loaded.secrets[route.name]
    made = genuine(route, secrets, body, host=_host(policy, route), at=at, given=arguments.header, key=key, check=check)
    for note in made.notes:
        sys.stderr.write(f"hookgate: {note}\n")
    match arguments.output:
        case "curl":
            written = _curl(policy, route, made, Path(arguments.body).resolve() if made.body == body and arguments.body else None)
        case "headers":
            written = b"".join(b"%b: %b\n" % field for field in _own(made))
        case _:
            written = made.raw()
    sys.stdout.buffer.write(written)
    sys.stdout.buffer.flush()
    return 0


def _read(name: str | None) -> bytes:
    if name is None:
        return b""
    return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()


def _private(file: Path) -> object:
    from proxy.rules.privatekey import private_key

    return private_key(file.read_bytes())


def _check(loaded: Loaded, route: Route, name: str | None) -> Check | str | None:
    """The kind of check that is wanted, if one is, or why there is none such."""
    if name is None:
        return None
    kinds = {one.name: one for one in route.handshakes}
    known = f"; it knows {', '.join(kinds)}" if kinds else ""
    if not kinds:
        return f"route {route.name} knows no handshake: its sender does not check the address"
    if not name and len(kinds) > 1:
        return f"route {route.name} has several handshakes: give --handshake a name{known}"
    found = kinds.get(name or next(iter(kinds)))
    if found is None:
        return f"route {route.name} has no handshake {name!r}{nearest(name, kinds) or known}"
    token = loaded.secrets.get(token_owner(route.name), ())
    return Check(found, token[0].reveal() if token else b"")


def _refuse(message: str) -> int:
    sys.stderr.write(f"hookgate: {message}\n")
    return 2


def _host(policy: Policy, route: Route) -> bytes:
    """Where the sender calls: the public URL's authority, or the gate's own address as it can be reached from here."""
    if route.public_url is not None:
        return urlsplit(route.public_url).netloc.rpartition("@")[2].encode("idna")
    address = policy.listen.address
    if address.path:
        return b"localhost"
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)  # noqa: S104 - the other way round
    return str(Endpoint(reachable, address.port)).encode()


def _own(made: Genuine) -> list[Field]:
    """The fields that no client makes by itself."""
    return [(name, value) for name, value in made.fields if name.lower() not in {b"host", b"content-length"}]


def _curl(policy: Policy, route: Route, made: Genuine, body: Path | None) -> bytes:
    # SECURITY: arguments of a process are open to every user of the machine, so all that is secret goes through stdin.
    tls = b"https" if policy.listen.tls is not None else b"http"
    host = dict(made.fields)[b"Host"]
    url = route.public_url.encode() if route.public_url else b"%b://%b%b" % (tls, host, made.target)
    options = [(b"url", url), (b"request", made.method.encode()), *((b"header", b"%b: %b" % field) for field in _own(made))]
    if policy.listen.address.path and not route.public_url:
        options.append((b"unix-socket", os.fsencode(policy.listen.address.path)))
    if body is not None:
        options.append((b"data-binary", b"@" + os.fsencode(body)))
    elif made.body:
        options.append((b"data-raw", made.body))
    lines = [b'%b = "%b"' % (name, _quoted(value)) for name, value in options]
    return b"\n".join([b"curl --config - <<'HOOKGATE'", b"include", b"globoff", b"path-as-is", *lines, b"HOOKGATE", b""])


def _quoted(value: bytes) -> bytes:
    """As curl's configuration wants what stands between quotes."""
    return (
        value.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n").replace(b"\r", b"\\r").replace(b"\t", b"\\t")
    )
