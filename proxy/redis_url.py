"""The URL of a Redis or Valkey: one server, a service that Sentinels watch, or a Cluster. Parsing alone; nothing is connected.

SECURITY: a URL may hold a password; no message made here ever repeats a part of it.
"""

import re
from enum import Enum
from typing import NamedTuple
from urllib.parse import unquote

SCHEMES = ("redis", "rediss", "valkey", "valkeys")
"""With TLS where it ends in two s; ``+sentinel`` or ``+cluster`` may follow."""

_PORT = 6379
_SENTINEL_PORT = 26379
_FORM = re.compile(
    r"(?P<family>rediss?|valkeys?)(?:\+(?P<kind>sentinel|cluster))?://"
    r"(?:(?P<user>[^/?#]*)@)?(?P<nodes>[^/?#@]+)(?P<rest>/[^?#]*)?(?P<more>[?#].*)?"
)
_NODE = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+)(?::(\d{1,5}))?")


class Kind(Enum):
    """How the server to talk to is found."""

    SERVER = "server"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


class RedisUrl(NamedTuple):
    """Where claims are kept, and as whom."""

    kind: Kind
    tls: bool
    nodes: tuple[tuple[str, int], ...]
    """The server; or the Sentinels; or some nodes of the Cluster, to begin with."""
    service: str = ""
    """The name of the master, as the Sentinels know it."""
    database: int = 0
    username: str = ""
    password: str = ""

    def __str__(self) -> str:
        """For logs: without user and password."""
        family = "rediss" if self.tls else "redis"
        scheme = family if self.kind is Kind.SERVER else f"{family}+{self.kind.value}"
        tail = "".join(f"/{part}" for part in (self.service, self.database) if part)
        return f"{scheme}://{','.join(map(written, self.nodes))}{tail}"

    def __repr__(self) -> str:
        return f"<{self}>"


def is_redis(url: str) -> bool:
    """Whether a store's URL means a Redis or a Valkey."""
    return re.split(r"[:+]", url, maxsplit=1)[0] in SCHEMES


def written(node: tuple[str, int]) -> str:
    """``host:port``, an IPv6 host in brackets."""
    host, port = node
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse(url: str) -> RedisUrl:
    """From ``redis://HOST:PORT/DB``, ``redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB`` or ``redis+cluster://HOST:PORT,HOST:PORT``.

    Raises:
        ValueError: it is none; the message is for the operator and holds nothing of the URL.
    """
    found = _FORM.fullmatch(url)
    if found is None:
        raise ValueError("must be redis://HOST:PORT/DB, redis+sentinel://HOST:PORT,.../SERVICE or redis+cluster://HOST:PORT,...")
    if found["more"]:
        raise ValueError("takes no query: say ca_file, username, password and prefix beside url")
    kind = Kind(found["kind"] or "server")
    nodes = tuple(_node(part, _SENTINEL_PORT if kind is Kind.SENTINEL else _PORT) for part in found["nodes"].split(","))
    if kind is Kind.SERVER and len(nodes) > 1:
        raise ValueError("names several servers: use redis+sentinel:// or redis+cluster://")
    path = [unquote(part) for part in (found["rest"] or "").split("/") if part]
    service = path.pop(0) if kind is Kind.SENTINEL and path else ""
    if kind is Kind.SENTINEL and not service:
        raise ValueError("needs the name of the service that the Sentinels watch: redis+sentinel://HOST:PORT,.../SERVICE")
    if path and (kind is Kind.CLUSTER or len(path) > 1 or not re.fullmatch(r"\d{1,5}", path[0])):
        raise ValueError("a Cluster has no databases" if kind is Kind.CLUSTER else "a database is a number, as in /0")
    user, _, password = (found["user"] or "").partition(":")
    tls = found["family"] in {"rediss", "valkeys"}
    return RedisUrl(kind, tls, nodes, service, int(path[0]) if path else 0, unquote(user), unquote(password))


def _node(text: str, port: int) -> tuple[str, int]:
    found = _NODE.fullmatch(text)
    if found is None or not 0 < int(found[2] or port) <= 65535:
        raise ValueError("has a server that is not HOST:PORT")
    return found[1].strip("[]"), int(found[2] or port)


class RedisAccess(NamedTuple):
    """A place, and what opens it."""

    url: RedisUrl
    username: str = ""
    password: str = ""
    ca_file: str | None = None
    """Authorities that vouch for the server's certificate; the system's, where it is absent."""
    prefix: str = "hookgate"
    """What every key begins with: gates that share a server and not their claims have different ones."""
    sentinel_username: str = ""
    sentinel_password: str = ""

    def __repr__(self) -> str:
        """SECURITY: without the passwords."""
        return f"<access to {self.url}>"

    def __str__(self) -> str:
        return repr(self)
