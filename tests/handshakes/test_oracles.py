"""An answer is no signing machine for strangers and no page of theirs: what is repeated and what is signed has narrow limits."""

from pathlib import Path
from urllib.parse import quote

import pytest

from proxy.verdict import Reason, Refusal
from tests.handshakes.judged import asked, gate_for, judge
from tests.handshakes.senders import DISCORD_KEY, SECRET, VERIFY, Check, checks, json_body, stamped
from tests.pipeline.judging import Judged

ZOOM = ("x-zm-signature", "x-zm-request-timestamp")


def said(judged: Judged | None) -> bytes | None:
    """What the gate answered in the bot's place."""
    return judged.ended.said.body if judged and isinstance(judged.ended, Refusal) and judged.ended.said else None


def now(check: Check) -> float:
    """The time at which it was signed."""
    return float(next((value for name, value in check.fields.items() if name.lower().endswith("timestamp")), 0))


SIGNED = ["slack: url_verification", "discord-interactions: ping", "discord-webhook-events: ping", "zoom: validation"]


@pytest.mark.parametrize("mode", ["enforce", "report", "off", "50%"])
@pytest.mark.parametrize("name", [*SIGNED, "viber: webhook", "line: verify"])
async def test_signed_ones_need_their_signature(name: str, mode: str, tmp_path: Path) -> None:
    """Where a check is signed, the gate answers nothing but a signed one, whatever the mode says."""
    check = checks()[name]
    secret = {"value": DISCORD_KEY if "discord" in name else SECRET}
    gate = await gate_for(tmp_path, check.provider, secret, mode=mode)
    header = next(one for one in check.fields if "signature" in one.lower() and "timestamp" not in one.lower())
    broken = check.fields[header][:-4] + ("AAA=" if check.fields[header].endswith("=") else "0000")
    bare = {key: value for key, value in check.fields.items() if key != header}
    answered = said(await judge(gate, asked("POST", "", check.fields, check.body, at=now(check))))
    assert (answered is None) == (mode == "off" and "discord" not in name)
    for fields in (bare, {**check.fields, header: broken}):
        assert said(await judge(gate, asked("POST", "", fields, check.body, at=now(check)))) is None


async def test_a_stale_one_is_not_answered(tmp_path: Path) -> None:
    """A signed check that somebody kept is not answered later, in report mode neither."""
    check = checks()["slack: url_verification"]
    for mode in ("enforce", "report"):
        gate = await gate_for(tmp_path, "slack", {"value": SECRET}, mode=mode)
        assert said(await judge(gate, asked("POST", "", check.fields, check.body, at=now(check)))) is not None
        assert said(await judge(gate, asked("POST", "", check.fields, check.body, at=now(check) + 301))) is None


FORGERIES = ['v0:1700000000:{"event":"meeting.ended"}', "v0:1", "a:b", "", "a" * 65, "a b", "é", "a\n", '"', "a{b", "<b>"]


@pytest.mark.parametrize("token", FORGERIES)
async def test_zoom(token: str, tmp_path: Path) -> None:
    """Zoom's check is answered for short plain tokens alone: nothing that could be the beginning of what Zoom signs."""
    body = json_body(event="endpoint.url_validation", payload={"plainToken": token})
    gate = await gate_for(tmp_path, "zoom", {"value": SECRET})
    fields = stamped(body, *ZOOM)
    assert said(await judge(gate, asked("POST", "", fields, body, at=float(fields[ZOOM[1]])))) is None


@pytest.mark.parametrize("token", ["a" * 64, "A-Z_09"])
async def test_zoom_answers_the_rest(token: str, tmp_path: Path) -> None:
    """The longest token and all its characters are answered."""
    body = json_body(event="endpoint.url_validation", payload={"plainToken": token})
    gate = await gate_for(tmp_path, "zoom", {"value": SECRET})
    fields = stamped(body, *ZOOM)
    assert said(await judge(gate, asked("POST", "", fields, body, at=float(fields[ZOOM[1]])))) is not None


@pytest.mark.parametrize("mode", ["forward", "answer"])
@pytest.mark.parametrize(
    "token", ['{"direct_message_events":[]}', "{}", "a{", "[]", "a b", "a.b", "a" * 129, "", "a\x00", "é", '"a"']
)
async def test_x(token: str, mode: str, tmp_path: Path) -> None:
    """X's unsigned check reaches neither the gate's key nor the bot's with anything that could be a delivery."""
    gate = await gate_for(tmp_path, "x", {"value": SECRET}, handshake=mode)
    judged = await judge(gate, asked("GET", f"crc_token={quote(token, safe='')}", {}))
    assert judged is None or judged.reason is Reason.SIGNATURE_MISSING


async def test_x_with_a_wrong_signature(tmp_path: Path) -> None:
    """A signature that is there must be right, though none is needed."""
    check = checks()["x: crc, signed"]
    gate = await gate_for(tmp_path, "x", {"value": SECRET})
    assert said(await judge(gate, asked("GET", check.query, check.fields))) is not None
    for query in (check.query.replace("c0ffee", "c0ffef"), "crc_token=other"):
        assert said(await judge(gate, asked("GET", query, check.fields))) is None


SCRIPTS = [
    "<script>alert(1)</script>",
    "<svg onload=x>",
    "a&lt;",
    "'",
    '"',
    "`",
    "\\u003c",
    "a\r\nSet-Cookie: a=b",
    "\x00",
    "\x7f",
    "é",
    "a" * 2049,
]


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("name", ["dropbox", "microsoft-graph", "messenger", "okta", "slack", "cloudevents-webhook"])
async def test_no_page_of_strangers(name: str, script: str, tmp_path: Path) -> None:
    """Nothing that a browser could run, that ends a field, or that is too long is repeated to anybody."""
    handshake: dict[str, object] = {"mode": "answer"}
    if name == "messenger":
        handshake["token"] = {"value": VERIFY}
    if name == "cloudevents-webhook":
        handshake["origins"] = ["*"]
    gate = await gate_for(tmp_path, name, {"value": SECRET}, handshake=handshake)
    written = quote(script, safe="")
    body = json_body(type="url_verification", challenge=script)
    requests = {
        "dropbox": asked("GET", f"challenge={written}", {}),
        "microsoft-graph": asked("POST", f"validationToken={written}", {}),
        "messenger": asked("GET", f"hub.mode=subscribe&hub.challenge={written}&hub.verify_token={VERIFY}", {}),
        "okta": asked("GET", "", {"X-Okta-Verification-Challenge": script, "Authorization": SECRET}),
        "slack": asked("POST", "", stamped(body, "X-Slack-Signature", "X-Slack-Request-Timestamp"), body),
        "cloudevents-webhook": asked("OPTIONS", "", {"WebHook-Request-Origin": script}),
    }
    request = requests[name]
    if name == "slack":
        request = asked("POST", "", stamped(body, "X-Slack-Signature", "X-Slack-Request-Timestamp"), body, at=_stamp(body))
    assert said(await judge(gate, request)) is None


def _stamp(body: bytes) -> float:
    return float(stamped(body, "X-Slack-Signature", "X-Slack-Request-Timestamp")["X-Slack-Request-Timestamp"])


def test_never_taken_for_a_page() -> None:
    """Every answer that repeats something is plain text or JSON, and says that it must not be sniffed."""
    from proxy.policy.presets import PRESETS, preset

    for provider in PRESETS:
        for one in preset(provider).route.get("handshakes", ()):
            answer = one.get("answer") or {}
            if "{echo}" in answer.get("body", ""):
                assert answer["type"] in {"text/plain; charset=utf-8", "application/json"}, provider
