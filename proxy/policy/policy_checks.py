"""What must hold for a policy as a whole: names, addresses, the store, the walls. Files are checked in ``file_checks``."""

import re
from collections.abc import Iterator

from proxy.policy.document import Path
from proxy.policy.endpoints import Endpoint
from proxy.policy.faults import Complaint
from proxy.policy.model import Policy, UpstreamSettings
from proxy.policy.values import Target
from proxy.verdict import Mode

PIN = re.compile(r"sha256/[A-Za-z0-9+/]{43}=")
_SOCKET_PATH_BYTES = 107  # sun_path, unix(7), less its closing NUL

Complaints = Iterator[Complaint]


def policy_complaints(policy: Policy) -> Complaints:
    """Everything that is wrong above the routes, or between them; of an absolute policy."""
    yield from _repeated(policy)
    yield from _addresses(policy)
    yield from _listener(policy)
    yield from _admin(policy)
    yield from _workers_and_store(policy)
    yield from _limits(policy)
    if policy.mode.mode is Mode.OFF:
        yield Complaint(("mode",), "mode: off: no rule runs on any route that does not set its own mode", grave=False)
    for at, upstream in _upstreams(policy):
        yield from _upstream(upstream, at, policy)


def _upstreams(policy: Policy) -> Iterator[tuple[Path, UpstreamSettings]]:
    if policy.upstream is not None:
        yield ("upstream",), policy.upstream
    for index, route in enumerate(policy.routes):
        if route.upstream is not None:
            yield ("routes", index, "upstream"), route.upstream


def _repeated(policy: Policy) -> Complaints:
    names: dict[str, int] = {}
    paths: dict[str, str] = {}
    for index, route in enumerate(policy.routes):
        if names.setdefault(route.name, index) != index:
            yield Complaint(("routes", index, "name"), f"{route.name!r} is the name of routes[{names[route.name]}] too")
        if route.path in paths:
            yield Complaint(("routes", index, "path"), f"is the path of route {paths[route.path]!r} too")
        paths.setdefault(route.path, route.name)


def _addresses(policy: Policy) -> Complaints:
    own = {"listen": policy.listen.address, "observe": policy.observe.address, "admin": policy.admin.address}
    for name, address in own.items():
        yield from _socket_path(address.path, (name, "address"))
        if name != "listen" and address == own["listen"] and (address.path or address.port):
            yield Complaint((name, "address"), "is the address of listen too")
    if own["admin"] == own["observe"] and (own["admin"].path or own["admin"].port):
        yield Complaint(("admin", "address"), "is the address of observe too")


def _socket_path(path: str, at: Path) -> Complaints:
    if len(path.encode()) > _SOCKET_PATH_BYTES:
        yield Complaint(at, f"the path of a unix socket holds {_SOCKET_PATH_BYTES} bytes at most")


def _listener(policy: Policy) -> Complaints:
    listen = policy.listen
    if listen.proxy_protocol and not policy.trusted_proxies:
        yield Complaint(
            ("listen", "proxy_protocol"), "needs trusted_proxies: it is required from them, and taken from nobody else"
        )
    if listen.tls is None:
        return
    yield from _pins(listen.tls.client_pins, ("listen", "tls", "client_pins"))
    if listen.tls.client_pins and listen.tls.client_ca is None:
        yield Complaint(("listen", "tls", "client_pins"), "needs client_ca: without it no client certificate is verified")


def _pins(pins: tuple[str, ...], at: Path) -> Complaints:
    for index, pin in enumerate(pins):
        if not PIN.fullmatch(pin):
            yield Complaint((*at, index), "must be sha256/ and 44 characters of base64: the digest of the public key (RFC 7469)")


def _admin(policy: Policy) -> Complaints:
    if not policy.admin.address.path and policy.admin.token is None:
        yield Complaint(("admin", "address"), "a TCP address needs token: {from_file: ...}, or use unix:PATH")


def _workers_and_store(policy: Policy) -> Complaints:
    url = policy.store.url
    if policy.workers > 1 and url == "memory:":
        yield Complaint(("store", "url"), "memory: is not shared between workers; use sqlite:PATH or redis://HOST, or workers: 1")


def _limits(policy: Policy) -> Complaints:
    limits = policy.limits
    for name, value in limits:
        if value == 0 and name not in {"body_rate", "drain_delay", "drain_timeout", "answer_buffer"}:
            yield Complaint(("limits", name), "must be above zero")
    if limits.body_bytes > limits.buffered_bytes:
        yield Complaint(
            ("limits", "body_bytes"), f"is above buffered_bytes ({limits.buffered_bytes}): such a body could never be held"
        )
    if limits.connections_per_client > limits.connections:
        yield Complaint(("limits", "connections_per_client"), f"is above connections ({limits.connections})")
    if limits.uri_bytes > limits.header_bytes:
        yield Complaint(("limits", "uri_bytes"), f"is above header_bytes ({limits.header_bytes}), which counts the target too")


def _upstream(upstream: UpstreamSettings, at: Path, policy: Policy) -> Complaints:
    for name in ("timeout", "connect_timeout", "first_byte_timeout", "idle"):
        if getattr(upstream, name) == 0:
            yield Complaint((*at, name), "must be above zero")
    if upstream.breaker.open == 0:
        yield Complaint((*at, "breaker", "open"), "must be above zero; failures: 0 is a breaker that never opens")
    if upstream.first_byte_timeout is not None and upstream.first_byte_timeout > upstream.timeout:
        yield Complaint((*at, "first_byte_timeout"), "is above timeout, which holds for the whole answer")
    if not upstream.url.tls and (upstream.ca_file or upstream.pins):
        yield Complaint((*at, "url"), "ca_file and pins need https://")
    yield from _pins(upstream.pins, (*at, "pins"))
    yield from _socket_path(upstream.url.path, (*at, "url"))
    if _same(upstream.url, policy.listen.address):
        yield Complaint((*at, "url"), "is the address of listen: the gate would forward to itself")


def _same(target: Target, address: Endpoint) -> bool:
    if target.path or address.path:
        return target.path == address.path
    local = {"localhost", "127.0.0.1", "::1"}
    return (
        address.port != 0
        and target.port == address.port
        and (
            target.host == address.host
            or (address.host in {"0.0.0.0", "::"} and target.host in local)  # noqa: S104 - compared, not bound
            or {target.host, address.host} <= local
        )
    )
