"""The small written forms of the policy, each parsed once: ``30s``, ``1MiB``, ``50/s``, ``5%``, ``json:/update_id``.

Each is an immutable value with a ``parse`` that raises ``ValueError`` with a sentence for the operator.
Nothing here knows YAML or pydantic's models.
"""

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, NamedTuple, Self

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from proxy.networks import NetworkSet, parse_network
from proxy.policy.endpoints import Endpoint
from proxy.verdict import Mode

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "kB": 1000, "KB": 1000, "MB": 1000**2}
_MIDNIGHT = re.compile(r"[Tt ]24")
"""Python 3.14 reads 24:00 as the next day's midnight, which RFC 3339 does not know."""
_RATE_UNIT = {"s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(value: object) -> float:
    """Seconds from ``500ms``, ``30s``, ``5m``, ``24h`` or ``7d``."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)(ms|s|m|h|d)", value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("must be a duration with a unit, such as 500ms, 30s, 5m or 24h")
    return float(found[1]) * _SECONDS[found[2]]


def format_duration(seconds: float) -> str:
    """The shortest form that ``parse_duration`` reads back: ``25h``, ``90s``, ``1500ms``."""
    for unit in ("h", "m", "s"):
        if seconds >= _SECONDS[unit] and seconds % _SECONDS[unit] == 0:
            return f"{seconds / _SECONDS[unit]:.0f}{unit}"
    return f"{seconds * 1000:g}ms" if seconds else "0s"


def parse_size(value: object) -> int:
    """Bytes from ``512KiB``, ``1MiB`` or a whole number."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = re.fullmatch(r"(\d{1,12})(B|KiB|MiB|GiB|kB|KB|MB)?", value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("must be a size, such as 512KiB, 1MiB or a number of bytes")
    return int(found[1]) * _BYTES[found[2] or "B"]


class Rate(NamedTuple):
    """So many requests in so many seconds."""

    requests: float
    seconds: float

    @classmethod
    def parse(cls, value: object) -> Self:
        """From ``50/s`` or ``600/min``."""
        if isinstance(value, cls):
            return value
        found = re.fullmatch(r"(\d{1,9})/(s|sec|min|m|h|d)", value) if isinstance(value, str) else None
        if found is None or int(found[1]) == 0:
            raise ValueError("must be a rate above zero, such as 50/s or 600/min")
        return cls(float(found[1]), _RATE_UNIT[found[2]])

    def __str__(self) -> str:
        unit = {1.0: "s", 60.0: "min", 3600.0: "h", 86400.0: "d"}[self.seconds]
        return f"{self.requests:.0f}/{unit}"


class Stance(NamedTuple):
    """What a route stands on: enforce, report, off, or enforce for a share of requests and report the rest."""

    mode: Mode
    share: int = 100
    """Percent of requests for which ``enforce`` holds; the others are reported. Only meaningful with enforce."""

    @classmethod
    def parse(cls, value: object) -> Self:
        """From ``enforce``, ``report``, ``off`` or ``5%``."""
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            if value in set(Mode):
                return cls(Mode(value))
            found = re.fullmatch(r"(\d{1,3})%", value)
            if found and int(found[1]) <= 100:
                return cls(Mode.ENFORCE, int(found[1])) if int(found[1]) else cls(Mode.REPORT)
        raise ValueError("must be enforce, report, off, or a share such as 5%")

    def __str__(self) -> str:
        return self.mode.value if self.mode is not Mode.ENFORCE or self.share == 100 else f"{self.share}%"


class SelectorKind(StrEnum):
    """Where a selector looks."""

    HEADER = "header"
    JSON = "json"
    QUERY = "query"
    FORM = "form"
    LIST = "list"
    BODY = "body"
    BASIC = "basic"


class Selector(NamedTuple):
    """One named value inside a request, such as ``json:/update_id`` or ``header:X-GitHub-Delivery``.

    ``header:webhook-id|svix-id`` is the one of them that a request has. ``list:t`` is the item ``t`` of the signature's own
    list; ``body:sha256`` is the digest of the whole body; ``basic:credentials`` is ``user:password`` and ``basic:password`` the
    second half of it (RFC 7617).
    """

    kind: SelectorKind
    argument: str

    @classmethod
    def parse(cls, value: object) -> Self:
        """From ``kind:argument``."""
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            kind, colon, argument = value.partition(":")
            if colon and kind in set(SelectorKind) and argument:
                selector = cls(SelectorKind(kind), argument)
                selector._check()
                return selector
        raise ValueError(
            "must name a place in the request: header:NAME, json:/POINTER, query:NAME, form:NAME, list:NAME, body:sha256 "
            "or basic:password"
        )

    def _check(self) -> None:
        if self.kind is SelectorKind.HEADER and not re.fullmatch(r"[A-Za-z0-9-]+(\|[A-Za-z0-9-]+)*", self.argument):
            raise ValueError(f"{self.argument!r} is not a header name (letters, digits and - only)")
        if self.kind is SelectorKind.JSON and not self.argument.startswith("/"):
            raise ValueError("a JSON pointer begins with /, as in json:/update_id (RFC 6901)")
        if self.kind is SelectorKind.BODY and self.argument != "sha256":
            raise ValueError("of the body only body:sha256 can be named")
        if self.kind is SelectorKind.BASIC and self.argument not in {"credentials", "password"}:
            raise ValueError("of basic authentication only basic:credentials and basic:password can be named")

    def __str__(self) -> str:
        return f"{self.kind.value}:{self.argument}"


class Condition(NamedTuple):
    """What must stand at a place of a request, such as ``query:hub.mode=subscribe``."""

    selector: Selector
    value: str

    @classmethod
    def parse(cls, value: object) -> Self:
        """From ``kind:argument=value``; the value begins after the first ``=``."""
        if isinstance(value, cls):
            return value
        place, mark, rest = value.partition("=") if isinstance(value, str) else ("", "", "")
        if not mark:
            raise ValueError("must be a place and what stands there: header:NAME=VALUE, query:NAME=VALUE or json:/POINTER=VALUE")
        return cls(Selector.parse(place), rest)

    def __str__(self) -> str:
        return f"{self.selector}={self.value}"


class Target(NamedTuple):
    """Where a bot answers: ``http://host:port``, ``https://host:port`` or ``unix:/path``."""

    tls: bool
    host: str
    port: int
    path: str = ""

    @classmethod
    def parse(cls, value: object) -> Self:
        """From a URL without user, path, query or fragment: the target of each request is kept as it came."""
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            if value.startswith("unix:") and len(value) > 5:
                return cls(False, "", 0, value[5:])
            found = re.fullmatch(r"(https?)://(\[[0-9a-fA-F:.]+\]|[^:\[\]/\s@?#]+)(?::(\d{1,5}))?/?", value)
            if found and int(found[3] or 1) <= 65535:
                tls = found[1] == "https"
                return cls(tls, found[2].strip("[]"), int(found[3] or (443 if tls else 80)))
            if re.match(r"https?://", value):
                raise ValueError("must be http://HOST:PORT and no more: a request's path and query reach the bot as they came")
        raise ValueError("must be http://HOST:PORT, https://HOST:PORT or unix:/PATH")

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


def parse_instant(value: object) -> float:
    """Unix seconds from an RFC 3339 time such as ``2026-12-01T00:00:00Z``."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) and not _MIDNIGHT.search(value) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or not 2000 <= moment.year < 9000:
        raise ValueError("must be a time with its zone, such as 2026-12-01T00:00:00Z (RFC 3339)")
    return moment.timestamp()


def format_instant(seconds: float) -> str:
    """RFC 3339 in UTC, as ``parse_instant`` reads it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def parse_networks(value: object) -> NetworkSet:
    """A set of networks from a list of ``192.0.2.0/24``, ``2001:db8::/32`` or single addresses; ``unix`` for unix sockets."""
    if isinstance(value, NetworkSet):
        return value
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ValueError("must be a list of networks or addresses")
    return NetworkSet([parse_network(item) for item in value if item != "unix"], unix="unix" in value)


def _written(schema: dict[str, Any]) -> Any:
    return WithJsonSchema(schema)


_AS_TEXT = PlainSerializer(str, return_type=str)

Duration = Annotated[
    float,
    PlainValidator(parse_duration),
    _written({"type": "string", "pattern": r"^\d+(\.\d+)?(ms|s|m|h|d)$", "examples": ["30s", "5m", "24h"]}),
    PlainSerializer(format_duration, return_type=str),
]
Size = Annotated[
    int,
    PlainValidator(parse_size),
    _written({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^\d+(B|KiB|MiB|GiB|kB|KB|MB)?$"}]}),
]
Instant = Annotated[
    float,
    PlainValidator(parse_instant),
    _written({"type": "string", "format": "date-time"}),
    PlainSerializer(format_instant, return_type=str),
]
Text = {"type": "string"}
RateValue = Annotated[Rate, PlainValidator(Rate.parse), _written({**Text, "pattern": r"^\d+/(s|sec|min|m|h|d)$"}), _AS_TEXT]
StanceValue = Annotated[
    Stance,
    PlainValidator(Stance.parse),
    _written({"anyOf": [{"enum": ["enforce", "report", "off"]}, {**Text, "pattern": r"^\d{1,3}%$"}]}),
    _AS_TEXT,
]
SelectorValue = Annotated[
    Selector,
    PlainValidator(Selector.parse),
    _written({**Text, "pattern": r"^(header|json|query|form|list|body|basic):.+$"}),
    _AS_TEXT,
]
ConditionValue = Annotated[
    Condition,
    PlainValidator(Condition.parse),
    _written({**Text, "pattern": r"^(header|json|query|form|list|body|basic):[^=]+="}),
    _AS_TEXT,
]
EndpointValue = Annotated[Endpoint, PlainValidator(Endpoint.parse), _written(Text), _AS_TEXT]
TargetValue = Annotated[Target, PlainValidator(Target.parse), _written({**Text, "pattern": "^(https?://|unix:)"}), _AS_TEXT]
NetworksValue = Annotated[
    NetworkSet,
    PlainValidator(parse_networks),
    _written({"type": "array", "items": Text}),
    PlainSerializer(lambda networks: list(networks.written), return_type=list),
]
