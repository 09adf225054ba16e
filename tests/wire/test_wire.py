"""Raw requests as files: what the gate answers, what becomes of the connection, and what the bot's socket got.

The first line of a request's twin is its outcome: the statuses, the reason of the last refusal if there is one, and whether
the connection is closed or kept. ``dropped:`` names the fields that end at the gate, ``body:`` a body that was chunked,
``forwarded:`` which of several requests reach the bot.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge.lines import Line, request
from tests.gates import Gate, serving
from tests.upstream.bots import ScriptedBot, Talk, scripted, split
from tests.wire.policy import policy

FOLDER = Path(__file__).parent
OK = sorted((FOLDER / "ok").glob("*.http"))
REFUSED = sorted((FOLDER / "refused").glob("*.http"))
SET = [b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"X-Request-Id"]

Stage = tuple[Gate, ScriptedBot]


def expected(file: Path) -> tuple[list[int], str, bool, dict[str, str]]:
    """Statuses, reason, whether the connection is closed, and the other named lines."""
    first, *lines = file.with_suffix(".txt").read_text().splitlines()
    words = first.split()
    reasons = [word for word in words[:-1] if not word.isdigit()]
    assert words[-1] in {"closed", "kept"}
    named = {name: text.strip() for name, colon, text in (line.partition(":") for line in lines) if colon}
    return [int(word) for word in words if word.isdigit()], "".join(reasons), words[-1] == "closed", named


def answer(talk: Talk) -> None:
    """The bot: a short answer to each request, and to HEAD only its head."""
    while (came := talk.request()) is not None:
        body = b"" if came.startswith(b"HEAD ") else b"done"
        talk.send(b"HTTP/1.1 200 Fine\r\nx-Bot: 1\r\nContent-Length: 4\r\n\r\n" + body)


def fields(head: bytes) -> list[tuple[bytes, bytes]]:
    """Name and value of each field of a request, blanks around values aside."""
    lines = head.partition(b"\r\n\r\n")[0].removeprefix(b"\r\n").split(b"\r\n")[1:]
    return [(name, value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in lines)]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A gate and the bot behind it."""
    file = tmp_path_factory.mktemp("wire") / "policy.yaml"
    with scripted(answer) as bot:
        file.write_text(policy(bot.port))
        with serving(file) as gate:
            yield gate, bot


def outcome(gate: Gate, raw: bytes, statuses: list[int], *, closed: bool) -> None:
    """Send it, read these answers, and see what became of the connection."""
    with Line(gate) as line:
        line.send(raw)
        found = [line.answer(head=b"HEAD /" in raw[:8]).status for _ in statuses]
        assert found == statuses
        if closed:
            assert line.closed()
        else:
            assert line.ask(request(b"behind")).status == 200


@pytest.mark.parametrize("file", OK, ids=lambda file: file.stem)
def test_served(stage: Stage, file: Path) -> None:
    """Each of these requests reaches the bot as it came: target, fields in order and case, body."""
    gate, bot = stage
    raw = file.read_bytes()
    statuses, _, closed, named = expected(file)
    before = len(bot.requests)
    outcome(gate, raw, statuses, closed=closed)
    came = bot.requests[before:]
    sent = split(raw.removeprefix(b"\r\n"))
    if "forwarded" in named:
        sent = [sent[int(number) - 1] for number in named["forwarded"].split(",")]
    chunked = "body" in named
    assert len(came) == (1 if chunked else len(sent)) + (not closed)
    for one, other in zip(sent, came, strict=False):
        dropped = {name.strip().encode() for name in named.get("dropped", "").split(",")}
        kept = [(name, value) for name, value in fields(one) if name not in dropped]
        if chunked:
            kept.append((b"Content-Length", b"%d" % len(named["body"])))
        assert fields(other)[: -len(SET)] == kept
        assert [name for name, _ in fields(other)[-len(SET) :]] == SET
        assert other.partition(b"\r\n")[0] == one.partition(b"\r\n")[0].replace(b"HTTP/1.0", b"HTTP/1.1")
        body = named["body"].encode() if chunked else one.partition(b"\r\n\r\n")[2]
        assert other.partition(b"\r\n\r\n")[2] == body


@pytest.mark.parametrize("file", REFUSED, ids=lambda file: file.stem)
def test_refused(stage: Stage, file: Path) -> None:
    """Each of these requests is refused for its reason, and not one byte of it reaches the bot."""
    gate, bot = stage
    statuses, reason, closed, _ = expected(file)
    before, counted = bot.bytes_seen, gate.metric("hookgate_requests_total", reason=reason)
    with Line(gate) as line:
        found = line.ask(file.read_bytes(), head=file.stem.endswith("method-head"))
        assert [found.status] == statuses
        if closed:
            assert found.field(b"Connection") == b"close"
            assert line.closed()
        assert bot.bytes_seen == before
        assert gate.metric("hookgate_requests_total", reason=reason) == counted + 1
        if not closed:
            assert line.ask(request(b"behind")).status == 200
