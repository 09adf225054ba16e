"""The policy as a frozen tree of small settings classes; defaults and meanings stand here, once.

The reader fills it, `check --print` writes it, `schema` describes it. Relative paths in it are already absolute.
A rule gets its own settings and nothing else.
"""

from typing import Annotated, Literal

from pydantic import Field

from proxy.networks import NetworkSet
from proxy.policy.audit_settings import Audit
from proxy.policy.callbacks import DecryptOption
from proxy.policy.endpoints import ADMIN, OBSERVE
from proxy.policy.handshakes import Handshake, HandshakeOption, HandshakeSettings
from proxy.policy.references import SecretSource, SecretsValue
from proxy.policy.schemes import Signature
from proxy.policy.settings import RuleSettings, Settings
from proxy.policy.signatures import HeaderName
from proxy.policy.store_settings import StoreSettings
from proxy.policy.values import (
    Duration,
    EndpointValue,
    NetworksValue,
    Rate,
    RateValue,
    Selector,
    SelectorKind,
    SelectorValue,
    Size,
    Stance,
    StanceValue,
    TargetValue,
)
from proxy.verdict import Mode, RuleName


class ListenTls(Settings):
    """TLS on the public listener. Swapped files are picked up; a mismatched pair keeps the old one."""

    certificate: Annotated[str, Field(description="PEM file: the certificate and its chain")]
    key: Annotated[str, Field(description="PEM file: the private key")]
    minimum: Annotated[Literal["1.2", "1.3"], Field(description="lowest TLS version")] = "1.2"
    client_ca: Annotated[str | None, Field(description="PEM file: authorities of client certificates (mutual TLS)")] = None
    client_pins: Annotated[tuple[str, ...], Field(description="accepted client keys: sha256/BASE64 of the SPKI (RFC 7469)")] = ()


class Listen(Settings):
    """The public side."""

    address: Annotated[EndpointValue, Field(description="host:port, [v6]:port or unix:/path")]
    tls: Annotated[ListenTls | None, Field(description="absent: plain HTTP, for use behind a TLS terminator")] = None
    proxy_protocol: Annotated[bool, Field(description="PROXY v1 and v2, required from trusted_proxies when true")] = False


class Observe(Settings):
    """The read-only address: /metrics /livez /readyz and the status page."""

    address: Annotated[EndpointValue, Field(description="host:port, [v6]:port or unix:/path")] = OBSERVE


class Admin(Settings):
    """The address of the switch, reload and revoke. A TCP address needs a token."""

    address: Annotated[EndpointValue, Field(description="unix:/path, or host:port with a token")] = ADMIN
    token: Annotated[SecretSource | None, Field(description="what a caller of a TCP address must present")] = None


class BreakerSettings(Settings):
    """When a bot that keeps silent is left alone for a while."""

    failures: Annotated[
        int, Field(ge=0, le=1_000_000, description="in a row: no connection, or no byte of an answer in time; 0 for never")
    ] = 10
    open: Annotated[Duration, Field(description="so long requests are answered 502 at once; then one tries again")] = 2.0


class UpstreamSettings(Settings):
    """The bot."""

    url: Annotated[TargetValue, Field(description="http://HOST:PORT, https://HOST:PORT or unix:/PATH")]
    timeout: Annotated[Duration, Field(description="from the first byte sent to the last byte received")] = 30.0
    connect_timeout: Annotated[Duration, Field(description="to open a connection")] = 5.0
    first_byte_timeout: Annotated[
        Duration | None, Field(description="from the first byte sent to the first byte received; absent: as long as timeout")
    ] = None
    idle: Annotated[Duration, Field(description="how long an unused connection is kept; below the bot's own keep-alive")] = 4.0
    connections: Annotated[int, Field(ge=1, le=10_000, description="open connections at most, per worker")] = 100
    queue: Annotated[int, Field(ge=0, le=100_000, description="requests that may wait for a connection")] = 1000
    queue_timeout: Annotated[Duration, Field(description="how long a request may wait for one; never longer than timeout")] = 10.0
    retry: Annotated[
        Literal["never", "stale-connection"],
        Field(description="stale-connection: once more, marked, where a kept connection broke before any byte of an answer"),
    ] = "never"
    breaker: BreakerSettings = BreakerSettings()
    ca_file: Annotated[str | None, Field(description="PEM file: authorities that vouch for the bot's certificate")] = None
    pins: Annotated[tuple[str, ...], Field(description="accepted keys of the bot: sha256/BASE64 of the SPKI")] = ()
    secret: Annotated[
        SecretSource | None,
        Field(description="the one token that the bot knows: it stands in for whichever of the route's a request came with"),
    ] = None

    @property
    def turn(self) -> float:
        """Seconds that a request may wait for its turn."""
        return min(self.queue_timeout, self.timeout)

    @property
    def opening(self) -> float:
        """Seconds that opening a connection may take."""
        return min(self.connect_timeout, self.timeout)

    @property
    def whole(self) -> float:
        """Seconds that all of it may take; by default less than the minute that Telegram waits for an answer."""
        return self.turn + self.opening + self.timeout


class WrongCredentials(Settings):
    """How many refusals for a wrong credential or an unknown path a client gets before it is told 429. Listed senders: any."""

    limit: Annotated[RateValue, Field(description="in the long run, of one client; IPv6 clients count by /64")] = Rate(30, 60.0)
    burst: Annotated[int, Field(ge=1, le=1_000_000, description="at once; what may be genuine is judged beyond it, too")] = 60


class Limits(Settings):
    """The walls: they hold in every mode."""

    header_bytes: Annotated[Size, Field(description="sum of the request line and all header fields")] = 16 * 1024
    header_count: Annotated[int, Field(ge=8, le=1000, description="header fields of a request at most")] = 64
    uri_bytes: Annotated[Size, Field(description="length of the request target")] = 4096
    body_bytes: Annotated[Size, Field(description="largest body in any mode, whatever a route's size rule says")] = 32 * 1024**2
    connections: Annotated[int, Field(ge=1, le=1_000_000, description="open connections at most, per worker")] = 4096
    connections_per_client: Annotated[int, Field(ge=1, le=1_000_000, description="per peer that is no trusted proxy")] = 256
    buffered_bytes: Annotated[Size, Field(description="bodies in memory at once, per worker")] = 64 * 1024**2
    header_timeout: Annotated[Duration, Field(description="from the first byte of a request to the end of its head")] = 5.0
    body_timeout: Annotated[Duration, Field(description="from the head to the last byte of the body")] = 15.0
    body_idle_timeout: Annotated[Duration, Field(description="between two reads of a body")] = 5.0
    body_rate: Annotated[Size, Field(description="bytes a second a body must bring, after two seconds")] = 512
    idle_timeout: Annotated[
        Duration, Field(description="an unused connection of a sender; above the idle time of what is in front")
    ] = 90.0
    write_timeout: Annotated[Duration, Field(description="for the sender to take our answer")] = 10.0
    answer_buffer: Annotated[Size, Field(description="a bot's answer is held whole up to here, and streamed above")] = 256 * 1024
    wrong_credentials: WrongCredentials = WrongCredentials()
    drain_delay: Annotated[Duration, Field(description="after SIGTERM: not ready, still accepting")] = 0.0
    drain_timeout: Annotated[Duration, Field(description="after that: for requests in flight to end")] = 25.0


class Log(Settings):
    """One JSON line an exchange on stdout."""

    format: Annotated[Literal["json"], Field(description="one JSON object a line")] = "json"
    level: Annotated[Literal["debug", "info", "warning", "error"], Field(description="the least that is written")] = "info"


class TransportRule(RuleSettings):
    """How the request came: TLS, client certificate."""

    tls: Annotated[
        Literal["required"] | None, Field(description="TLS here or, from a trusted proxy, X-Forwarded-Proto: https")
    ] = None
    client_certificate: Annotated[
        Literal["required"] | None, Field(description="a verified one, and a pinned one where pins are given")
    ] = None


class IpRule(RuleSettings):
    """Where it came from."""

    allow: Annotated[
        tuple[str, ...], Field(description="networks, addresses, or the name of a preset for its published ranges")
    ] = ()
    deny: Annotated[tuple[str, ...], Field(description="the same; wins over allow")] = ()


class RateRule(RuleSettings):
    """How often (GCRA). IPv6 clients count by /64."""

    limit: Annotated[RateValue, Field(description="in the long run, such as 50/s or 600/min")]
    burst: Annotated[int, Field(ge=1, le=1_000_000, description="requests that may come at once")] = 1
    per: Annotated[Literal["client", "route"], Field(description="what is counted: each client, or all of them together")] = (
        "client"
    )


class SizeRule(RuleSettings):
    """How large."""

    max: Annotated[Size, Field(description="bytes of the body as sent")] = 1024**2


class ContentRule(RuleSettings):
    """Of what type and coding. Empty means any."""

    types: Annotated[tuple[str, ...], Field(description="media types, parameters aside: application/json")] = ()
    encodings: Annotated[tuple[str, ...], Field(description="content codings; identity stands for none")] = ()


class TimestampRule(RuleSettings):
    """How fresh. A timestamp that is not among the signed bytes proves nothing."""

    header: Annotated[HeaderName | None, Field(description="short for source: header:NAME")] = None
    source: Annotated[SelectorValue | None, Field(description="where it stands: header:NAME, list:NAME, json:/POINTER")] = None
    unit: Annotated[Literal["s", "ms", "rfc3339"], Field(description="unix seconds, unix milliseconds, or RFC 3339 text")] = "s"
    when_missing: Annotated[
        Literal["refuse", "pass"], Field(description="pass: for senders that stamp only some of their requests")
    ] = "refuse"
    tolerance: Annotated[Duration, Field(description="how old")] = 300.0
    future: Annotated[Duration, Field(description="how far ahead of our clock")] = 300.0

    @property
    def stand(self) -> Selector:
        """Where the timestamp stands."""
        return self.source or Selector(SelectorKind.HEADER, self.header or "")


class ReplayRule(RuleSettings):
    """Once: reserve before forwarding, confirm on a 2xx, release otherwise."""

    key: Annotated[
        SelectorValue, Field(description="what names one delivery: json:/update_id, header:X-GitHub-Delivery, body:sha256")
    ]
    type: Annotated[
        Literal["any", "integer"], Field(description="integer: a JSON value that is no whole number from 0 up is no key")
    ] = "any"
    otherwise: Annotated[
        SelectorValue | None, Field(description="what names a delivery that has no such key: header:X-Signature, body:sha256")
    ] = None
    per: Annotated[
        SelectorValue | None, Field(description="equal keys are different deliveries where this differs: header:X-Shopify-Topic")
    ] = None
    window: Annotated[Duration, Field(description="how long a delivered one is remembered; longer than the sender resends")] = (
        86400.0
    )
    on_conflict: Annotated[
        Literal["refuse", "duplicate"],
        Field(description="the same key with another body: 409, or a repeat, for senders that count their attempts in the body"),
    ] = "refuse"
    on_store_error: Annotated[
        Literal["refuse", "allow"], Field(description="refuse: 503; allow: forward unchecked, and count it")
    ] = "refuse"
    in_doubt: Annotated[
        Literal["deliver", "drop"], Field(description="after a crash, when the bot may or may not have seen it")
    ] = "deliver"


class SchemaRule(RuleSettings):
    """What shape. One JSON Schema, or one for each event type."""

    file: Annotated[str | None, Field(description="JSON Schema file, or builtin:NAME for a shipped one")] = None
    by: Annotated[SelectorValue | None, Field(description="the value that chooses among files: json:/type")] = None
    files: Annotated[dict[str, str], Field(default_factory=dict, description="one schema file for each value; others pass")]


class Rules(Settings):
    """All rules of a route, in running order. An absent rule does not run."""

    transport: TransportRule | None = None
    ip: IpRule | None = None
    rate: RateRule | None = None
    size: SizeRule | None = None
    content: ContentRule | None = None
    signature: Signature | None = None
    timestamp: TimestampRule | None = None
    replay: ReplayRule | None = None
    json_schema: Annotated[SchemaRule | None, Field(alias="schema")] = None


class Route(Settings):
    """One path and what must hold for a request to it."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", description="label in metrics and logs")]
    path: Annotated[str, Field(repr=False, pattern=r"^/[!-~]*$", description="exact bytes; treated as a secret and never shown")]
    methods: Annotated[
        tuple[Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"], ...],
        Field(min_length=1, description="all others are answered 405"),
    ] = ("POST",)
    query: Annotated[Literal["refuse", "pass"], Field(description="whether a query string may follow the path")] = "refuse"
    provider: Annotated[str, Field(description="a preset: what is not given here comes from it")] = "generic"
    secrets: Annotated[SecretsValue, Field(description="all that are active are tried")] = ()
    public_url: Annotated[
        str | None,
        Field(repr=False, pattern=r"^https?://[^/]", description="as registered with the provider, for senders that sign it"),
    ] = None
    upstream: Annotated[UpstreamSettings | None, Field(description="overrides the policy's")] = None
    mode: Annotated[StanceValue | None, Field(description="overrides the policy's")] = None
    handshake: Annotated[
        HandshakeOption,
        Field(description="who answers the sender's checks of the address: forward (the bot) or answer (the gate), or a mapping"),
    ] = HandshakeSettings()
    handshakes: Annotated[tuple[Handshake, ...], Field(description="the checks that this sender makes; a preset knows them")] = ()
    pinned: Annotated[
        tuple[Annotated[RuleName, Field(strict=False)], ...],
        Field(description="rules that enforce whatever mode and switch say, for senders that probe with forged requests"),
    ] = ()
    decrypt: Annotated[
        DecryptOption | None,
        Field(description="aes-256-gcm: the bot gets the plaintext of scheme: hmac-envelope; the one place where bytes change"),
    ] = None
    insecure: Annotated[bool, Field(description="says that no rule of authenticity is wanted; a gauge tells")] = False
    senders: Annotated[
        NetworksValue,
        Field(
            default_factory=NetworkSet, description="networks whose mismatches count as sender=listed; a preset's published ones"
        ),
    ]
    event: Annotated[
        tuple[str, ...], Field(description="update_type in logs: header:NAME, json:/POINTER, or the JSON keys that name a type")
    ] = ()
    answers: Annotated[
        dict[str, int],
        Field(default_factory=dict, description="the bot's statuses that this sender must not see, as in 3xx: 503"),
    ]
    rules: Rules = Rules()


class Policy(Settings):
    """The whole file."""

    version: Annotated[Literal[1], Field(description="of the policy's language")]
    allow_inline_secrets: Annotated[bool, Field(description="let secrets stand in this file: demo and tests")] = False
    listen: Listen
    trusted_proxies: Annotated[
        NetworksValue,
        Field(
            default_factory=NetworkSet,
            description="whose X-Forwarded-For, -Proto and PROXY header count; unix stands for unix sockets",
        ),
    ]
    observe: Observe = Observe()
    admin: Admin = Admin()
    store: StoreSettings = StoreSettings()
    state_directory: Annotated[str, Field(description="where the switch is kept; must be writable")] = "state"
    workers: Annotated[int, Field(ge=1, le=256, description="processes that serve")] = 1
    mode: Annotated[StanceValue, Field(description="enforce | report | off | 5%")] = Stance(Mode.ENFORCE)
    upstream: UpstreamSettings | None = None
    limits: Limits = Limits()
    log: Log = Log()
    audit: Audit | None = None
    routes: Annotated[tuple[Route, ...], Field(min_length=1, description="one for each path that is served")]
