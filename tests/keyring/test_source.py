"""When keys are asked for: rarely, once for all who wait, and never for the whims of strangers."""

import asyncio
import logging

import pytest

from proxy.keyring.addresses import Allowed
from proxy.keyring.base import FetchError
from proxy.keyring.ring import Ring
from proxy.keyring.source import FLOOR, MOST_FRESH, STALE, USUAL_FRESH, Cached, Fetched
from tests.pipeline.judging import Clock

URL = "https://keys.example.com/jwks"
ALLOWED = Allowed(frozenset({"keys.example.com"}))


class Far:
    """A source of keys, moved by hand."""

    def __init__(self) -> None:
        self.body = b"one"
        self.etag = '"1"'
        self.max_age: float | None = None
        self.down = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked: list[tuple[str, str]] = []

    async def __call__(self, url: str, allowed: Allowed, etag: str) -> Fetched:
        self.asked.append((url, etag))
        await self.gate.wait()
        if self.down:
            raise FetchError("the source is down")
        if etag == self.etag:
            return Fetched(None, self.etag, self.max_age)
        return Fetched(self.body, self.etag, self.max_age)


def read(body: bytes) -> str:
    """Keys are text here."""
    if body == b"garbage":
        raise ValueError("no keys")
    return body.decode()


class Scene:
    """A far side, a clock, and what stands between."""

    def __init__(self) -> None:
        self.far = Far()
        self.clock = Clock()
        self.results: list[str] = []
        self.ring = Ring(self.far, self.clock, self.results.append)
        self.source: Cached[str] = self.ring.source(URL, ALLOWED, read)

    async def need(self, *, missing: bool = False) -> str | None:
        """What a request finds, after the waiting that it is told to do."""
        waiting = self.source.pending(missing=missing)
        if waiting is not None:
            await waiting
        return self.source.kept

    async def settle(self) -> None:
        """Let what runs in the background end."""
        for _ in range(20):
            await asyncio.sleep(0)


async def test_once_for_all() -> None:
    """A hundred requests that need the same keys set off one fetch, and all of them get the keys."""
    scene = Scene()
    assert set(await asyncio.gather(*(scene.need() for _ in range(100)))) == {"one"}
    assert len(scene.far.asked) == 1
    assert await scene.need() == "one"
    assert len(scene.far.asked) == 1


async def test_renewed_before_they_grow_old() -> None:
    """Before keys are old the next request sets off a fetch in the background and waits for nothing."""
    scene = Scene()
    await scene.need()
    scene.clock.now += USUAL_FRESH * 0.9
    scene.far.body, scene.far.etag = b"two", '"2"'
    assert scene.source.pending() is None
    assert scene.source.kept == "one"
    await scene.settle()
    assert scene.source.kept == "two"
    assert scene.far.asked == [(URL, ""), (URL, '"1"')]


async def test_not_modified() -> None:
    """What has not changed is not sent again, and counts as new."""
    scene = Scene()
    await scene.need()
    for _ in range(5):
        scene.clock.now += USUAL_FRESH + 1
        assert await scene.need() == "one"
    assert [etag for _, etag in scene.far.asked] == ["", *['"1"'] * 5]
    assert scene.results == ["fetched", *["unchanged"] * 5]


@pytest.mark.parametrize(("max_age", "fresh"), [(None, 3600.0), (0.0, 300.0), (10.0, 300.0), (7200.0, 7200.0), (1e9, 86400.0)])
async def test_as_long_as_the_source_says(max_age: float | None, fresh: float) -> None:
    """Keys are fresh for as long as their source says, within bounds."""
    scene = Scene()
    scene.far.max_age = max_age
    await scene.need()
    scene.clock.now += fresh * 0.79
    assert scene.source.pending() is None
    await scene.settle()
    assert len(scene.far.asked) == 1
    scene.clock.now += fresh * 0.22
    await scene.need()
    assert len(scene.far.asked) == 2


async def test_unknown_keys_do_not_hammer() -> None:
    """Ten thousand requests that name keys which nobody knows make one fetch in five minutes."""
    scene = Scene()
    await scene.need()
    for _ in range(10_000):
        await scene.need(missing=True)
        scene.clock.now += 0.01
    assert len(scene.far.asked) == 2
    scene.clock.now += FLOOR
    await scene.need(missing=True)
    assert len(scene.far.asked) == 3


async def test_a_new_key_is_found_at_once() -> None:
    """A request that names a key which has just been published waits for the fetch and finds it."""
    scene = Scene()
    await scene.need()
    scene.far.body, scene.far.etag = b"two", '"2"'
    assert await scene.need(missing=True) == "two"


async def test_the_source_is_down() -> None:
    """Old keys serve on while their source is down, without delay, for a day and no longer."""
    scene = Scene()
    await scene.need()
    scene.far.down = True
    scene.clock.now += USUAL_FRESH
    assert await scene.need() == "one"
    scene.far.gate.clear()
    for _ in range(1000):
        scene.clock.now += STALE / 1001
        assert scene.source.pending() is None
        assert scene.source.kept == "one"
    scene.clock.now += STALE / 1001
    scene.far.gate.set()
    assert await scene.need() is None


async def test_a_source_that_is_down_is_left_alone() -> None:
    """A source that fails is asked less and less often, never more than once in five minutes at last."""
    scene = Scene()
    scene.far.down = True
    for _ in range(3600):
        await scene.need(missing=True)
        scene.clock.now += 1
    assert 12 <= len(scene.far.asked) <= 20
    scene.far.down = False
    scene.clock.now += 300
    assert await scene.need() == "one"


async def test_garbage_takes_nothing_away() -> None:
    """What holds no keys never replaces keys that do, and is not quoted in the log."""
    scene = Scene()
    await scene.need()
    scene.far.body, scene.far.etag = b"garbage", '"2"'
    scene.clock.now += USUAL_FRESH
    assert await scene.need() == "one"
    assert scene.results == ["fetched", "failed"]


async def test_the_log_tells_the_host_alone(caplog: pytest.LogCaptureFixture) -> None:
    """A fetch that fails is told with the host and a reason, without the address or what came."""
    scene = Scene()
    scene.far.body = b"garbage"
    with caplog.at_level(logging.WARNING):
        await scene.need()
    (record,) = caplog.records
    assert record.__dict__["facts"] == {"host": "keys.example.com", "why": "what came is of no use (ValueError)"}


async def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request waits for a source that hangs no longer than its bound, and is then judged without keys."""
    monkeypatch.setattr("proxy.keyring.source._PATIENCE", 0.05)
    scene = Scene()
    scene.far.gate.clear()
    started = asyncio.get_running_loop().time()
    assert await scene.need() is None
    assert asyncio.get_running_loop().time() - started >= 0.05
    scene.far.gate.set()
    await scene.settle()
    assert scene.source.kept == "one"


async def test_through_another_page() -> None:
    """Where a page names the address of the keys, the keys come from there, and the page may change its mind."""
    scene = Scene()
    pages = {URL: b"https://keys.example.com/v1", "https://keys.example.com/v1": b"one", "https://keys.example.com/v2": b"two"}

    async def far(url: str, allowed: Allowed, etag: str) -> Fetched:
        scene.far.asked.append((url, etag))
        return Fetched(pages[url], '"x"', None)

    ring = Ring(far, scene.clock)
    scene.source = ring.source(URL, ALLOWED, read, bytes.decode)
    assert await scene.need() == "one"
    pages[URL] = b"https://keys.example.com/v2"
    scene.clock.now += MOST_FRESH
    assert await scene.need() == "two"
    assert [etag for url, etag in scene.far.asked if url != URL] == ["", ""]


async def test_kept_over_reloads() -> None:
    """Routes that need the same keys share them, and a reload finds them where they were."""
    scene = Scene()
    await scene.need()
    assert scene.ring.source(URL, ALLOWED, read) is scene.source
    assert scene.ring.source(URL, ALLOWED._replace(private=True), read) is not scene.source


async def test_fetched_at_the_start() -> None:
    """What the policy names is fetched at the start, before a request asks."""
    scene = Scene()
    scene.ring.prefetch()
    await scene.settle()
    assert scene.source.kept == "one"


async def test_addresses_that_requests_name() -> None:
    """However many addresses strangers name, few are asked a minute, few are known, and what serves goes on serving."""
    scene = Scene()
    shelf = scene.ring.shelf(ALLOWED, read)

    async def ask(number: int) -> str | None:
        source = shelf.source(f"https://keys.example.com/{number}")
        waiting = source.pending() if source else None
        if waiting is not None:
            await waiting
        return source.kept if source else None

    assert await ask(0) == "one"
    scene.far.down = True
    for number in range(1, 10_000):
        await ask(number)
        scene.clock.now += 0.01
        assert await ask(0) == "one"
    assert len(scene.far.asked) <= 10 + 10 * 100 / 60 + 1
    assert len(list(shelf.known)) <= 32
    assert shelf.source("https://evil.org/") is None
    assert shelf.fault("https://evil.org/") is not None
