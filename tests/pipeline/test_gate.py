"""The gate decides: in which order, by which mode, for which share, and that a forgery leaves no trace."""

import binascii
import hmac
import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from proxy.messages import Field, Head, Request
from proxy.pipeline.gate import Gate, Permit
from proxy.policy.values import Stance
from proxy.rules.base import HeadRule
from proxy.verdict import STATUS, Finding, Mode, Reason, Refusal, RuleName, Verdict
from tests.pipeline.judging import HMAC, JSON, NOW, SECRET, SIGNATURE, TOKEN, Compiled, compiled, request, secrets

OK, MISMATCH = Reason.NONE, Reason.SIGNATURE_MISMATCH

EVERYTHING: dict[str, Any] = {
    "transport": {"tls": "required"},
    "ip": {"deny": ["198.51.100.0/24"]},
    "rate": {"limit": "1/h", "burst": 1},
    "size": {"max": 100},
    "content": {"types": ["application/json"]},
    "signature": HMAC,
    "timestamp": {"header": "X-Time"},
    "replay": {"key": "json:/update_id"},
    "schema": {"file": "builtin:telegram-update"},
}

TOKEN_RULE = {"scheme": "token", "header": TOKEN.decode()}


def route(*, mode: str | None = None, **rules: Any) -> dict[str, Any]:
    """A route with these rules."""
    return {"secrets": secrets(SECRET), "rules": rules, **({"mode": mode} if mode else {})}


def signed(body: bytes, *more: Field) -> list[Field]:
    """The fields of a genuine request."""
    return [(SIGNATURE, binascii.hexlify(hmac.digest(SECRET.encode(), body, "sha256"))), *more]


def turned(gate: Gate, word: str) -> None:
    """The switch, as the operator turns it."""
    gate.stance = Stance.parse(word)


WORST = b'{"update_id":1,"message":0' + b" " * 100 + b"}"


def worst() -> Request:
    """A request that every rule has something against."""
    return request(WORST, [(b"Content-Type", b"text/plain"), (SIGNATURE, b"0" * 64), (b"X-Time", b"1")], client="198.51.100.7")


ORDER = [
    (RuleName.TRANSPORT, Reason.TLS_REQUIRED),
    (RuleName.IP, Reason.IP_DENIED),
    (RuleName.RATE, Reason.RATE_LIMITED),
    (RuleName.SIZE, Reason.BODY_TOO_LARGE),
    (RuleName.CONTENT, Reason.CONTENT_TYPE_REFUSED),
    (RuleName.SIGNATURE, MISMATCH),
    (RuleName.TIMESTAMP, Reason.TIMESTAMP_EXPIRED),
    (RuleName.SCHEMA, Reason.PAYLOAD_INVALID),
]


async def spent(folder: Path, *, mode: str | None = None, **rules: Any) -> Compiled:
    """A gate whose rate limit has been used up."""
    gate = await compiled(folder, route(mode=mode, **rules), trusted_proxies=["unix"])
    await gate.judge(worst())
    return gate


async def test_order(tmp_path: Path) -> None:
    """Findings come in the documented order; a day of reporting shows all of them."""
    gate = await spent(tmp_path, mode="report", **EVERYTHING)
    judged = await gate.judge(worst())
    assert [(found.rule, found.reason) for found in judged.findings] == ORDER
    assert {found.mode for found in judged.findings} == {Mode.REPORT}
    assert list(judged.permit.reported) == judged.findings


@pytest.mark.parametrize("count", range(len(ORDER)))
async def test_first_enforced_ends_the_walk(count: int, tmp_path: Path) -> None:
    """With the first rules reported and the rest enforced, the first enforced finding decides and the walk ends there."""
    rules: dict[str, Any] = {
        name: {**rule, "mode": "report"} if name in [rule for rule, _ in ORDER[:count]] else rule
        for name, rule in EVERYTHING.items()
    }
    gate = await compiled(tmp_path, route(**rules), trusted_proxies=["unix"])
    if count >= 3 or count == 2:
        await gate.judge(worst())
    judged = await gate.judge(worst())
    assert [(found.rule, found.reason) for found in judged.findings] == ORDER[: count + 1]
    assert judged.reason is ORDER[count][1]
    assert [found.mode for found in judged.findings] == [Mode.REPORT] * count + [Mode.ENFORCE]


async def test_a_token_is_judged_before_the_body(tmp_path: Path) -> None:
    """A wrong token is refused at the door; the declared size comes before it, as the surface says."""
    gate = await compiled(tmp_path, route(size={"max": 10}, content={"types": ["application/json"]}, signature=TOKEN_RULE))
    judgement = gate.gate.open()
    refusal = gate.gate.door(request(b"{}", [(TOKEN, b"wrong")]).head, judgement)
    assert refusal is not None
    assert refusal.reason is MISMATCH
    assert (await gate.judge(request(b"x" * 11, [(TOKEN, b"wrong")]))).reason is Reason.BODY_TOO_LARGE


async def test_replay_comes_before_schema_and_after_proof(tmp_path: Path) -> None:
    """A repeat is told before its shape is looked at; a forgery is told before its id is."""
    gate = await compiled(tmp_path, route(signature=HMAC, replay={"key": "json:/update_id"}, schema=EVERYTHING["schema"]))
    body = b'{"update_id":1}'
    assert (await gate.deliver(request(body, signed(body)))).reason is OK
    assert (await gate.deliver(request(body, signed(body)))).reason is Reason.REPLAY_DUPLICATE
    assert (await gate.deliver(request(body, [(SIGNATURE, b"0" * 64)]))).reason is MISMATCH
    wrong = b'{"update_id":1,"message":1}'
    assert (await gate.deliver(request(wrong, signed(wrong)))).reason is Reason.REPLAY_CONFLICT


MODES: list[tuple[str, str | None, str | None, str, str | None]] = [
    # the rule's, the route's, the switch, the policy's -> what counts; None: nothing was found
    ("enforce", None, None, "enforce", "enforce"),
    ("enforce", None, None, "report", "report"),
    ("enforce", None, None, "off", None),
    ("enforce", "report", None, "enforce", "report"),
    ("enforce", "enforce", None, "report", "enforce"),
    ("enforce", "off", None, "enforce", None),
    ("report", None, None, "enforce", "report"),
    ("report", "enforce", "enforce", "enforce", "report"),
    ("report", "off", None, "enforce", None),
    ("off", "enforce", "enforce", "enforce", None),
    ("enforce", "enforce", "report", "enforce", "report"),
    ("enforce", "report", "enforce", "report", "enforce"),
    ("enforce", "enforce", "off", "enforce", None),
    ("enforce", "off", "enforce", "off", "enforce"),
    ("report", "enforce", "off", "enforce", None),
    ("enforce", "0%", None, "enforce", "report"),
    ("enforce", "100%", None, "report", "enforce"),
]


@pytest.mark.parametrize(("rule", "own", "switch", "policy", "counts"), MODES)
async def test_modes(rule: str, own: str | None, switch: str | None, policy: str, counts: str | None, tmp_path: Path) -> None:
    """The switch, else the route's mode, else the policy's, combined with the rule's own: the milder wins."""
    given = route(mode=own, ip={"deny": ["198.51.100.7"], "mode": rule}, signature=HMAC)
    gate = await compiled(tmp_path, {**given, "insecure": False}, mode=policy)
    if switch:
        turned(gate.gate, switch)
    body = b"{}"
    judged = await gate.judge(request(body, signed(body)))
    assert [found.mode.value for found in judged.findings] == ([counts] if counts else [])
    assert judged.reason is (Reason.IP_DENIED if counts == "enforce" else OK)


async def test_the_switch_acts_between_two_requests(tmp_path: Path) -> None:
    """A request ends under the stance with which it began; the next one begins under the new."""
    gate = await compiled(tmp_path, route(signature=HMAC))
    begun = gate.gate.open()
    turned(gate.gate, "report")
    forged = request(b"{}", [(SIGNATURE, b"0" * 64)])
    assert isinstance(await gate.gate.desk(forged, begun), Refusal)
    assert isinstance((await gate.judge(forged)).ended, Permit)


FORGED = [(SIGNATURE, b"0" * 64)]


@pytest.mark.parametrize("mode", ["enforce", "report", "off", "50%"])
@pytest.mark.parametrize("own", ["enforce", "report"])
@pytest.mark.parametrize("fields", [[], FORGED, [(SIGNATURE, b"")], FORGED * 2], ids=["missing", "wrong", "empty", "doubled"])
async def test_forgeries_leave_no_claim(mode: str, own: str, fields: list[Field], tmp_path: Path) -> None:
    """Whatever the mode, a forged request reserves nothing, so the genuine one with its id passes."""
    rules = route(signature={**HMAC, "mode": own}, timestamp={"header": "X-Time", "mode": own}, replay={"key": "json:/update_id"})
    gate = await compiled(tmp_path, rules, mode=mode)
    fresh = (b"X-Time", b"%d" % NOW)
    for number in range(20):
        body = b'{"update_id":%d}' % number
        await gate.deliver(request(body + b" ", [*fields, fresh]))
        await gate.deliver(request(body + b"\n", signed(body + b"\n", (b"X-Time", b"1"))))
        assert gate.store.entries() == 0
    turned(gate.gate, "enforce")
    for number in range(20):
        body = b'{"update_id":%d}' % number
        assert (await gate.deliver(request(body, signed(body, fresh)))).reason is OK


@pytest.mark.parametrize("stamp", [b"1", b"4102444800", b"yesterday"], ids=["old", "ahead", "no time"])
async def test_a_time_that_is_only_told_is_no_way_around_the_claim(stamp: bytes, tmp_path: Path) -> None:
    """Where the time is reported and the signature enforced, a proved request with an odd time counts once like any other."""
    rules = route(signature=HMAC, timestamp={"header": "X-Time", "mode": "report"}, replay={"key": "json:/update_id"})
    gate = await compiled(tmp_path, rules)
    body = b'{"update_id":1}'
    fields = signed(body, (b"X-Time", stamp))
    assert (await gate.deliver(request(body, fields))).reason is OK
    assert (await gate.deliver(request(body, fields))).reason is Reason.REPLAY_DUPLICATE
    turned(gate.gate, "report")
    body = b'{"update_id":2}'
    assert (await gate.deliver(request(body, signed(body, (b"X-Time", stamp))))).reason is OK
    assert gate.store.entries() == 1


@pytest.mark.parametrize("scheme", ["token", "hmac"])
async def test_what_is_not_proved_leaves_no_claim(scheme: str, tmp_path: Path) -> None:
    """With when_missing: pass a request without the header goes on, but only a proved one reserves its id."""
    rule = TOKEN_RULE if scheme == "token" else HMAC
    gate = await compiled(tmp_path, route(signature={**rule, "when_missing": "pass"}, replay={"key": "json:/update_id"}))
    body = b'{"update_id":1}'
    assert (await gate.deliver(request(b'{"update_id":1,"message":"forged"}'))).reason is OK
    assert gate.store.entries() == 0
    fields = [(TOKEN, SECRET.encode())] if scheme == "token" else signed(body)
    assert (await gate.deliver(request(body, fields))).reason is OK
    assert (await gate.deliver(request(body, fields))).reason is Reason.REPLAY_DUPLICATE


async def test_reported_findings_beside_a_proof_do_not_stop_the_claim(tmp_path: Path) -> None:
    """A proved request is counted once even where another rule reports something about it."""
    gate = await compiled(
        tmp_path,
        route(ip={"deny": ["198.51.100.7"], "mode": "report"}, signature=HMAC, replay={"key": "json:/update_id"}),
    )
    body = b'{"update_id":1}'
    assert (await gate.deliver(request(body, signed(body)))).reason is OK
    assert (await gate.deliver(request(body, signed(body)))).reason is Reason.REPLAY_DUPLICATE


async def test_reported_repeats_are_forwarded(tmp_path: Path) -> None:
    """With replay in report mode a repeat is told and forwarded, and the claim of the first stands."""
    gate = await compiled(tmp_path, {"insecure": True, "rules": {"replay": {"key": "json:/update_id", "mode": "report"}}})
    one = request(b'{"update_id":1}')
    await gate.deliver(one)
    for _ in range(2):
        judged = await gate.deliver(one)
        assert [found.reason for found in judged.permit.reported] == [Reason.REPLAY_DUPLICATE]
        assert not judged.permit.reserved.key
    keyless = await gate.deliver(request(b"{}"))
    assert [found.reason for found in keyless.permit.reported] == [Reason.REPLAY_KEY_MISSING]


# -- the share


async def share_gate(folder: Path, share: str, **rules: Any) -> Compiled:
    """A gate that enforces for a share of requests."""
    return await compiled(folder, route(mode=share, **(rules or {"signature": HMAC})))


@pytest.mark.parametrize("share", [1, 5, 50, 95])
async def test_share(share: int, tmp_path: Path) -> None:
    """About the share is refused, the rest is reported, and nothing is lost on the way."""
    gate = await share_gate(tmp_path, f"{share}%")
    bodies = [b'{"update_id":%d}' % number for number in range(10_000)]
    refused = 0
    for body in bodies:
        judged = await gate.judge(request(body, FORGED))
        assert [found.reason for found in judged.findings] == [MISMATCH]
        wanted = Mode.ENFORCE if judged.reason is MISMATCH else Mode.REPORT
        assert judged.findings[0].mode is wanted
        refused += judged.reason is MISMATCH
    assert abs(refused / 10_000 - share / 100) < 0.015


async def test_the_same_body_falls_on_the_same_side(tmp_path: Path) -> None:
    """The side depends on the body alone: not on header, client, moment, or process."""
    gate = await share_gate(tmp_path, "50%")
    again = await share_gate(tmp_path, "50%")
    wider = await share_gate(tmp_path, "70%")
    for number in range(300):
        body = b"%d" % number
        side = (await gate.judge(request(body, FORGED))).reason
        assert (await again.judge(request(body, [], client="203.0.113.9", arrived=NOW + 9))).reason.startswith(side[:9])
        if side is MISMATCH:
            assert (await wider.judge(request(body, FORGED))).reason is MISMATCH, "a wider share takes nobody out"


async def test_the_door_waits_for_the_share(tmp_path: Path) -> None:
    """What the door finds is held until the body has said on which side it falls; then the first finding decides."""
    rules = {"ip": {"deny": ["198.51.100.7"]}, "signature": TOKEN_RULE}
    gate = await share_gate(tmp_path, "50%", **rules)
    reasons: Counter[Reason] = Counter()
    for number in range(300):
        judged = await gate.judge(request(b"%d" % number, [(TOKEN, b"wrong")]))
        reasons[judged.reason] += 1
        mode = Mode.ENFORCE if judged.reason is Reason.IP_DENIED else Mode.REPORT
        assert judged.findings == [
            Finding(RuleName.IP, Reason.IP_DENIED, mode),
            Finding(RuleName.SIGNATURE, MISMATCH, mode),
        ]
    assert set(reasons) == {Reason.IP_DENIED, OK}
    assert min(reasons.values()) > 100


async def test_the_wall_holds_for_the_share(tmp_path: Path) -> None:
    """Until the share has spoken, a body may go on to the wall; there it ends for everybody."""
    given = route(mode="50%", size={"max": 10}, signature=HMAC)
    gate = await compiled(tmp_path, given, limits={"body_bytes": 1000})
    assert gate.gate.body_limit(gate.gate.open()) == 1000
    reasons = Counter([(await gate.judge(request(b"x" * (11 + number), FORGED, length=None))).reason for number in range(300)])
    assert set(reasons) == {Reason.BODY_TOO_LARGE, OK}
    over = await gate.judge(request(b"x" * 1001, FORGED, length=None))
    assert (over.reason, over.status) == (Reason.BODY_TOO_LARGE, 413)


async def test_genuine_requests_pass_on_both_sides(tmp_path: Path) -> None:
    """A share refuses nobody who is genuine."""
    gate = await share_gate(tmp_path, "50%")
    for number in range(200):
        body = b"%d" % number
        assert (await gate.judge(request(body, signed(body)))).reason is OK


# -- a rule that breaks


class Broken:
    """A rule with a defect."""

    name = RuleName.IP

    def check(self, head: Head) -> Verdict:
        """Raise, with a secret in the text."""
        raise RuntimeError(f"about {head.named!r}")


@pytest.mark.parametrize(("mode", "reason"), [(Mode.ENFORCE, Reason.RULE_BROKE), (Mode.REPORT, OK)])
async def test_a_rule_that_raises(mode: Mode, reason: Reason, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A rule that raises has found rule_broke; its mode decides as usual, and a request proved otherwise goes on."""
    gate = await compiled(tmp_path, route(signature=HMAC))
    broken: HeadRule = Broken()
    plan = gate.gate.plans[Mode.ENFORCE]
    gate.gate.plans[Mode.ENFORCE] = plan._replace(door=((broken, mode), *plan.door))
    with caplog.at_level(logging.ERROR):
        judged = await gate.judge(request(b"{}", signed(b"{}")))
    assert judged.reason is reason
    assert judged.findings == [Finding(RuleName.IP, Reason.RULE_BROKE, mode)]
    assert judged.status == (500 if reason is Reason.RULE_BROKE else 200)
    assert "rule ip broke" in caplog.messages


class BrokenDesk:
    """A rule of the desk with a defect."""

    name = RuleName.SIGNATURE

    def check(self, request: Request) -> Verdict:
        """Raise."""
        raise KeyError("x")


async def test_a_broken_proof_proves_nothing(tmp_path: Path) -> None:
    """A signature rule that raises, even in report mode, leaves no claim behind."""
    gate = await compiled(tmp_path, route(signature={**HMAC, "mode": "report"}, replay={"key": "json:/update_id"}))
    plan = gate.gate.plans[Mode.ENFORCE]
    gate.gate.plans[Mode.ENFORCE] = plan._replace(desk=((BrokenDesk(), Mode.REPORT),))
    judged = await gate.deliver(request(b'{"update_id":1}'))
    assert [found.reason for found in judged.permit.reported] == [Reason.RULE_BROKE]
    assert gate.store.entries() == 0


# -- answers


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not OK])
def test_every_reason_has_an_answer(reason: Reason) -> None:
    """Every reason has a status that no sender executes, follows, or takes for the end of the hook."""
    status = STATUS[reason]
    assert status == 200 if reason in {Reason.REPLAY_DUPLICATE, Reason.HANDSHAKE} else 400 <= status < 600
    assert status != 410


ANSWERS: list[tuple[dict[str, Any], tuple[int, int]]] = [
    ({}, (401, 0)),
    ({"status": 406}, (406, 0)),
    ({"status": 503}, (503, 5)),
    ({"status": 503, "retry_after": 60}, (503, 60)),
    ({"retry_after": 60}, (401, 60)),
    ({"acknowledge": True}, (200, 0)),
]


@pytest.mark.parametrize(("answer", "told"), ANSWERS)
async def test_answers(answer: dict[str, Any], told: tuple[int, int], tmp_path: Path) -> None:
    """The policy may change a rule's answer; 503 always says when to come back."""
    gate = await compiled(tmp_path, route(signature={**HMAC, "answer": answer}))
    judged = await gate.judge(request(b"{}", FORGED))
    assert judged.reason is MISMATCH
    assert judged.ended[1:3] == told


# -- the word in the log


@pytest.mark.parametrize(
    ("event", "body", "fields", "word"),
    [
        (["message", "poll"], b'{"update_id":1,"message":{}}', [], "message"),
        (["message", "poll"], b'{"update_id":1,"secret\\nkey":{}}', [], "other"),
        (["message", "poll"], b"[]", [], "other"),
        (["message", "poll"], b"{", [], "other"),
        (['a"b'], b'{"a\\"b":1}', [], "other"),
        (["\u00e9"], '{"\u00e9":1}'.encode(), [], "other"),
        ([], b"{}", [], ""),
        (["header:X-Event"], b"{}", [(b"X-Event", b"pull_request.opened-1")], "pull_request.opened-1"),
        (["header:X-Event"], b"{}", [(b"X-Event", b'push","a":"b')], "other"),
        (["header:X-Event"], b"{}", [(b"X-Event", b"\xff\n")], "other"),
        (["header:X-Event"], b"{}", [(b"X-Event", b"x" * 100)], "x" * 40),
        (["header:X-Event"], b"{}", [], "other"),
    ],
)
async def test_update_type(event: list[str], body: bytes, fields: list[Field], word: str, tmp_path: Path) -> None:
    """The type of an update is a known key or a short plain word of a header, never the sender's own text."""
    gate = await compiled(tmp_path, {"insecure": True, "event": event})
    judged = await gate.judge(request(body, [*fields, JSON]))
    assert gate.gate.event(judged.permit.request) == word
    assert json.dumps(word) == f'"{word}"'
