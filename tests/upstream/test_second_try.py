"""``retry: stale-connection``: what broke on a kept connection before any answer is sent once more, marked and counted."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.edge.lines import Line
from tests.edge.stages import Stage, policy, update
from tests.gates import serving
from tests.upstream.bots import OK, Script, Talk, scripted

MARK = b"\r\nHookgate-Redelivery: maybe\r\n"


@contextmanager
def trying(folder: Path, script: Script, retry: str = "stale-connection", timeout: str = "10s", **more: str) -> Iterator[Stage]:
    """A gate with one guarded route and this policy of trying again."""
    with scripted(script) as bot:
        written = json.loads(policy(f"http://127.0.0.1:{bot.port}", timeout=timeout))
        written["routes"] = [route for route in written["routes"] if route["name"] == "telegram"]
        written["upstream"].update({"retry": retry, **more})
        file = folder / "policy.yaml"
        file.write_text(json.dumps(written))
        with serving(file) as gate:
            yield Stage(gate, bot)


def second(first: Script) -> Script:
    """Answer the first request of a connection; do this on its second."""

    def serve(talk: Talk) -> None:
        if talk.request() is not None:
            talk.send(OK)
            if talk.request() is not None:
                first(talk)

    return serve


def ambiguous(stage: Stage) -> float:
    """What the gate counts as sent twice, perhaps."""
    return stage.gate.metric("hookgate_ambiguous_total", route="telegram")


def test_sent_once_more(tmp_path: Path) -> None:
    """A request whose kept connection is reset is delivered on a fresh one, marked; its sender sees nothing of it."""
    with trying(tmp_path, second(Talk.reset)) as stage, Line(stage.gate) as line:
        assert [line.ask(update()).status for _ in range(5)] == [200] * 5
        # The first of each talk is answered: 1, then 2 broken and sent again, 3 broken and sent again, ...
        assert [MARK in one for one in stage.bot.requests] == [False, False, True, False, True, False, True, False, True]
        assert len(stage.bot.talks) == 5
        assert ambiguous(stage) == 4
        again = update(7)
        assert [line.ask(again).status for _ in range(2)] == [200, 200]
        assert len(stage.bot.requests) == 11


def test_what_breaks_late_was_not_stale(tmp_path: Path) -> None:
    """A bot that breaks after longer than a request may wait for its turn gets it once: two tries take no longer than one may."""

    def late(talk: Talk) -> None:
        time.sleep(0.4)
        talk.reset()

    with trying(tmp_path, second(late), queue_timeout="200ms") as stage, Line(stage.gate) as line:
        assert [line.ask(update()).status for _ in range(2)] == [200, 502]
        assert len(stage.bot.requests) == 2
        assert ambiguous(stage) == 0


def test_not_by_default(tmp_path: Path) -> None:
    """Without the policy's word it is 502, and the bot has it once."""
    with trying(tmp_path, second(Talk.reset), "never") as stage, Line(stage.gate) as line:
        assert [line.ask(update()).status for _ in range(4)] == [200, 502, 200, 502]
        assert len(stage.bot.requests) == 4
        assert ambiguous(stage) == 0


def test_twice_at_most(tmp_path: Path) -> None:
    """When the fresh connection breaks as well, that is the end: 502, sent twice in all."""

    def once(talk: Talk) -> None:
        if talk.number > 1:
            talk.request()
            talk.reset()
        else:
            second(Talk.reset)(talk)

    with trying(tmp_path, once) as stage, Line(stage.gate) as line:
        assert [line.ask(update()).status for _ in range(3)] == [200, 502, 502]
        assert len(stage.bot.requests) == 4


def test_not_once_an_answer_has_begun(tmp_path: Path) -> None:
    """A single byte of an answer shows that the bot had the request: it is not sent again."""

    def begin(talk: Talk) -> None:
        talk.send(b"H")

    with trying(tmp_path, second(begin)) as stage, Line(stage.gate) as line:
        assert [line.ask(update()).status for _ in range(2)] == [200, 502]
        assert len(stage.bot.requests) == 2


def test_not_when_it_is_slow(tmp_path: Path) -> None:
    """A deadline that passes is no stale connection: 504, sent once."""
    with trying(tmp_path, second(Talk.hold), timeout="500ms") as stage, Line(stage.gate) as line:
        assert [line.ask(update()).status for _ in range(2)] == [200, 504]
        assert len(stage.bot.requests) == 2
