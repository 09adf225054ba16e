"""One fetch over the network: GET, https, no redirect, no cookie, no coding, bounded in bytes and in time.

SECURITY: every address is judged here, right before it is used, wherever it came from; and what its name stands for is judged
again when the connection is made, so that a listed name cannot lead into a private network.
"""

import asyncio
import re
import socket
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client import ClientSession, ClientTimeout
from aiohttp.client_exceptions import ClientError
from aiohttp.client_reqrep import ClientResponse
from aiohttp.connector import TCPConnector
from aiohttp.cookiejar import DummyCookieJar
from yarl import URL

from proxy.keyring.addresses import Allowed
from proxy.keyring.base import FetchError
from proxy.keyring.source import Fetched

_MOST_BYTES: Final = 1024**2
_SECONDS: Final = 5.0
_MAX_AGE: Final = re.compile(r"(?:^|[,\s])max-age=\"?(\d{1,9})", re.IGNORECASE)


class Fetcher:
    """Fetches; opens its session with the first fetch, and keeps no connection open."""

    def __init__(self) -> None:
        self._sessions: dict[bool, ClientSession] = {}

    async def __call__(self, url: str, allowed: Allowed, etag: str) -> Fetched:
        """What stands at ``url``.

        Raises:
            FetchError: it may not be asked, cannot be reached in time, or answers with anything but 200 and 304.
        """
        fault = allowed.fault(url)
        if fault:
            raise FetchError(f"the address {fault}")
        headers = {"Accept-Encoding": "identity", **({"If-None-Match": etag} if etag else {})}
        try:
            session = self._session(private=allowed.private)
            async with session.get(URL(url, encoded=True), headers=headers, allow_redirects=False) as answer:
                return await _taken(answer, known=bool(etag))
        except TimeoutError:
            raise FetchError(f"no answer within {_SECONDS:g} s") from None
        except (ClientError, OSError) as error:
            raise FetchError(f"the source cannot be reached ({type(error).__name__})") from None

    def _session(self, *, private: bool) -> ClientSession:
        if private not in self._sessions:
            connector = TCPConnector(resolver=_Careful(private=private), limit=8, force_close=True, ttl_dns_cache=60)
            self._sessions[private] = ClientSession(
                connector=connector,
                cookie_jar=DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                timeout=ClientTimeout(total=_SECONDS),
                headers={"User-Agent": "Hookgate", "Accept": "*/*"},
                max_line_size=8190,
                max_field_size=8190,
            )
        return self._sessions[private]

    async def close(self) -> None:
        """Close the sessions."""
        for session in self._sessions.values():
            await session.close()


async def _taken(answer: ClientResponse, *, known: bool) -> Fetched:
    found = _MAX_AGE.search(answer.headers.get("Cache-Control", ""))
    max_age = float(found[1]) if found else None
    etag = answer.headers.get("ETag", "")
    if answer.status == 304 and known:
        return Fetched(None, etag or answer.request_info.headers.get("If-None-Match", ""), max_age)
    if answer.status != 200:
        raise FetchError(f"the source answered {answer.status}")
    if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise FetchError("the source answered in a coding that was not asked for")
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > _MOST_BYTES:
            raise FetchError("the source's answer is larger than 1 MiB")
    return Fetched(bytes(body), etag if len(etag) <= 256 else "", max_age)


class _Careful(AbstractResolver):
    """The system's resolver, without the addresses that a listed name may not stand for."""

    def __init__(self, *, private: bool) -> None:
        self._allowed = Allowed(frozenset(), private=private)

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        """Every address of the host that is public; raises ``OSError`` where there is none."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        results = [
            ResolveResult(hostname=host, host=str(where[0]), port=port, family=kind, proto=proto, flags=socket.AI_NUMERICHOST)
            for kind, _, proto, _, where in found
            if self._allowed.may_stand_for(str(where[0]))
        ]
        if not results:
            raise OSError("the name stands for no address of the open internet")
        return results

    async def close(self) -> None:
        """Nothing is held."""
