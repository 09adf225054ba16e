"""Finished exchanges made by hand, and the facts of a moment."""

from typing import Any

from proxy.exchange import Exchange
from proxy.observe.metrics import Facts, RouteFacts, SecretFacts
from proxy.verdict import Cause, Outcome, Reason, RuleName, outcome_of
from tests.pipeline.judging import NOW

BOT = RouteFacts("bot", "telegram", tuple(RuleName), (SecretFacts("s0", 1_700_000_000.0), SecretFacts("s1", None)))


def exchange(reason: Reason = Reason.NONE, **facts: Any) -> Exchange:
    """An exchange that ended for this reason."""
    usual: dict[str, Any] = {
        "arrived": NOW,
        "request_id": "0123456789abcdef",
        "route": "bot",
        "peer": "198.51.100.7",
        "client": "198.51.100.7",
        "listed": False,
        "outcome": Outcome.FORWARDED if reason is Reason.NONE else outcome_of(reason),
        "reason": reason,
        "findings": (),
        "secret": "",
        "cause": Cause.UNKNOWN,
        "status": 200 if reason is Reason.NONE else 401,
        "size": 100,
        "update_type": "",
        "quarantined": False,
        "ambiguous": False,
        "total": 0.02,
        "verification": 0.0001,
        "upstream": 0.0199,
    }
    return Exchange(**{**usual, **facts})


def facts(**given: Any) -> Facts:
    """What the moment of a scrape tells."""
    usual: dict[str, Any] = {
        "in_flight": 1,
        "connections": 2,
        "entries": 3,
        "stances": {"bot": "enforce"},
        "switch": False,
        "policy": "0" * 64,
        "reloaded": True,
        "reloaded_at": NOW,
        "certificate_expiry": NOW + 86400,
        "insecure": 0,
        "version": "1.0",
        "python": "3.11",
        "log_dropped": 0,
    }
    return Facts(**{**usual, **given})
