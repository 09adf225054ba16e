"""What a rule is: a small object whose one method answers ``Pass`` or ``Fail``. The gate decides what a ``Fail`` counts for."""

from collections.abc import Awaitable
from typing import Protocol, runtime_checkable

from proxy.messages import Head, Request
from proxy.policy.settings import RuleSettings
from proxy.policy.signatures import SignatureSettings
from proxy.verdict import PASS, Answer, Fail, Reason, RuleName, Verdict


class HeadRule(Protocol):
    """Judges the head alone, before the body is read."""

    @property
    def name(self) -> RuleName:
        """Which rule of the closed list it is."""

    def check(self, head: Head) -> Verdict:
        """Judge; never raises, never blocks."""


class BodyRule(Protocol):
    """Judges head and whole body."""

    @property
    def name(self) -> RuleName:
        """Which rule of the closed list it is."""

    def check(self, request: Request) -> Verdict:
        """Judge; never raises, never blocks."""


@runtime_checkable
class Prepares(Protocol):
    """A rule whose keys stand elsewhere: it judges with what is at hand, and says before what is worth waiting for."""

    def prepare(self, request: Request) -> Awaitable[None] | None:
        """What to wait for before this request is judged, a few seconds at most; mostly ``None``."""


def answer_of(settings: RuleSettings) -> Answer:
    """How the policy wants this rule's refusals answered."""
    answer = settings.answer
    return Answer(answer.status or 0, answer.retry_after or 0, answer.acknowledge)


def verdicts_on(settings: SignatureSettings) -> tuple[Verdict, Fail, Fail]:
    """What a signature rule says of a signature that is absent, malformed, or made with none of the secrets, in this order."""
    answer = answer_of(settings)
    absent: Verdict = PASS if settings.when_missing == "pass" else Fail(Reason.SIGNATURE_MISSING, answer)
    return absent, Fail(Reason.SIGNATURE_MALFORMED, answer), Fail(Reason.SIGNATURE_MISMATCH, answer)
