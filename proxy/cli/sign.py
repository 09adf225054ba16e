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
from proxy.policy.model import Policy, Route
from proxy.policy.reader import read_policy
from proxy.rules.signing import Genuine, genuine

_DESCRIPTION = """\
Makes a genuine request for a route, signed with its current secret, and writes it to standard output. Timestamps and ids
are made where they stand in a header; the body is sent as it is. To see what a gate would make of it:
  hookgate sign POLICY ROUTE --body FILE | hookgate explain POLICY -

The output is a credential: it holds the route's secret path and a signature, for a token route the secret itself."""

_OUTPUTS = """\
http (default): the raw bytes of the whole request. curl: a command whose secrets stand in curl's standard input (a
configuration in a here-document), never in its arguments, where every user of the machine could read them. headers: a
line for each header field, Host and Content-Length left out, as curl -H @FILE reads them"""


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
    parser.add_argument("--body", required=True, metavar="FILE", help="file with the body; - for stdin")
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
    try:
        body = sys.stdin.buffer.read() if arguments.body == "-" else Path(arguments.body).read_bytes()
        key = arguments.key.read_bytes() if arguments.key else None
    except OSError as error:
        return _refuse(f"{error.filename} cannot be read: {(error.strerror or 'unknown reason').lower()}")
    secrets = loaded.secrets[route.name]
    made = genuine(route, secrets, body, host=_host(policy, route), at=at, given=arguments.header, key=key)
    for note in made.notes:
        sys.stderr.write(f"hookgate: {note}\n")
    match arguments.output:
        case "curl":
            written = _curl(policy, route, made, Path(arguments.body).resolve())
        case "headers":
            written = b"".join(b"%b: %b\n" % field for field in _own(made))
        case _:
            written = made.raw()
    sys.stdout.buffer.write(written)
    sys.stdout.buffer.flush()
    return 0


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


def _curl(policy: Policy, route: Route, made: Genuine, body: Path) -> bytes:
    # SECURITY: arguments of a process are open to every user of the machine, so all that is secret goes through stdin.
    tls = b"https" if policy.listen.tls is not None else b"http"
    host = dict(made.fields)[b"Host"]
    url = route.public_url.encode() if route.public_url else b"%b://%b%b" % (tls, host, made.target)
    options = [(b"url", url), (b"request", made.method.encode()), *((b"header", b"%b: %b" % field) for field in _own(made))]
    if policy.listen.address.path and not route.public_url:
        options.append((b"unix-socket", os.fsencode(policy.listen.address.path)))
    options.append((b"data-binary", b"@" + os.fsencode(body)))
    lines = [b'%b = "%b"' % (name, _quoted(value)) for name, value in options]
    return b"\n".join([b"curl --config - <<'HOOKGATE'", b"include", b"globoff", b"path-as-is", *lines, b"HOOKGATE", b""])


def _quoted(value: bytes) -> bytes:
    """As curl's configuration wants what stands between quotes."""
    return value.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n").replace(b"\t", b"\\t")
