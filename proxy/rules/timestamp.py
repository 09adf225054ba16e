"""The timestamp rule: not older than the tolerance, not further ahead than the future bound. Our clock was read at intake."""

import re
from datetime import datetime
from typing import Final

from proxy.messages import Request
from proxy.policy.model import TimestampRule
from proxy.rules.base import answer_of
from proxy.rules.keys import Read
from proxy.verdict import PASS, Fail, Reason, RuleName, Verdict

_DIGITS: Final = re.compile(rb"[0-9]{1,16}")
_RFC3339: Final = re.compile(rb"(\d{4}-\d\d-\d\d)[Tt](?!24)(\d\d:\d\d:\d\d)(?:\.(\d{1,12}))?(?:([Zz])|([+-]\d\d:\d\d))", re.ASCII)


class Timestamp:
    """``read`` finds the timestamp as written."""

    name: Final = RuleName.TIMESTAMP

    def __init__(self, settings: TimestampRule, read: Read) -> None:
        answer = answer_of(settings)
        self._read = read
        self._unit = settings.unit
        self._tolerance = settings.tolerance
        self._future = settings.future
        self._missing: Verdict = PASS if settings.when_missing == "pass" else Fail(Reason.TIMESTAMP_MISSING, answer)
        self._malformed = Fail(Reason.TIMESTAMP_MALFORMED, answer)
        self._expired = Fail(Reason.TIMESTAMP_EXPIRED, answer)
        self._ahead = Fail(Reason.TIMESTAMP_FUTURE, answer)

    def check(self, request: Request) -> Verdict:
        """Both bounds are inclusive: exactly ``tolerance`` seconds old still passes."""
        raw = self._read(request)
        if raw is None:
            return self._missing
        moment = parse(raw, self._unit)
        if moment is None:
            return self._malformed
        # A stamp in whole seconds is as old as our own whole second says.
        now = request.head.arrived if self._unit != "s" else float(int(request.head.arrived))
        if now - moment > self._tolerance:
            return self._expired
        return self._ahead if moment - now > self._future else PASS


def parse(raw: bytes, unit: str) -> float | None:
    """Unix seconds from digits or RFC 3339 text (any number of fraction digits); ``None`` for anything else."""
    if unit == "rfc3339":
        found = _RFC3339.fullmatch(raw)
        if found is None:
            return None
        fraction = float(b"0." + (found[3] or b"0"))
        zone = b"+00:00" if found[4] else found[5]
        try:
            return datetime.fromisoformat(b"%bT%b%b".__mod__((found[1], found[2], zone)).decode()).timestamp() + fraction
        except ValueError:
            return None
    if _DIGITS.fullmatch(raw) is None:
        return None
    return int(raw) / 1000 if unit == "ms" else float(raw)
