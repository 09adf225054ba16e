"""What is noted of one exchange while it goes on, and what observers are told of it when it has ended."""

import time
from typing import Final

from proxy.edge.intake import Intake
from proxy.exchange import Exchange
from proxy.messages import Head
from proxy.pipeline.gate import Gate, Judgement, Permit
from proxy.verdict import STATUS, Cause, Outcome, Reason, outcome_of

# An Enum's class looks its members up a hundred times slower than a module its globals.
_NONE: Final = Reason.NONE
_FORWARDED: Final = Outcome.FORWARDED
_UNKNOWN: Final = Cause.UNKNOWN


class Story:
    """The facts of one exchange. What it begins with stands on the class: most stories change little of it."""

    head: Head | None = None
    route: Gate | None = None
    judgement: Judgement | None = None
    permit: Permit | None = None
    reason = _NONE
    status = 0
    size = 0
    upstream = 0.0
    waited = 0.0

    def __init__(self, request_id: bytes) -> None:
        self.arrived = time.time()
        self.started = time.monotonic()
        self.request_id = request_id


def exchange_of(line: Intake, story: Story) -> Exchange:
    """The finished story."""
    if story.permit is not None and story.reason is _NONE:
        return _forwarded(line, story, story.permit)
    head, gate, judgement, permit = story.head, story.route, story.judgement, story.permit
    total = time.monotonic() - story.started
    forwarded = story.reason is _NONE
    findings = tuple(judgement.findings) if judgement else ()
    return Exchange(
        story.arrived,
        story.request_id.decode(),
        gate.name if gate else "-",
        line.wire.peer.text,
        head.client.text if head else line.wire.origin.text,
        bool(findings) and gate is not None and head is not None and gate.senders(head),
        Outcome.FORWARDED if forwarded else outcome_of(story.reason),
        story.reason,
        findings,
        judgement.secret if judgement else "",
        Cause.UNKNOWN,
        story.status,
        story.size,
        "",
        not forwarded and STATUS[story.reason] >= 300 and story.status < 300,
        (permit is not None and permit.reserved.in_doubt) or (judgement is not None and judgement.in_doubt),
        total,
        total - story.upstream - story.waited,
        story.upstream,
    )


def _forwarded(line: Intake, story: Story, permit: Permit) -> Exchange:
    """The usual end. In one step, without the call that a NamedTuple makes of it."""
    gate, judgement = story.route, story.judgement
    assert gate is not None and judgement is not None  # noqa: S101 - a permit comes of them
    head = permit.request.head
    total = time.monotonic() - story.started
    return tuple.__new__(
        Exchange,
        (
            story.arrived,
            story.request_id.decode(),
            gate.name,
            line.wire.peer.text,
            head.client.text,
            bool(permit.reported) and gate.senders(head),
            _FORWARDED,
            _NONE,
            permit.reported,
            judgement.secret,
            _UNKNOWN,
            story.status,
            story.size,
            gate.event(permit.request),
            False,
            permit.reserved.in_doubt or judgement.in_doubt,
            total,
            total - story.upstream - story.waited,
            story.upstream,
        ),
    )
