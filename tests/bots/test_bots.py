"""What holds for every bot library behind a gate: genuine updates reach its handlers once, forged and repeated ones never."""

import socket

import pytest

from tests.bots.conftest import Stage
from tests.bots.updates import EVENTS, update
from tests.gates import PATIENCE, TOKEN, TOKEN_FIELD, body, post, status, until

GENUINE = {TOKEN_FIELD: TOKEN}
HOP_BY_HOP = (b"connection", b"keep-alive", b"transfer-encoding")


def directly(stage: Stage, raw: bytes) -> bytes:
    """The bot's own answer, past the gate."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(str(stage.bot))
        sock.sendall(raw)
        return b"".join(iter(lambda: sock.recv(65536), b""))


def as_it_came(answer: bytes) -> tuple[bytes, list[bytes], bytes]:
    """Status line, the lines of the fields without those of one hop, and body; chunks become one Content-Length at the end."""
    head, _, rest = answer.partition(b"\r\n\r\n")
    first, *fields = head.split(b"\r\n")
    kept = [field for field in fields if field.partition(b":")[0].lower() not in HOP_BY_HOP]
    if b"Transfer-Encoding: chunked" in fields:
        rest = _joined(rest)
        kept.append(b"Content-Length: %d" % len(rest))
    return first, kept, rest


def _joined(chunks: bytes) -> bytes:
    whole = b""
    while chunks:
        size, _, chunks = chunks.partition(b"\r\n")
        whole, chunks = whole + chunks[: int(size, 16)], chunks[int(size, 16) + 2 :]
    return whole


def handled(stage: Stage, kind: str, number: int) -> None:
    """Wait until the bot's handler has run for this update."""
    until(lambda: (kind, number) in stage.journal.seen(), f"the handler of {kind} {number}")


@pytest.mark.parametrize("kind", EVENTS)
def test_every_type_is_handled(stage: Stage, kind: str) -> None:
    """An update of each type passes the gate, reaches the handler, and the bot's answer comes back as it left its socket."""
    number, data = update(kind)
    stage.tap.clear()
    answer = stage.gate.send(post("/telegram", data, GENUINE))
    assert status(answer) == 200
    handled(stage, kind, number)
    assert as_it_came(answer) == as_it_came(bytes(stage.tap.from_bot))


def test_request_reaches_the_bot_as_it_was(stage: Stage) -> None:
    """The bot gets the request line, the fields in their order and case, and the body byte for byte."""
    number, data = update("edited_message")
    stage.tap.clear()
    raw = post("/telegram", data, {**GENUINE, "X-oDD-cAse": " two  spaces", "x-odd-case": "again"})
    assert status(stage.gate.send(raw)) == 200
    handled(stage, "edited_message", number)
    first, fields, rest = as_it_came(raw)
    got_first, got_fields, got_rest = as_it_came(bytes(stage.tap.from_gate))
    assert (got_first, got_rest) == (first, rest)
    kept = [field.replace(b":  two", b": two") for field in fields]  # space around a value is none of it (RFC 9110 section 5.5)
    assert [field for field in got_fields if field in kept] == kept
    added = [field.partition(b":")[0] for field in got_fields if field not in kept]
    assert added == [b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"X-Request-Id"]


def test_gate_changes_no_answer(stage: Stage) -> None:
    """Through the gate a bot answers with the same status and fields as without it."""
    _, through = update("inline_query")
    number, direct = update("inline_query")
    answered = as_it_came(stage.gate.send(post("/telegram", through, GENUINE)))
    alone = as_it_came(directly(stage, post("/telegram", direct, GENUINE)))
    handled(stage, "inline_query", number)
    assert [line for line in answered[1] if not line.startswith(b"Date")] == [
        line for line in alone[1] if not line.startswith(b"Date")
    ]
    assert (answered[0], answered[2]) == (alone[0], alone[2])


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {TOKEN_FIELD: ""},
        {TOKEN_FIELD: TOKEN + "x"},
        {TOKEN_FIELD: TOKEN[:-1]},
        {TOKEN_FIELD: TOKEN.upper()},
        {"X-Telegram-Bot-Api-Secret-Hash": "0" * 64},
        {"Authorization": f"Bearer {TOKEN}"},
    ],
    ids=["no token", "empty", "longer", "shorter", "other case", "hash header", "other header"],
)
def test_forged_update_is_never_handled(stage: Stage, fields: dict[str, str]) -> None:
    """A forged update is answered 401 with nothing in it, and neither the bot's socket nor its handlers see it."""
    number, data = update("message")
    stage.tap.clear()
    answer = stage.gate.send(post("/telegram", data, fields))
    assert status(answer) == 401
    assert body(answer).startswith(b'{"error":"unauthorized","request_id":"')
    assert not stage.tap.from_gate
    # The forgery burnt nothing: the genuine one of the same id is new.
    assert status(stage.gate.send(post("/telegram", data, GENUINE))) == 200
    handled(stage, "message", number)
    assert stage.journal.seen().count(("message", number)) == 1


def test_repeated_update_is_handled_once(stage: Stage) -> None:
    """An update that comes again is acknowledged with an empty 200, not handled; another body under its id is refused."""
    number, data = update("callback_query")
    assert status(stage.gate.send(post("/telegram", data, GENUINE))) == 200
    handled(stage, "callback_query", number)
    stage.tap.clear()
    again = stage.gate.send(post("/telegram", data, GENUINE))
    assert (status(again), body(again)) == (200, b"")
    assert status(stage.gate.send(post("/telegram", data.replace(b"a|b", b"b|a"), GENUINE))) == 409
    assert not stage.tap.from_gate
    assert stage.journal.seen().count(("callback_query", number)) == 1


def test_bot_still_checks_for_itself(stage: Stage) -> None:
    """Past the gate the bot's own check of the secret refuses the same forgery: nothing in it was turned off."""
    _, data = update("message")
    assert status(directly(stage, post("/telegram", data, {TOKEN_FIELD: "wrong"}))) in {401, 403}


def test_gate_counts_what_happened(stage: Stage) -> None:
    """The metrics tell the passed, the forged and the repeated apart."""
    before = [stage.gate.metric("hookgate_requests_total", outcome=outcome) for outcome in ("forwarded", "refused", "duplicate")]
    _, data = update("poll")
    for fields in (GENUINE, {TOKEN_FIELD: "wrong"}, GENUINE):
        stage.gate.send(post("/telegram", data, fields))
    after = [stage.gate.metric("hookgate_requests_total", outcome=outcome) for outcome in ("forwarded", "refused", "duplicate")]
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 1, 1]
