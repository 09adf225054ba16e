"""Finding the server and shaking hands: password, database, scripts. Sentinels, and Clusters for their map, redis-py asks.

redis-py is loaded for these two alone, and told to wait briefly and never to try twice: trying again is the link's affair.
"""

import asyncio
import ssl
from typing import Any

from proxy.errors import StoreError
from proxy.redis_url import Kind, RedisAccess
from proxy.store import scripts
from proxy.store.resp import ErrorReply, Reply
from proxy.store.wire import Wire

_ASK_SECONDS = 0.3
"""For a Sentinel, or a node that is asked for the map of its Cluster."""
Node = tuple[str, int]


class Dialer:
    """Dials one place. Everything raises ``StoreError`` or ``OSError``."""

    def __init__(self, access: RedisAccess) -> None:
        self._access = access
        self._tls = ssl.create_default_context(cafile=access.ca_file) if access.url.tls else None
        self._sentinel: Any = None

    async def dial(self) -> Wire:
        """A connection to the server of the URL, or to the one that is the master of its service now."""
        if self._access.url.kind is Kind.SERVER:
            return await self.node(self._access.url.nodes[0])
        wire = await self.node(await self._master())
        try:
            (role,) = await wire.ask((b"ROLE",))
        except BaseException:
            wire.abort()
            raise
        if isinstance(role, list) and role[:1] == [b"master"]:
            return wire
        wire.abort()
        if isinstance(role, ErrorReply):
            raise StoreError(_refusal(role))
        raise StoreError("the Sentinels name a server that is no master yet")

    async def node(self, node: Node) -> Wire:
        """A connection to this server, ready for claims."""
        loop = asyncio.get_running_loop()
        host, port = node
        try:
            _, wire = await loop.create_connection(
                lambda: Wire(loop), host, port, ssl=self._tls, server_hostname=host if self._tls else None
            )
        except ssl.SSLCertVerificationError as error:
            raise StoreError(f"its certificate is not trusted ({error.verify_message}): is store.ca_file right?") from None
        except ssl.SSLError:
            raise StoreError("it does not speak TLS there: redis:// is without, rediss:// with TLS") from None
        try:
            await self._shake(wire)
        except BaseException:
            wire.abort()
            raise
        return wire

    async def _shake(self, wire: Wire) -> None:
        access = self._access
        commands: list[tuple[bytes, ...]] = []
        if access.password:
            user = (access.username.encode(),) if access.username else ()
            commands.append((b"AUTH", *user, access.password.encode("utf-8", "surrogateescape")))
        if access.url.database:
            commands.append((b"SELECT", b"%d" % access.url.database))
        for reply in await wire.ask(*commands, *scripts.LOADS):
            if isinstance(reply, ErrorReply):
                raise StoreError(_refusal(reply))

    # -- what redis-py knows better

    async def _master(self) -> Node:
        from redis.asyncio.sentinel import Sentinel  # late: a tenth of a second, for those who have Sentinels
        from redis.exceptions import RedisError

        access = self._access
        if self._sentinel is None:
            options = self._options(access.sentinel_username, access.sentinel_password)
            sentinels: Any = Sentinel  # untyped
            self._sentinel = sentinels(list(access.url.nodes), sentinel_kwargs=options)
        try:
            host, port = await self._sentinel.discover_master(access.url.service)
        except (RedisError, OSError):
            raise StoreError(f"no Sentinel knows a master of {access.url.service!r}") from None
        return str(host), int(port)

    async def slots(self, known: list[Node]) -> dict[Node, list[tuple[int, int]]]:
        """The slots of each master, first and last, as the first of these nodes that answers has them."""
        from redis.asyncio import Redis
        from redis.exceptions import RedisError

        access = self._access
        why = "no node of the Cluster answers"
        for host, port in known:
            client = Redis(host=host, port=port, **self._options(access.username, access.password))
            try:
                execute: Any = client.execute_command  # untyped
                return _masters(await execute("CLUSTER SLOTS"), host)
            except (RedisError, OSError) as error:
                if isinstance(error, RedisError) and "cluster support disabled" in str(error):
                    why = "it is no Cluster: use redis://"
            finally:
                await client.aclose()
        raise StoreError(why)

    def _options(self, username: str, password: str) -> dict[str, Any]:
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        options: dict[str, Any] = {
            "socket_timeout": _ASK_SECONDS,
            "socket_connect_timeout": _ASK_SECONDS,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
            "username": username or None,
            "password": password or None,
        }
        if self._access.url.tls:
            options |= {"ssl": True, "ssl_ca_certs": self._access.ca_file}
        return options

    async def close(self) -> None:
        """Close what asked the Sentinels."""
        for client in self._sentinel.sentinels if self._sentinel is not None else ():
            await client.aclose()


def _masters(rows: Any, asked: str) -> dict[Node, list[tuple[int, int]]]:
    """From rows of first slot, last slot, master, replicas. A node that does not know its own address has the one asked at."""
    masters: dict[Node, list[tuple[int, int]]] = {}
    for first, last, (host, port, *_), *_ in rows:
        masters.setdefault((host.decode() if host else asked, port), []).append((first, last))
    return masters


_REMEDIES = {
    b"NOAUTH": "it asks for a password: set store.password",
    b"WRONGPASS": "it refuses the user or the password: check store.username and store.password",
    b"LOADING": "it is still loading its data",
}


def _refusal(reply: ErrorReply) -> str:
    return _REMEDIES.get(reply.kind) or told(reply)


def told(reply: Reply) -> str:
    """An error in the server's words, and the remedy where we know one."""
    if not isinstance(reply, ErrorReply):
        return "its reply is none that a Redis gives"
    if reply.kind == b"NOPERM" or reply.find(b"ACL failure") >= 0:
        return f"its user lacks a right ({reply}): deploy/redis/hookgate.acl lists those that are needed"
    if reply.kind == b"MOVED":
        return "it is a part of a Cluster: use redis+cluster://"
    return f"it refuses: {reply}"
