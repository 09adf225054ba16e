"""The promised shape: unknown types and fields pass, wrong shapes do not, and a refusal gives the claim back."""

import json
from pathlib import Path
from typing import Any

import pytest

from proxy.verdict import Reason
from tests.pipeline.judging import Compiled, compiled, request

OK, INVALID, NOT_JSON = Reason.NONE, Reason.PAYLOAD_INVALID, Reason.PAYLOAD_NOT_JSON
TELEGRAM: dict[str, Any] = {"insecure": True, "rules": {"schema": {"file": "builtin:telegram-update"}}}

UPDATES: list[tuple[bytes, Reason]] = [
    (b'{"update_id":1}', OK),
    (b'{"update_id":1,"message":{"message_id":1,"date":1,"chat":{"id":-100}}}', OK),
    (b'{"update_id":1,"message":{"message_id":1,"date":1,"chat":{"id":-100},"a_field_of_next_year":{"x":[]}}}', OK),
    (b'{"update_id":1,"a_type_of_next_year":{"x":1}}', OK),
    (b'{"update_id":1,"a_type_of_next_year":null}', OK),
    (b'{"update_id":1,"callback_query":{}}', OK),
    (b'{"update_id":"1"}', INVALID),
    (b'{"update_id":-1}', INVALID),
    (b'{"update_id":1.5}', INVALID),
    (b'{"update_id":18446744073709551616}', INVALID),
    (b"{}", INVALID),
    (b"[]", INVALID),
    (b"1", INVALID),
    (b"null", INVALID),
    (b'{"update_id":1,"message":[]}', INVALID),
    (b'{"update_id":1,"message":{}}', INVALID),
    (b'{"update_id":1,"message":{"message_id":"1","date":1,"chat":{"id":1}}}', INVALID),
    (b'{"update_id":1,"callback_query":"x"}', INVALID),
    (b"{", NOT_JSON),
    (b"", NOT_JSON),
    (b'{"update_id":NaN}', NOT_JSON),
]


@pytest.mark.parametrize(("body", "reason"), UPDATES)
async def test_telegram(body: bytes, reason: Reason, tmp_path: Path) -> None:
    """An update of a type that does not exist yet passes; one of a shape that none ever had does not."""
    gate = await compiled(tmp_path, TELEGRAM)
    judged = await gate.judge(request(body))
    assert judged.reason is reason
    assert judged.status == {OK: 200, INVALID: 422, NOT_JSON: 400}[reason]


async def by_type(folder: Path, **rule: Any) -> Compiled:
    """A gate with one schema for each type of event."""
    (folder / "push.json").write_text(json.dumps({"required": ["ref"], "properties": {"ref": {"pattern": "^(a+)+$"}}}))
    (folder / "ping.json").write_text("true")
    files = {"push": "push.json", "ping": "ping.json", "7": "push.json"}
    return await compiled(folder, {"insecure": True, "rules": {"schema": {"by": "json:/type", "files": files, **rule}}})


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"type":"push","ref":"aaa"}', OK),
        (b'{"type":"push"}', INVALID),
        (b'{"type":"push","ref":"b"}', INVALID),
        (b'{"type":7}', INVALID),
        (b'{"type":"ping"}', OK),
        (b'{"type":"other"}', OK),
        (b'{"type":null}', OK),
        (b"{}", OK),
        (b'["push"]', OK),
        (b'{"type":"push"', NOT_JSON),
    ],
)
async def test_by_type(body: bytes, reason: Reason, tmp_path: Path) -> None:
    """Each type of event has its schema; a type without one passes."""
    assert (await (await by_type(tmp_path)).judge(request(body))).reason is reason


async def test_a_pattern_cannot_take_the_gate_down(tmp_path: Path) -> None:
    """A pattern that makes backtracking engines run for years is decided at once."""
    gate = await by_type(tmp_path)
    assert (await gate.judge(request(b'{"type":"push","ref":"%b!"}' % (b"a" * 100_000)))).reason is INVALID


@pytest.mark.parametrize("acknowledge", [False, True])
async def test_after_the_claim(acknowledge: bool, tmp_path: Path) -> None:
    """A body of the wrong shape gives its claim back, so that a corrected gate takes the retry; acknowledged, it keeps it."""
    rules = {**TELEGRAM["rules"], "replay": {"key": "json:/update_id"}}
    rules["schema"] = {**rules["schema"], "answer": {"acknowledge": acknowledge}}
    gate = await compiled(tmp_path, {"insecure": True, "rules": rules})
    bad = request(b'{"update_id":1,"message":1}')
    judged = await gate.judge(bad)
    assert (judged.reason, judged.status) == (INVALID, 200 if acknowledge else 422)
    assert gate.store.entries() == (1 if acknowledge else 0)
    assert (await gate.judge(bad)).reason is (Reason.REPLAY_DUPLICATE if acknowledge else INVALID)


async def test_reported(tmp_path: Path) -> None:
    """In report mode a wrong shape is told and forwarded."""
    gate = await compiled(tmp_path, {"insecure": True, "rules": {"schema": {**TELEGRAM["rules"]["schema"], "mode": "report"}}})
    judged = await gate.judge(request(b"{}"))
    assert judged.reason is OK
    assert [finding.reason for finding in judged.permit.reported] == [INVALID]
