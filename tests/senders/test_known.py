"""What senders' own pages and libraries show, sent as raw bytes to a running gate: each gets the verdict that it has there.

One gate serves all, each request on a route of its own. Its clock is moved to each request's moment (libfaketime): what is years
old by now is judged as on its day.
"""

import base64
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.edge.lines import Line
from tests.gates import Gate, RecordingBot, recording_bot, serving
from tests.policies import policy_text

KNOWN: list[dict[str, Any]] = json.loads((Path(__file__).parent / "known.json").read_text())["requests"]
MOVED, OLDER = len(KNOWN), len(KNOWN) + 1
ALL = [
    *KNOWN,
    next(one for one in KNOWN if one["provider"] == "webhook-timestamped" and one["passes"]),
    next(one for one in KNOWN if "with" in one),
]
"""Two once more, each on a route of its own."""
TODAY = 1_795_000_000
LIBRARIES = [*Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), Path("/usr/lib/faketime/libfaketime.so.1")]
FROM_THE_BOT = b"HTTP/1.1 200 OK\r\nContent-Type: text/x-bot\r\nContent-Length: 3\r\n\r\nbot"
UNUSED = "a-secret-that-nothing-is-signed-with"


class Stage:
    """The gate, the bot behind it, and the gate's clock."""

    def __init__(self, gate: Gate, bot: RecordingBot, clock: Path) -> None:
        self.gate = gate
        self.bot = bot
        self._clock = clock

    def at(self, moment: float) -> None:
        """Let the gate's clock stand still at this moment."""
        set_clock(self._clock, moment)


def set_clock(file: Path, moment: float) -> None:
    """In the one form that is read without an offset: the time, in UTC."""
    new = file.with_suffix(".new")
    new.write_text(datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S\n"))
    os.replace(new, file)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One gate with a route for each request."""
    library = next((one for one in LIBRARIES if one.exists()), None)
    assert library is not None, "this test moves the gate's clock: install the package libfaketime"
    folder = tmp_path_factory.mktemp("known")
    clock = folder / "clock"
    set_clock(clock, TODAY)
    environ = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_RESET": "1",
        "TZ": "UTC",
    }
    with recording_bot(FROM_THE_BOT) as bot:
        routes = [route_of(index, known) for index, known in enumerate(ALL)]
        (folder / "policy.json").write_text(policy_text(routes, bot.port))
        with serving(folder / "policy.json", environ) as gate:
            yield Stage(gate, bot, clock)


def route_of(index: int, known: dict[str, Any]) -> dict[str, Any]:
    """The preset, the secret and the address as it is registered; nothing else, but that checks are answered here."""
    secret: dict[str, Any] = {"id": "s", "allow_weak": True}
    if isinstance(known["secret"], dict):
        secret["values"] = {name: {"value": value} for name, value in known["secret"].items()}
    else:
        secret["value"] = known["secret"] or UNUSED
    route = {
        "name": f"known-{index}",
        "path": f"/{index}",
        "provider": known["provider"],
        "public_url": known["url"],
        "secrets": [secret],
    }
    if index == OLDER:
        route["rules"] = known["with"]
    return route | ({"handshake": "answer"} if known.get("expect", {}).get("status", 403) < 300 else {})


def raw(index: int, known: dict[str, Any]) -> bytes:
    """The request's bytes, its path aside, which the sender does not choose."""
    url = urlsplit(known["url"])
    body = base64.b64decode(known["body_base64"]) if "body_base64" in known else known["body"].encode()
    given = {name.lower() for name, _ in known["headers"]}
    fields = [] if "host" in given else [("Host", url.netloc)]
    if "content-length" not in given and known["method"] == "POST":
        fields.append(("Content-Length", str(len(body))))
    lines = [f"{known['method']} /{index}{'?' * bool(url.query)}{url.query} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in [*fields, *known["headers"]]]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@pytest.mark.parametrize("index", range(len(KNOWN)), ids=[f"{one['provider']}: {one['note']}" for one in KNOWN])
def test_known(index: int, stage: Stage) -> None:
    """A request that is right reaches the bot byte for byte, or is answered as its sender wants it; all others reach nobody."""
    known = KNOWN[index]
    stage.at(known["now"] or TODAY)
    before = len(stage.bot.requests)
    with Line(stage.gate) as line:
        answer = line.ask(raw(index, known))
    came = stage.bot.requests[before:]
    expected = known.get("expect", {})
    if known["passes"] and not expected:
        assert (answer.status, answer.body) == (200, b"bot")
        assert came[0].startswith(raw(index, known).partition(b"\r\n")[0])
        assert came[0].partition(b"\r\n\r\n")[2] == raw(index, known).partition(b"\r\n\r\n")[2]
        return
    assert came == []
    assert answer.status == expected["status"] if expected else answer.status in {401, 403, 406}, answer
    if "body" in expected:
        assert answer.body == expected["body"].encode()
        assert (answer.field(b"Content-Type") or b"").decode().startswith(expected.get("content_type", ""))
    for name, value in expected.get("headers", {}).items():
        assert (answer.field(name.encode()) or b"").decode() == value


def test_all_are_there() -> None:
    """None was lost: each names its preset, and those that are too old or too new have their moment."""
    assert len(KNOWN) == 116
    assert len({one["provider"] for one in KNOWN}) >= 42
    assert sum(one["now"] is not None for one in KNOWN) >= 45


def test_the_clock_moves(stage: Stage) -> None:
    """The same bytes pass on their day and no more today: it is the gate's clock that decides, and it is moved."""
    again = raw(MOVED, ALL[MOVED])
    for moment, status in ((ALL[MOVED]["now"] + 301, 401), (TODAY, 401), (ALL[MOVED]["now"] + 300, 200)):
        stage.at(moment)
        with Line(stage.gate) as line:
            assert line.ask(again).status == status


def test_sha1_where_it_is_wanted(stage: Stage) -> None:
    """What the preset of GitHub refuses by default, SHA-1, passes where a policy says so."""
    with Line(stage.gate) as line:
        assert line.ask(raw(OLDER, ALL[OLDER])).body == b"bot"


def test_tools() -> None:
    """What moves the clock is named where the others are installed."""
    root = Path(__file__).parents[2]
    for file in (root / "Makefile", root / ".ci" / "run"):
        assert "libfaketime" in file.read_text(), file
