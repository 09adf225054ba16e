"""What is waived for a check of the address is waived for exactly that request: an event never gets through in its place."""

from pathlib import Path
from typing import Any

import pytest

from proxy.messages import Request
from proxy.pipeline.gate import Permit
from proxy.verdict import Reason
from tests.handshakes.judged import asked, gate_for, judge
from tests.handshakes.senders import SECRET, VERIFY, Check, checks, json_body
from tests.pipeline.judging import NOW

WAIVED = [
    "messenger: verification",
    "dropbox: challenge",
    "microsoft-graph: validation",
    "cloudevents-webhook: permission",
    "x: crc",
]
EVENT = json_body(object="page", entry=[], value=[{"clientState": "wrong"}], events=[])


def variants(check: Check) -> dict[str, Check]:
    """Requests that are nearly that check, and are none."""
    fields, query = check.fields, check.query
    return {
        "with a body": check._replace(body=EVENT),
        "with one byte": check._replace(body=b"x"),
        "another method": check._replace(method="PUT"),
        "an event's method": check._replace(method="POST", body=EVENT),
        "one name more": check._replace(query=f"{query}&a=b" if query else "a=b"),
        "an empty name more": check._replace(query=f"{query}&" if query else "&"),
        "twice": check._replace(query=f"{query}&{query}" if query else "access_token=a&access_token=b", fields=fields),
        "a name that is encoded": check._replace(query="%" + f"{ord((query or 'a')[0]):02x}" + (query or "a")[1:]),
    }


@pytest.mark.parametrize("mode", ["forward", "answer"])
@pytest.mark.parametrize("kind", list(variants(checks()["dropbox: challenge"])))
@pytest.mark.parametrize("name", WAIVED)
async def test_near_misses(name: str, kind: str, mode: str, tmp_path: Path) -> None:
    """A body, another method, another name in the query or one twice: no such check, and without a signature refused."""
    check = checks()[name]
    more: dict[str, dict[str, Any]] = {"messenger": {"token": {"value": VERIFY}}, "cloudevents-webhook": {"origins": ["*"]}}
    handshake = {"mode": mode, **(more.get(check.provider, {}) if mode == "answer" else {})}
    gate = await gate_for(tmp_path, check.provider, {"value": SECRET}, handshake=handshake)
    wrong = variants(check)[kind]
    judged = await judge(gate, asked(wrong.method, wrong.query, wrong.fields, wrong.body))
    assert judged is None or judged.status in {401, 403}
    assert judged is None or judged.reason in {
        Reason.SIGNATURE_MISSING,
        Reason.SIGNATURE_MALFORMED,
        Reason.SIGNATURE_MISMATCH,
    }


@pytest.mark.parametrize("name", WAIVED)
async def test_chunked(name: str, tmp_path: Path) -> None:
    """A body whose length is not told yet is a body."""
    check = checks()[name]
    gate = await gate_for(tmp_path, check.provider, {"value": SECRET}, handshake="forward")
    request = asked(check.method, check.query, check.fields, chunked=True)
    assert gate.gate.gate_of(request.head) is gate.gate


@pytest.mark.parametrize("token", ["", "x", VERIFY + "x", VERIFY[:-1], VERIFY.upper(), "%00"])
@pytest.mark.parametrize("mode", ["forward", "answer"])
async def test_verify_token(token: str, mode: str, tmp_path: Path) -> None:
    """Where the verify token is known to the gate, a wrong one is refused with 403, whoever answers."""
    handshake = {"mode": mode, "token": {"value": VERIFY}}
    gate = await gate_for(tmp_path, "messenger", {"value": SECRET}, handshake=handshake)
    query = f"hub.mode=subscribe&hub.challenge=1&hub.verify_token={token}"
    judged = await judge(gate, asked("GET", query, {}))
    assert judged is not None and judged.status == 403


async def test_report_mode_does_not_answer_a_wrong_token(tmp_path: Path) -> None:
    """In report mode a wrong token is let through to the bot and reported; the gate itself never confirms it."""
    handshake = {"mode": "answer", "token": {"value": VERIFY}}
    for mode in ("report", "off"):
        gate = await gate_for(tmp_path, "messenger", {"value": SECRET}, handshake=handshake, mode=mode)
        judged = await judge(gate, asked("GET", "hub.mode=subscribe&hub.challenge=1&hub.verify_token=x", {}))
        assert judged is not None and judged.reason is Reason.NONE
        judged = await judge(gate, asked("GET", f"hub.mode=subscribe&hub.challenge=1&hub.verify_token={VERIFY}", {}))
        assert judged is not None and judged.reason is Reason.HANDSHAKE


@pytest.mark.parametrize("mode", ["enforce", "report", "off", "1%"])
async def test_bound(mode: str, tmp_path: Path) -> None:
    """Unsigned checks have a bound of their own: the twenty-first at once is told to wait, and signed events are not touched."""
    gate = await gate_for(tmp_path, "dropbox", {"value": SECRET}, mode=mode)
    request = asked("GET", "challenge=abc", {})
    reasons = [judged.reason for _ in range(25) if (judged := await judge(gate, request)) is not None]
    assert reasons.count(Reason.HANDSHAKE) == 20
    assert set(reasons[20:]) == {Reason.RATE_LIMITED}
    event = checks()["viber: webhook"]
    judged = await judge(gate, asked("POST", "", {"X-Dropbox-Signature": event.fields["X-Viber-Content-Signature"]}, event.body))
    assert judged is not None and judged.reason is Reason.NONE


async def test_notion(tmp_path: Path) -> None:
    """Notion's first request brings the secret itself: that one member alone reaches the bot; an event with it does not."""
    gate = await gate_for(tmp_path, "notion", {"value": SECRET}, handshake="forward")
    first = json_body(verification_token="secret_abc")  # noqa: S106 - of tests alone
    fields = {"X-Notion-Signature": "sha256=" + "0" * 64}
    judged = await judge(gate, asked("POST", "", fields, first))
    assert judged is not None and judged.reason is Reason.NONE
    for body in (
        json_body(verification_token="secret_abc", type="page.created"),  # noqa: S106 - of tests alone
        json_body(verification_token="<b>"),  # noqa: S106 - of tests alone
        json_body(verification_token=["secret_abc"]),
        b'{"verification_token":"a","verification_token":"b"}',
        json_body(type="page.created"),
    ):
        judged = await judge(gate, asked("POST", "", fields, body))
        assert judged is not None and judged.status == 401, body


async def test_okta_forwards_with_the_token_alone(tmp_path: Path) -> None:
    """Okta's check brings the token, so the bot gets it with the right one only."""
    gate = await gate_for(tmp_path, "okta", {"value": SECRET}, handshake="forward")
    for token, reason in ((SECRET, Reason.NONE), ("x" * 32, Reason.SIGNATURE_MISMATCH)):
        fields = {"X-Okta-Verification-Challenge": "a", "Authorization": token}
        judged = await judge(gate, asked("GET", "", fields))
        assert judged is not None and judged.reason is reason


async def test_origins(tmp_path: Path) -> None:
    """Permission to send is given to origins on the list alone."""
    gate = await gate_for(
        tmp_path, "cloudevents-webhook", {"value": SECRET}, handshake={"mode": "answer", "origins": ["good.example.com"]}
    )
    for origin, allowed in (("good.example.com", True), ("GOOD.example.com", True), ("evil.example.com", False)):
        judged = await judge(gate, asked("OPTIONS", "", {"WebHook-Request-Origin": origin}))
        assert (judged is not None and judged.reason is Reason.HANDSHAKE) == allowed


async def test_feishu(tmp_path: Path) -> None:
    """Feishu's unsigned check passes only where it can be decrypted and its token is right; an unsigned event never does."""
    from proxy.rules.callback_cipher import seal_lark

    gate = await gate_for(tmp_path, "feishu", {"value": SECRET}, handshake={"mode": "answer", "token": {"value": VERIFY}})

    def sealed(key: str = SECRET, **members: str) -> bytes:
        return json_body(encrypt=seal_lark(key.encode(), json_body(**members)).decode())

    right = sealed(type="url_verification", challenge="abc", token=VERIFY)
    wrong = [
        sealed(type="url_verification", challenge="abc", token="other"),  # noqa: S106 - of tests alone
        sealed(type="event_callback", challenge="abc", token=VERIFY),
        sealed("another key", type="url_verification", challenge="abc", token=VERIFY),
        sealed(type="url_verification", challenge="<script>", token=VERIFY),
        json_body(type="url_verification", challenge="abc", token=VERIFY),
        b"{}",
    ]
    judged = await judge(gate, asked("POST", "", {}, right, at=NOW))
    assert judged is not None and judged.reason is Reason.HANDSHAKE
    for body in wrong:
        judged = await judge(gate, asked("POST", "", {}, body))
        assert judged is not None and judged.status == 401, body


async def test_keys_are_waited_for_once(tmp_path: Path) -> None:
    """A request to a route with handshakes waits for keys that stand elsewhere once, as on any other route."""
    gate = await gate_for(
        tmp_path, "cloudevents-webhook", {"value": SECRET}, handshake={"mode": "answer", "origins": ["good.example.com"]}
    )
    waited: list[Request] = []
    gate.gate.prepare = waited.append
    judged = await judge(gate, asked("POST", "", {"Authorization": f"Bearer {SECRET}"}, b"{}"))
    assert judged is not None and isinstance(judged.ended, Permit)
    assert len(waited) == 1
