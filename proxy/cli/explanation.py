"""What ``hookgate explain`` says. Shows words of closed lists, ids and addresses, never a value."""

import asyncio
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson

from proxy.edge.rehearsal import Rehearsal, rehearse
from proxy.networks import Address
from proxy.policy.model import Policy
from proxy.policy.reader import Loaded, read_policy
from proxy.policy.values import format_instant
from proxy.verdict import Cause, Outcome, Reason

_HINTS = {
    Reason.MALFORMED_REQUEST: "a wall of HTTP, in force in every mode: the request is not written as RFC 9112 demands",
    Reason.UNSUPPORTED_FRAMING: "a wall of HTTP, in force in every mode: its Content-Length, Transfer-Encoding or Upgrade",
    Reason.CLIENT_ABORTED: "the saved request ends before its body does: compare Content-Length with what was saved",
    Reason.UNKNOWN_ROUTE: "no route has exactly this path, or it has a query string and the route does not say query: pass",
    Reason.METHOD_NOT_ALLOWED: "the route's methods do not name this one",
    Reason.LENGTH_REQUIRED: "neither Content-Length nor Transfer-Encoding is given",
    Reason.TLS_REQUIRED: "only X-Forwarded-Proto: https from a trusted proxy (--peer) shows that a saved request came over TLS",
    Reason.CLIENT_CERTIFICATE_MISSING: "a saved request has no client certificate, whatever the real one had",
    Reason.TIMESTAMP_EXPIRED: "--at UNIX_TIME judges as of the moment when it came",
    Reason.KEYS_UNREACHABLE: (
        "the keys stand elsewhere and explain asks no network: give them in the secret (jwks, or cert_pem) to judge by them"
    ),
    Reason.IP_DENIED: "--peer ADDRESS says who connected; X-Forwarded-For counts from a trusted proxy alone",
}


def explain(policy: Path, request: str, at: float, peer: Address, *, as_json: bool) -> int:
    """Explain the request in the file of that name; 0 when it would be forwarded."""
    try:
        raw = sys.stdin.buffer.read() if request == "-" else Path(request).read_bytes()
    except OSError as error:
        sys.stderr.write(f"hookgate: {request} cannot be read: {(error.strerror or 'unknown reason').lower()}\n")
        return 2
    loaded = read_policy(policy, os.environ, now=at)
    rehearsal = _rehearsed(loaded, raw, at, peer)
    if as_json:
        sys.stdout.write(orjson.dumps(_tree(rehearsal), option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        sys.stdout.write("\n".join(_lines(rehearsal, loaded.policy, at)) + "\n")
    return 0 if rehearsal.exchange.outcome in {Outcome.FORWARDED, Outcome.ANSWERED} else 1


def _rehearsed(loaded: Loaded, raw: bytes, at: float, peer: Address) -> Rehearsal:
    # SECURITY: the traceback of a rule that breaks may quote what it judged; that it broke is told as rule_broke.
    log = logging.getLogger("hookgate")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        return asyncio.run(rehearse(loaded, raw, at=at, peer=peer))
    finally:
        log.setLevel(level)


def _cause(rehearsal: Rehearsal) -> str:
    """The word of the log's ``cause``: empty where no signature was wrong."""
    wrong = any(found.reason is Reason.SIGNATURE_MISMATCH for found in rehearsal.exchange.findings)
    return rehearsal.exchange.cause.value if wrong or rehearsal.exchange.cause is not Cause.UNKNOWN else ""


def _tree(rehearsal: Rehearsal) -> dict[str, object]:
    exchange = rehearsal.exchange
    return {
        "outcome": exchange.outcome.value,
        "reason": exchange.reason.value,
        "cause": _cause(rehearsal),
        "route": exchange.route,
        "findings": [
            {"rule": one.rule.value, "reason": one.reason.value, "mode": one.mode.value, "microseconds": one.microseconds}
            for one in rehearsal.judged
            if one.reason is not None
        ],
    }


def _lines(rehearsal: Rehearsal, policy: Policy, at: float) -> Iterator[str]:
    exchange = rehearsal.exchange
    yield f"route {exchange.route}{_stance(rehearsal, policy)}; client {exchange.client}, peer {exchange.peer}"
    yield f"judged as of {format_instant(int(at))}"
    if rehearsal.judged:
        yield f"\n{'rule':<11}{'verdict':<27}{'mode':<9}{'microseconds':>12}"
    for one in rehearsal.judged:
        secret = f" (secret {exchange.secret})" if one.rule == "signature" and exchange.secret else ""
        verdict = "not reached" if one.reason is None else "pass" + secret if one.reason is Reason.NONE else one.reason.value
        took = f"{one.microseconds:.1f}" if one.reason is not None else "-"
        yield f"{one.rule.value:<11}{verdict:<26} {one.mode.value:<9}{took:>12}"
    cause = _cause(rehearsal)
    yield ""
    if exchange.outcome is Outcome.FORWARDED:
        reported = f"; {len(exchange.findings)} reported" if exchange.findings else ""
        yield f"it would be forwarded{reported}" + (f"; cause of the mismatch: {cause}" if cause else "")
    elif exchange.outcome is Outcome.ANSWERED:
        yield f"it would be answered here, {exchange.status}: the sender only checks the address (handshake: answer)"
    else:
        yield f"{exchange.outcome.value}: {exchange.reason.value}, answered {exchange.status}" + (
            f"; cause: {cause}" if cause else ""
        )
    yield from _notes(rehearsal)


def _stance(rehearsal: Rehearsal, policy: Policy) -> str:
    """The route's mode, and for a share on which side of it this body falls."""
    route = next((one for one in policy.routes if one.name == rehearsal.exchange.route), None)
    if route is None or rehearsal.base is None:
        return ""
    stance = route.mode or policy.mode
    return f", mode {stance}" + (f" (for this body: {rehearsal.base.value})" if stance.share < 100 else "")


def _notes(rehearsal: Rehearsal) -> Iterator[str]:
    hint = _HINTS.get(rehearsal.exchange.reason)
    if hint:
        yield f"  {hint}"
    if any(one.rule == "replay" and one.reason is not None for one in rehearsal.judged):
        yield "  replay was judged against an empty store: a repeat of a delivered request looks new here"
    if rehearsal.more:
        yield "  something stands behind the first request in what was saved; it was not explained"
