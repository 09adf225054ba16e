"""The closed lists of judgement: rules, reasons, modes, outcomes, and what a rule may find.

A rule answers ``None`` (nothing wrong) or a ``Fail``. A reason is one word everywhere: metric label, log field,
documentation anchor. Statuses are those of the surface; a preset may change them where its provider demands it.

The enumerations take their hash from ``str``: they key the tables of the hot path, and Enum's own hash is a Python call.
"""

from enum import StrEnum
from typing import NamedTuple


class RuleName(StrEnum):
    """The rules, in running order."""

    __hash__ = str.__hash__

    TRANSPORT = "transport"
    IP = "ip"
    RATE = "rate"
    SIZE = "size"
    CONTENT = "content"
    SIGNATURE = "signature"
    TIMESTAMP = "timestamp"
    REPLAY = "replay"
    SCHEMA = "schema"


class Reason(StrEnum):
    """Why a request was not forwarded, or would not have been."""

    __hash__ = str.__hash__

    NONE = "none"
    HANDSHAKE = "handshake"  # answered in the bot's place: the sender only checked the address
    # Walls: HTTP itself. They have no mode and no switch.
    MALFORMED_REQUEST = "malformed_request"
    UNSUPPORTED_FRAMING = "unsupported_framing"
    HEADER_TOO_LARGE = "header_too_large"
    URI_TOO_LONG = "uri_too_long"
    REQUEST_TIMEOUT = "request_timeout"
    EXPECTATION_FAILED = "expectation_failed"
    CLIENT_ABORTED = "client_aborted"
    OVERLOADED = "overloaded"
    UNKNOWN_ROUTE = "unknown_route"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    LENGTH_REQUIRED = "length_required"
    # Rules.
    TLS_REQUIRED = "tls_required"
    CLIENT_CERTIFICATE_MISSING = "client_certificate_missing"
    CLIENT_CERTIFICATE_REJECTED = "client_certificate_rejected"
    IP_DENIED = "ip_denied"
    RATE_LIMITED = "rate_limited"
    BODY_TOO_LARGE = "body_too_large"
    CONTENT_TYPE_REFUSED = "content_type_refused"
    CONTENT_ENCODING_REFUSED = "content_encoding_refused"
    SIGNATURE_MISSING = "signature_missing"
    SIGNATURE_MALFORMED = "signature_malformed"
    SIGNATURE_MISMATCH = "signature_mismatch"
    TIMESTAMP_MISSING = "timestamp_missing"
    TIMESTAMP_MALFORMED = "timestamp_malformed"
    TIMESTAMP_EXPIRED = "timestamp_expired"
    TIMESTAMP_FUTURE = "timestamp_future"
    REPLAY_DUPLICATE = "replay_duplicate"
    REPLAY_IN_FLIGHT = "replay_in_flight"
    REPLAY_CONFLICT = "replay_conflict"
    REPLAY_KEY_MISSING = "replay_key_missing"
    PAYLOAD_NOT_JSON = "payload_not_json"
    PAYLOAD_INVALID = "payload_invalid"
    STORE_UNREACHABLE = "store_unreachable"
    KEYS_UNREACHABLE = "keys_unreachable"
    # The far side, and ourselves.
    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    UPSTREAM_PROTOCOL = "upstream_protocol"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    RULE_BROKE = "rule_broke"


class Outcome(StrEnum):
    """How an exchange ended."""

    __hash__ = str.__hash__

    FORWARDED = "forwarded"
    REFUSED = "refused"
    DUPLICATE = "duplicate"
    FAILED = "failed"
    ANSWERED = "answered"


STATUS: dict[Reason, int] = {
    Reason.NONE: 200,
    Reason.HANDSHAKE: 200,
    Reason.MALFORMED_REQUEST: 400,
    Reason.UNSUPPORTED_FRAMING: 400,
    Reason.HEADER_TOO_LARGE: 431,
    Reason.URI_TOO_LONG: 414,
    Reason.REQUEST_TIMEOUT: 408,
    Reason.EXPECTATION_FAILED: 417,
    Reason.CLIENT_ABORTED: 400,
    Reason.OVERLOADED: 503,
    Reason.UNKNOWN_ROUTE: 404,
    Reason.METHOD_NOT_ALLOWED: 405,
    Reason.LENGTH_REQUIRED: 411,
    Reason.TLS_REQUIRED: 403,
    Reason.CLIENT_CERTIFICATE_MISSING: 403,
    Reason.CLIENT_CERTIFICATE_REJECTED: 403,
    Reason.IP_DENIED: 403,
    Reason.RATE_LIMITED: 429,
    Reason.BODY_TOO_LARGE: 413,
    Reason.CONTENT_TYPE_REFUSED: 415,
    Reason.CONTENT_ENCODING_REFUSED: 415,
    Reason.SIGNATURE_MISSING: 401,
    Reason.SIGNATURE_MALFORMED: 401,
    Reason.SIGNATURE_MISMATCH: 401,
    Reason.TIMESTAMP_MISSING: 401,
    Reason.TIMESTAMP_MALFORMED: 401,
    Reason.TIMESTAMP_EXPIRED: 401,
    Reason.TIMESTAMP_FUTURE: 401,
    Reason.REPLAY_DUPLICATE: 200,
    Reason.REPLAY_IN_FLIGHT: 503,
    Reason.REPLAY_CONFLICT: 409,
    Reason.REPLAY_KEY_MISSING: 400,
    Reason.PAYLOAD_NOT_JSON: 400,
    Reason.PAYLOAD_INVALID: 422,
    Reason.STORE_UNREACHABLE: 503,
    Reason.KEYS_UNREACHABLE: 503,
    Reason.UPSTREAM_UNREACHABLE: 502,
    Reason.UPSTREAM_PROTOCOL: 502,
    Reason.UPSTREAM_TIMEOUT: 504,
    Reason.RULE_BROKE: 500,
}

CLOSES: frozenset[Reason] = frozenset({
    Reason.MALFORMED_REQUEST, Reason.UNSUPPORTED_FRAMING, Reason.HEADER_TOO_LARGE, Reason.URI_TOO_LONG,
    Reason.REQUEST_TIMEOUT, Reason.EXPECTATION_FAILED, Reason.CLIENT_ABORTED,
})  # fmt: skip
"""Reasons after which a connection is never used again: its framing is in doubt."""

FAILURES: frozenset[Reason] = frozenset({
    Reason.UPSTREAM_UNREACHABLE, Reason.UPSTREAM_PROTOCOL, Reason.UPSTREAM_TIMEOUT, Reason.RULE_BROKE,
    Reason.STORE_UNREACHABLE, Reason.KEYS_UNREACHABLE, Reason.OVERLOADED,
})  # fmt: skip
"""Reasons that are nobody's forgery: we or the bot could not serve."""

UNROUTED: tuple[Reason, ...] = (
    Reason.MALFORMED_REQUEST,
    Reason.UNSUPPORTED_FRAMING,
    Reason.HEADER_TOO_LARGE,
    Reason.URI_TOO_LONG,
    Reason.REQUEST_TIMEOUT,
    Reason.EXPECTATION_FAILED,
    Reason.OVERLOADED,
    Reason.UNKNOWN_ROUTE,
    Reason.RATE_LIMITED,
    Reason.RULE_BROKE,
)
"""Reasons that can be found before a route is known (their route label is ``-``)."""

RULE_REASONS: dict[RuleName, tuple[Reason, ...]] = {
    RuleName.TRANSPORT: (
        Reason.TLS_REQUIRED,
        Reason.CLIENT_CERTIFICATE_MISSING,
        Reason.CLIENT_CERTIFICATE_REJECTED,
    ),
    RuleName.IP: (Reason.IP_DENIED,),
    RuleName.RATE: (Reason.RATE_LIMITED,),
    RuleName.SIZE: (Reason.BODY_TOO_LARGE,),
    RuleName.CONTENT: (Reason.CONTENT_TYPE_REFUSED, Reason.CONTENT_ENCODING_REFUSED),
    RuleName.SIGNATURE: (
        Reason.SIGNATURE_MISSING,
        Reason.SIGNATURE_MALFORMED,
        Reason.SIGNATURE_MISMATCH,
        Reason.KEYS_UNREACHABLE,
    ),
    RuleName.TIMESTAMP: (
        Reason.TIMESTAMP_MISSING,
        Reason.TIMESTAMP_MALFORMED,
        Reason.TIMESTAMP_EXPIRED,
        Reason.TIMESTAMP_FUTURE,
    ),
    RuleName.REPLAY: (
        Reason.REPLAY_DUPLICATE,
        Reason.REPLAY_IN_FLIGHT,
        Reason.REPLAY_CONFLICT,
        Reason.REPLAY_KEY_MISSING,
        Reason.PAYLOAD_NOT_JSON,
        Reason.STORE_UNREACHABLE,
    ),
    RuleName.SCHEMA: (Reason.PAYLOAD_NOT_JSON, Reason.PAYLOAD_INVALID),
}
"""Which rule can find what (each can also find ``rule_broke``): the closed list behind the metric labels."""


def outcome_of(reason: Reason) -> Outcome:
    """The outcome that a reason stands for when it decided the exchange."""
    if reason is Reason.NONE:
        return Outcome.FORWARDED
    if reason is Reason.HANDSHAKE:
        return Outcome.ANSWERED
    if reason is Reason.REPLAY_DUPLICATE or reason is Reason.REPLAY_IN_FLIGHT:
        return Outcome.DUPLICATE
    return Outcome.FAILED if reason in FAILURES else Outcome.REFUSED


class Mode(StrEnum):
    """What a finding counts for: it refuses, it is only reported, or the rule does not run."""

    __hash__ = str.__hash__

    ENFORCE = "enforce"
    REPORT = "report"
    OFF = "off"


class Cause(StrEnum):
    """Why a signature did not match, as far as it could be told (never told to the caller)."""

    PREVIOUS_SECRET = "previous_secret"  # noqa: S105 - a word, not a secret
    SECRET_WHITESPACE = "secret_whitespace"  # noqa: S105 - a word, not a secret
    HEX_CASE = "hex_case"
    BASE64_FOR_HEX = "base64_for_hex"
    HEX_FOR_BASE64 = "hex_for_base64"
    BODY_DECODED = "body_decoded"
    BODY_RESERIALISED = "body_reserialised"
    LINE_ENDING = "line_ending"
    TRAILING_NEWLINE = "trailing_newline"
    WRONG_HEADER = "wrong_header"
    STALE_TIMESTAMP = "stale_timestamp"
    OTHER_ROUTE_SECRET = "other_route_secret"  # noqa: S105 - a word, not a secret
    UNKNOWN = "unknown"


class Answer(NamedTuple):
    """How one refusal is answered: a status of our own, or a silent acknowledgement.

    ``status`` 0 means the reason's usual one. ``retry_after`` is in whole seconds, 0 for none.
    ``acknowledge`` answers 200 with an empty body, so that the sender stops resending.
    """

    status: int = 0
    retry_after: int = 0
    acknowledge: bool = False


USUAL = Answer()


class Fail(NamedTuple):
    """What a rule found wrong."""

    reason: Reason
    answer: Answer = USUAL
    retry_after: int = 0
    """Seconds that this very finding asks the sender to wait; 0 leaves it to ``answer``."""
    cause: Cause = Cause.UNKNOWN
    in_doubt: bool = False
    """An earlier try may or may not have reached the bot, and this one will not."""


class Pass(NamedTuple):
    """Nothing wrong; ``secret`` is the id of the secret that matched, where one did."""

    secret: str = ""


PASS = Pass()

Verdict = Pass | Fail


class Finding(NamedTuple):
    """A rule's failed verdict with the mode that was in force for it."""

    rule: RuleName
    reason: Reason
    mode: Mode


class Said(NamedTuple):
    """What is answered in the bot's place."""

    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes


class Refusal(NamedTuple):
    """What decided: the request goes no further."""

    reason: Reason
    status: int
    retry_after: int = 0
    said: Said | None = None
    """Only with ``handshake``."""
