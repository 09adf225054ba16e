"""From the policy's words to an open connection to the bot, its certificate and key verified where they are asked for."""

import asyncio
import ssl
import time
from collections.abc import Callable

from proxy.policy.model import UpstreamSettings
from proxy.upstream.connection import Connection
from proxy.upstream.tls import verify_pins


async def dial(
    loop: asyncio.AbstractEventLoop, settings: UpstreamSettings, tls: ssl.SSLContext | None, make: Callable[[], Connection]
) -> Connection:
    """A fresh connection. Raises ``OSError`` and its kin, ``ssl.SSLError`` among them; a name that is none, ``UnicodeError``."""
    target = settings.url
    if target.path:
        _, connection = await loop.create_unix_connection(make, target.path)
    elif tls is None:
        _, connection = await loop.create_connection(make, target.host, target.port)
    else:
        _, connection = await loop.create_connection(
            make,
            target.host,
            target.port,
            ssl=tls,
            server_hostname=target.host,
            ssl_handshake_timeout=settings.connect_timeout,
            ssl_shutdown_timeout=1.0,
        )
        verify_pins(connection.transport, settings.pins)
    connection.idle_limit = settings.idle
    connection.born = connection.idle_since = time.monotonic()
    return connection
