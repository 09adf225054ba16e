"""The one secret that a bot knows: it stands in for whichever of the route's tokens a request came with."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path as Folder

from proxy.policy.document import Path
from proxy.policy.faults import Complaint
from proxy.policy.model import Policy, Route, UpstreamSettings
from proxy.policy.secrets import WEAK_BYTES, Secret, read_secret, weakness
from proxy.policy.signatures import TokenSignature
from proxy.policy.values import SelectorKind


def token_header(route: Route) -> str | None:
    """The one header in which the route's token stands, in lower case; ``None`` where it has no such token."""
    signature = route.rules.signature
    if not isinstance(signature, TokenSignature) or signature.otherwise is not None:
        return None
    kind, name = signature.stand
    return name.lower() if kind is SelectorKind.HEADER and name and "|" not in name else None


def upstream_of(route: Route, policy: Policy) -> UpstreamSettings | None:
    """The bot of a route."""
    return route.upstream or policy.upstream


def read_upstream_secrets(
    policy: Policy, folder: Folder, environ: Mapping[str, str], whole: Callable[[int], bool]
) -> tuple[dict[str, Secret], list[Complaint]]:
    """By route, and what is wrong. ``whole``: whether no part of the route of this number was dropped for being wrong."""
    secrets: dict[str, Secret] = {}
    found: list[Complaint] = []
    read: dict[Path, tuple[Secret | None, list[Complaint]]] = {}
    for index, route in enumerate(policy.routes):
        upstream = upstream_of(route, policy)
        if upstream is None or upstream.secret is None:
            continue
        at: Path = ("routes", index, "upstream", "secret") if route.upstream is not None else ("upstream", "secret")
        if whole(index) and token_header(route) is None:
            why = f"stands in for a token in one header, and route {route.name!r} has {_scheme(route)}"
            found.append(Complaint(at, f"{why}: give such a route an upstream of its own, without secret"))
        if at not in read:
            read[at] = _read(upstream, at, folder, environ)
            found += read[at][1]
        secret = read[at][0]
        if secret is not None:
            secrets[route.name] = secret
    return secrets, found


def _scheme(route: Route) -> str:
    signature = route.rules.signature
    if signature is None:
        return "no signature rule"
    elsewhere = " in another place" if isinstance(signature, TokenSignature) else ""
    return f"scheme: {getattr(signature, 'scheme', 'another')}{elsewhere}"


def _read(
    upstream: UpstreamSettings, at: Path, folder: Folder, environ: Mapping[str, str]
) -> tuple[Secret | None, list[Complaint]]:
    assert upstream.secret is not None  # noqa: S101 - the caller asked
    try:
        value, created = read_secret(upstream.secret, folder, environ)
    except ValueError as error:
        return None, [Complaint(at, str(error))]
    return Secret("upstream", value, created=created), list(_faults(value, at))


def _faults(value: bytes, at: Path) -> Iterator[Complaint]:
    trouble = weakness(value) or (f"is shorter than {WEAK_BYTES} bytes" if len(value) < WEAK_BYTES else None)
    # RFC 9110 section 5.5: what a field's value may be and still be the same at the other end.
    if trouble is None and not re.fullmatch(rb"[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?", value):
        trouble = "cannot stand in a header: it has control characters, or white space at an end"
    if trouble:
        yield Complaint(at, f"the bot's secret {trouble}")
