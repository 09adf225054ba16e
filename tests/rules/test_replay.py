"""Once: what is reserved, confirmed, released, in doubt; and what happens when the store cannot say."""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from proxy.policy.reader import read_policy
from proxy.store.memory import MemoryStore
from proxy.store.sqlite import SqliteStore
from proxy.verdict import Finding, Mode, Outcome, Reason, Refusal, RuleName, outcome_of
from tests.gates import ROOT
from tests.pipeline.judging import HMAC, SECRET, Clock, Compiled, compiled, request, secrets
from tests.policies import policy_text

OK, DUPLICATE, CONFLICT, IN_FLIGHT = Reason.NONE, Reason.REPLAY_DUPLICATE, Reason.REPLAY_CONFLICT, Reason.REPLAY_IN_FLIGHT

ROUTE: dict[str, Any] = {"insecure": True, "rules": {"replay": {"key": "json:/id", "window": "60s"}}}
ONE = request(b'{"id":1}')


def route(**rule: Any) -> dict[str, Any]:
    """The route with more said about replay."""
    return {"insecure": True, "rules": {"replay": {**ROUTE["rules"]["replay"], **rule}}}


async def test_delivered_once(tmp_path: Path) -> None:
    """What was delivered is answered 200 and not forwarded again, until its window is over."""
    gate = await compiled(tmp_path, ROUTE)
    assert (await gate.deliver(ONE)).reason is OK
    again = await gate.deliver(ONE)
    assert (again.reason, again.status) == (DUPLICATE, 200)
    assert outcome_of(again.reason) is Outcome.DUPLICATE
    gate.clock.now += 59.9
    assert (await gate.deliver(ONE)).reason is DUPLICATE
    gate.clock.now += 0.2
    assert (await gate.deliver(ONE)).reason is OK


async def test_not_delivered(tmp_path: Path) -> None:
    """What was not delivered goes through again at once, as often as it takes."""
    gate = await compiled(tmp_path, ROUTE)
    for _ in range(3):
        assert (await gate.deliver(ONE, delivered=False)).reason is OK
    assert gate.store.entries() == 0
    assert (await gate.deliver(ONE)).reason is OK


async def test_another_body(tmp_path: Path) -> None:
    """The same id with another body is a conflict, before and after the first one's end."""
    gate = await compiled(tmp_path, ROUTE)
    first = await gate.judge(ONE)
    other = await gate.judge(request(b'{"id":1,"text":"other"}'))
    assert (other.reason, other.status) == (CONFLICT, 409)
    await gate.gate.settle(first.permit.reserved, delivered=True)
    assert (await gate.judge(request(b'{"id":1 }'))).reason is CONFLICT
    assert (await gate.judge(ONE)).reason is DUPLICATE


@pytest.mark.parametrize(("delivered", "reason", "answer"), [(True, DUPLICATE, (200, 0)), (False, IN_FLIGHT, (503, 1))])
async def test_in_flight(delivered: bool, reason: Reason, answer: tuple[int, int], tmp_path: Path) -> None:
    """A hundred repeats of one request wait for its end: then 200 where it was delivered, else 503 and try again."""
    gate = await compiled(tmp_path, ROUTE)
    first = await gate.judge(ONE)
    repeats = [asyncio.ensure_future(gate.judge(ONE)) for _ in range(100)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert not any(one.done() for one in repeats)
    await gate.gate.settle(first.permit.reserved, delivered=delivered)
    for judged in await asyncio.gather(*repeats):
        assert judged.reason is reason
        assert judged.ended[1:3] == answer
    assert (await gate.judge(ONE)).reason is (DUPLICATE if delivered else OK)


async def test_scope(tmp_path: Path) -> None:
    """The same id on another route is another delivery."""
    store = MemoryStore(Clock())
    one = await compiled(tmp_path, {**ROUTE, "name": "one"}, store=store)
    other = await compiled(tmp_path, {**ROUTE, "name": "other"}, store=store)
    assert (await one.deliver(ONE)).reason is OK
    assert (await other.deliver(ONE)).reason is OK
    assert (await one.deliver(ONE)).reason is DUPLICATE


async def test_what_is_not_signed_does_not_count(tmp_path: Path) -> None:
    """Other header fields, their order and case do not make a delivery another one."""
    gate = await compiled(tmp_path, ROUTE)
    await gate.deliver(ONE)
    assert (await gate.deliver(request(b'{"id":1}', [(b"x-B", b"1"), (b"X-a", b"2")], client="203.0.113.1"))).reason is DUPLICATE


@pytest.mark.parametrize(
    ("key", "first", "other"),
    [
        ("header:X-Id", request(b"{}", [(b"X-ID", b"7")]), request(b"{}", [(b"X-Id", b"8")])),
        ("body:sha256", request(b"one"), request(b"two")),
        ("form:id", request(b"id=7&a=1"), request(b"id=8&a=1")),
        ("json:/event/id", request(b'{"event":{"id":"x"}}'), request(b'{"event":{"id":"y"}}')),
        ("json:/id", request(b'{"id":"%b1"}' % (b"x" * 500)), request(b'{"id":"%b2"}' % (b"x" * 500))),
        ("header:X-Id", request(b"{}", [(b"X-ID", b"7" * 5000)]), request(b"{}", [(b"X-Id", b"7" * 4999)])),
    ],
)
async def test_keys(key: str, first: Any, other: Any, tmp_path: Path) -> None:
    """Each kind of key tells deliveries apart and repeats together, however long it is."""
    gate = await compiled(tmp_path, route(key=key))
    assert (await gate.deliver(first)).reason is OK
    assert (await gate.deliver(first)).reason is DUPLICATE
    assert (await gate.deliver(other)).reason is OK


@pytest.mark.parametrize(
    ("body", "reason", "status"), [(b"{}", Reason.REPLAY_KEY_MISSING, 400), (b"{", Reason.PAYLOAD_NOT_JSON, 400)]
)
async def test_keyless(body: bytes, reason: Reason, status: int, tmp_path: Path) -> None:
    """Without a key nothing is forwarded; the policy may acknowledge instead, so that the sender stops."""
    gate = await compiled(tmp_path, ROUTE)
    judged = await gate.judge(request(body))
    assert (judged.reason, judged.status) == (reason, status)
    gate = await compiled(tmp_path, route(answer={"acknowledge": True}))
    assert (await gate.judge(request(body))).ended == Refusal(reason, 200)
    assert gate.store.entries() == 0


@pytest.mark.parametrize("field", [b"", b" ", None])
async def test_an_empty_key_is_none(field: bytes | None, tmp_path: Path) -> None:
    """An empty header names nothing."""
    gate = await compiled(tmp_path, route(key="header:X-Id"))
    found = await gate.judge(request(b"{}", [(b"X-Id", field)] if field is not None else []))
    assert found.reason is (OK if field == b" " else Reason.REPLAY_KEY_MISSING)


@pytest.mark.parametrize(
    ("signature", "warned"),
    [
        ({}, False),
        ({"encoding": "base64"}, False),
        ({"encoding": "base64url"}, True),
        ({"encoding": "hex-any-case"}, True),
        ({"list": {"separator": ",", "pair": "=", "key": "v1"}}, True),
    ],
)
def test_a_signature_that_can_be_written_twice(signature: dict[str, Any], warned: bool, tmp_path: Path) -> None:
    """As a key, a signature that a repeater can write in another way is warned of: it would be a new delivery."""
    rules = {"signature": {**HMAC, **signature}, "replay": {"key": "header:x-SIGNATURE"}}
    route = {"name": "bot", "path": "/hook", "secrets": secrets(SECRET), "rules": rules}
    (tmp_path / "policy.yaml").write_text(policy_text([route]))
    warnings = read_policy(tmp_path / "policy.yaml", {}).warnings
    assert any("the key is not signed" in warning.message for warning in warnings) is warned


async def test_store_fails(tmp_path: Path) -> None:
    """A store that does not answer is 503 with a time to come back; with on_store_error: allow it is forwarded and counted."""
    for rule, reason in ((ROUTE, Reason.STORE_UNREACHABLE), (route(on_store_error="allow"), OK)):
        gate = await compiled(tmp_path, rule)
        await gate.store.close()
        judged = await gate.deliver(ONE)
        assert judged.reason is reason
        assert gate.failed == ["claim"]
        if reason is OK:
            assert judged.findings == [Finding(RuleName.REPLAY, Reason.STORE_UNREACHABLE, Mode.REPORT)]
            assert not judged.permit.reserved.key
        else:
            assert judged.ended[1:3] == (503, 5)


async def test_a_full_store(tmp_path: Path) -> None:
    """A full store refuses what is new rather than forget what is known."""
    gate = await compiled(tmp_path, ROUTE, store=MemoryStore(Clock(), max_entries=1))
    assert (await gate.deliver(ONE)).reason is OK
    assert (await gate.deliver(request(b'{"id":2}'))).reason is Reason.STORE_UNREACHABLE
    assert (await gate.deliver(ONE)).reason is DUPLICATE


async def test_the_end_cannot_be_told(tmp_path: Path) -> None:
    """Where the store fails after the bot has answered, that is counted and nothing else happens."""
    gate = await compiled(tmp_path, ROUTE, store=SqliteStore(tmp_path / "claims.db"))
    judged = [await gate.judge(ONE), await gate.judge(request(b'{"id":2}'))]
    await gate.store.close()
    await gate.gate.settle(judged[0].permit.reserved, delivered=True)
    await gate.gate.settle(judged[1].permit.reserved, delivered=False)
    assert gate.failed == ["confirm", "release"]


async def killed_with_a_claim(folder: Path, rule: dict[str, Any]) -> Compiled:
    """A gate whose store holds a claim of a process that was killed."""
    database = folder / "claims.db"
    command = [sys.executable, "-m", "tests.pipeline.dying", str(folder), str(database), json.dumps(rule), '{"id":1}']
    died = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, timeout=60)
    assert died.returncode == -signal.SIGKILL
    return await compiled(folder, rule, store=SqliteStore(database))


async def test_in_doubt_deliver(tmp_path: Path) -> None:
    """A request whose first try died with its process is forwarded again, marked, and from then on known."""
    gate = await killed_with_a_claim(tmp_path, ROUTE)
    judged = await gate.deliver(ONE)
    assert judged.permit.reserved.in_doubt
    assert not judged.findings
    assert (await gate.deliver(ONE)).reason is DUPLICATE
    await gate.store.close()


async def test_in_doubt_drop(tmp_path: Path) -> None:
    """With in_doubt: drop it is acknowledged instead, now and later."""
    gate = await killed_with_a_claim(tmp_path, route(in_doubt="drop"))
    for _ in range(2):
        judged = await gate.deliver(ONE)
        assert (judged.reason, judged.status) == (DUPLICATE, 200)
    await gate.store.close()


async def test_a_delivery_without_the_key(tmp_path: Path) -> None:
    """Where the key is absent, null, or the body no JSON, ``otherwise`` names the delivery; a doubled key is no absent one."""
    gate = await compiled(tmp_path, route(otherwise="body:sha256"))
    for body in (b"{}", b'{"id":null}', b"a=1&b=2", b'{"id":""}'):
        assert (await gate.deliver(request(body))).reason is OK
        assert (await gate.deliver(request(body))).reason is DUPLICATE
    assert (await gate.deliver(request(b'{"id":1,"a":1}'))).reason is OK
    assert (await gate.deliver(request(b'{"id":1,"a":2}'))).reason is CONFLICT
    assert (await gate.deliver(request(b'{"id":1,"id":2}'))).reason is Reason.REPLAY_KEY_MISSING


async def test_neither_key(tmp_path: Path) -> None:
    """Without the one and the other nothing is forwarded, and the text of the one is not the text of the other."""
    gate = await compiled(tmp_path, route(key="header:X-Id", otherwise="header:X-Other"))
    assert (await gate.deliver(request(b"{}"))).reason is Reason.REPLAY_KEY_MISSING
    assert (await gate.deliver(request(b"{}", [(b"X-Id", b"7")]))).reason is OK
    assert (await gate.deliver(request(b"{}", [(b"X-Other", b"7")]))).reason is OK
    assert (await gate.deliver(request(b"{}", [(b"X-Other", b"7")]))).reason is DUPLICATE
    assert (await gate.deliver(request(b"{}", [(b"X-Id", b"7"), (b"X-Other", b"8")]))).reason is DUPLICATE


async def test_counted_apart(tmp_path: Path) -> None:
    """Equal keys are different deliveries where ``per`` differs; without a value there they are counted together."""
    gate = await compiled(tmp_path, route(key="body:sha256", per="header:X-Topic"))
    topics: list[list[tuple[bytes, bytes]]] = [[], [(b"X-Topic", b"create")], [(b"X-Topic", b"paid")]]
    for topic in topics:
        assert (await gate.deliver(request(b"{}", topic))).reason is OK
    for topic in topics:
        assert (await gate.deliver(request(b"{}", topic))).reason is DUPLICATE


async def test_attempts_counted_in_the_body(tmp_path: Path) -> None:
    """With ``on_conflict: duplicate`` another body under the same key waits for the first one's end, and is then its repeat."""
    gate = await compiled(tmp_path, route(on_conflict="duplicate"))
    second = request(b'{"id":1,"attempt":2}')
    first = await gate.judge(ONE)
    waiting = asyncio.ensure_future(gate.judge(second))
    await asyncio.sleep(0)
    assert not waiting.done()
    await gate.gate.settle(first.permit.reserved, delivered=False)
    assert (await waiting).status == 503
    assert (await gate.deliver(second)).reason is OK
    assert (await gate.deliver(ONE)).reason is DUPLICATE
