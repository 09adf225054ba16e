"""One fetch over real sockets: what is taken, and what is not."""

import asyncio
import gzip
import socket
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from proxy.keyring.addresses import Allowed
from proxy.keyring.base import FetchError
from proxy.keyring.fetching import Fetcher
from tests.keyring.sources import KeySource, key_source


@pytest.fixture
def source() -> Iterator[KeySource]:
    """A source of keys."""
    with key_source() as made:
        yield made


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    """A fetcher that is closed at the end."""
    made = Fetcher()
    yield made
    await made.close()


async def test_fetched(source: KeySource, fetcher: Fetcher) -> None:
    """A page comes with its entity tag and its age, asked for without cookie, coding or trace of the policy."""
    url = source.page("/keys?v=1", b"keys", ETag='"e1"', Cache_Control="public, max-age=600", Set_Cookie="a=b")
    allowed = Allowed(frozenset({source.host}))
    first = await fetcher(url, allowed, "")
    for session in fetcher._sessions.values():  # a jar takes none from a bare address, as this source is, by itself
        session.cookie_jar.update_cookies({"a": "b"})
    assert (first.body, first.etag, first.max_age) == (b"keys", '"e1"', 600.0)
    again = await fetcher(url, allowed, '"e1"')
    assert (again.body, again.etag, again.max_age) == (None, '"e1"', 600.0)
    fields = source.asked[1][1]
    assert fields["if-none-match"] == '"e1"'
    assert fields["accept-encoding"] == "identity"
    assert "cookie" not in fields
    assert "referer" not in fields


async def test_a_listed_host_alone(source: KeySource, fetcher: Fetcher) -> None:
    """An address that is not listed is refused before a byte is sent."""
    url = source.page("/keys", b"keys")
    with pytest.raises(FetchError, match="not on a listed host"):
        await fetcher(url, Allowed(frozenset({"keys.example.com"})), "")
    assert source.asked == []


BAD = [
    ("a redirect", 302, b"", {"Location": "http://127.0.0.1:1/"}, "answered 302"),
    ("a redirect with keys in it", 301, b"keys", {"Location": "/other"}, "answered 301"),
    ("not there", 404, b"", {}, "answered 404"),
    ("broken", 500, b"", {}, "answered 500"),
    ("part of it", 206, b"keys", {}, "answered 206"),
    ("nothing", 204, b"", {}, "answered 204"),
    ("not modified, unasked", 304, b"", {}, "answered 304"),
    ("a coding that was not asked for", 200, gzip.compress(b"keys"), {"Content-Encoding": "gzip"}, "coding"),
    ("too large", 200, b"x" * (1024**2 + 1), {}, "larger than 1 MiB"),
]


@pytest.mark.parametrize(("status", "body", "fields", "message"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
async def test_not_taken(
    source: KeySource, fetcher: Fetcher, status: int, body: bytes, fields: dict[str, str], message: str
) -> None:
    """What is no plain answer of bounded size is not taken, and no redirect is followed."""
    url = source.page("/keys", b"", status)
    source.pages["/keys"] = (status, fields, body)
    with pytest.raises(FetchError, match=message):
        await fetcher(url, Allowed(frozenset({source.host})), "")
    assert len(source.asked) == 1


async def test_a_source_that_hangs(source: KeySource, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that does not answer is given up in time."""
    monkeypatch.setattr("proxy.keyring.fetching._SECONDS", 0.2)
    source.hold = threading.Event()
    with pytest.raises(FetchError, match="no answer within"):
        await fetcher(source.page("/keys", b"keys"), Allowed(frozenset({source.host})), "")


async def test_nobody_there(fetcher: Fetcher) -> None:
    """A source that cannot be reached is told as such, without its address."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{bound.getsockname()[1]}"
        with pytest.raises(FetchError, match=r"cannot be reached \(\w+\)$"):
            await fetcher(f"http://{host}/secret-path", Allowed(frozenset({host})), "")


async def test_a_name_that_leads_inside(fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listed name that stands for an address of this machine is not asked, unless the policy says that it may."""
    asked: list[str] = []

    async def resolve(self: object, host: str, port: int, **rest: object) -> list[tuple[object, ...]]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(type(asyncio.get_running_loop()), "getaddrinfo", resolve)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        host = f"keys.example.com:{server.getsockname()[1]}"
        allowed = Allowed(frozenset({host}))
        with pytest.raises(FetchError, match="cannot be reached"):
            await fetcher(f"https://{host}/keys", allowed, "")
        with pytest.raises(TimeoutError):
            server.accept()
        assert asked == ["keys.example.com"]
        attempt = asyncio.ensure_future(fetcher(f"https://{host}/keys", allowed._replace(private=True), ""))
        line, _ = await asyncio.to_thread(server.accept)
        line.close()
        with pytest.raises(FetchError):
            await attempt
