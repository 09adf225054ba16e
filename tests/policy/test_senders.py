"""The senders' presets, over gates compiled from real policies: what a sender really sends passes once, all else does not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import PolicyError
from proxy.policy.model import Route
from proxy.policy.presets import PRESETS, preset, spelled_out
from proxy.policy.reader import read_policy
from tests.pipeline.judging import NOW, request
from tests.policies import policy_text

from .senders import ALL, DUPLICATE, FILES, GENUINE, OK, SECRET, URL, Vector, sender

OWN = {"crm", "generic", "github", "telegram", "telegram-hash", "webhook-timestamped"}
KEYS_ELSEWHERE = {"aws-sns", "botframework", "google-chat", "google-chat-project-number", "paypal", "rfc9421"}
ENVELOPES = {
    "dingtalk-callback",
    "feishu-lark-card",
    "feishu-lark-challenge",
    "feishu-lark-decrypt",
    "feishu-lark-event",
    "meta-verify",
    "webhook-encrypted",
    "wecom",
}
ELSEWHERE = OWN | KEYS_ELSEWHERE | ENVELOPES
"""Presets whose requests are told apart in tests of their own."""

_PROBES = "signature stays enforced whatever the mode and the switch say: this sender probes with forged requests"
_BODY = "{body} is not signed: a holder of one genuine request can change the body"
_KEY = "the key is not signed: who repeats a request can give it a new one"
_APART = "what keeps equal keys apart is not signed: who repeats a request can give it a new one"
TOLD = {
    "adyen": [_BODY],
    "dingtalk-robot": [_KEY, _KEY, _BODY],
    "discord-interactions": [_PROBES],
    "discord-webhook-events": [_PROBES],
    "mailgun": [_BODY],
    "shopify": [_APART],
}
"""The warnings that a preset's own policy has."""

REPEATING = {"dropbox", "twilio"}
"""Whose deliveries cannot be told apart, or, as Twilio's, are told and not held back."""


def plain(name: str) -> Route:
    """A preset's route, typed."""
    return Route.model_validate(spelled_out(name, {"name": "a", "path": "/a", "public_url": URL}))


def test_each_sender_has_its_requests() -> None:
    """No preset is without requests that prove it, here or among those that are told apart elsewhere."""
    assert set(FILES) <= set(PRESETS) <= {*FILES, *ELSEWHERE}
    assert set(GENUINE) == set(FILES)


@pytest.mark.parametrize("vector", ALL, ids=[f"{one.sender}: {one.note}" for one in ALL])
async def test_vector(vector: Vector, tmp_path: Path) -> None:
    """A sender's request gets, from its preset alone, the verdict that its documentation gives it."""
    gate = await vector.gate(tmp_path)
    assert (await gate.judge(vector.request)).reason is vector.reason


@pytest.mark.parametrize("name", FILES)
async def test_one_bit(name: str, tmp_path: Path) -> None:
    """One bit changed anywhere in the body, the signature, the timestamp or the id: refused, wherever the scheme covers it."""
    vector = GENUINE[name]
    gate = await vector.gate(tmp_path)
    signature = plain(name).rules.signature
    assert signature is not None
    assert signature.covers_body or vector.covered or signature.header_names(), "something is proved"
    for body in flipped(vector.body) if signature.covers_body else changed_in(vector.body, vector.covered):
        assert (await gate.judge(vector._replace(body=body).request)).reason is not OK, body
    for index, (field, value) in enumerate(vector.fields):
        for changed in flipped(value) if field.lower() in signed_headers(plain(name)) else ():
            fields = [*vector.fields[:index], (field, changed), *vector.fields[index + 1 :]]
            assert (await gate.judge(vector._replace(fields=fields).request)).reason is not OK, changed
    assert gate.store.entries() == 0, "a forged request leaves no claim"
    assert (await gate.judge(vector.request)).reason is OK


def signed_headers(route: Route) -> set[bytes]:
    """The headers of which every byte counts: the credential, and what a template signs beside it."""
    signature, stamped = route.rules.signature, route.rules.timestamp
    assert signature is not None
    names = set(signature.header_names())
    if stamped is not None and stamped.header is not None and signature.scheme not in {"token", "jwt", "http-message-signatures"}:
        names |= set(stamped.header.lower().split("|"))
    return {name.encode() for name in names}


def changed_in(body: bytes, covered: tuple[bytes, ...]) -> Iterator[bytes]:
    """The body with one bit turned over in one of its covered texts, for each byte of them."""
    for text in covered:
        before, found, after = body.partition(text)
        assert found, text
        for changed in list(flipped(text))[: len(text)]:
            yield before + changed + after


def flipped(data: bytes) -> Iterator[bytes]:
    """The data with the lowest bit of each byte turned over; and one byte shorter, one longer."""
    for index, byte in enumerate(data):
        yield data[:index] + bytes([byte ^ 1]) + data[index + 1 :]
    yield data[:-1]
    yield data + b"0"


@pytest.mark.parametrize("name", FILES)
async def test_once(name: str, tmp_path: Path) -> None:
    """What was delivered is answered 200 and not forwarded again, what failed is; two senders' cannot be told apart."""
    vector = GENUINE[name]
    gate = await vector.gate(tmp_path)
    for _ in range(2):
        assert (await gate.deliver(vector.request, delivered=False)).reason is OK
    assert (await gate.deliver(vector.request)).reason is OK
    again = await gate.judge(vector.request)
    assert (again.reason, again.status) == ((OK, 200) if name in REPEATING else (DUPLICATE, 200))


@pytest.mark.parametrize("name", FILES)
def test_defaults(name: str) -> None:
    """A preset refuses nothing for its type, coding or address, remembers longer than it trusts a time, and never says 410."""
    route = plain(name)
    rules = route.rules
    assert (rules.content, rules.ip, rules.rate, rules.transport, rules.json_schema) == (None, None, None, None, None)
    assert rules.size is not None
    assert rules.size.max >= 8 * 1024**2
    if rules.timestamp is not None:
        assert rules.replay is not None
        assert rules.replay.window >= rules.timestamp.tolerance + rules.timestamp.future
    assert 410 not in route.answers.values()
    assert all(
        rule is None or not rule.answer.acknowledge for rule in (rules.size, rules.signature, rules.timestamp, rules.replay)
    )
    found = preset(name)
    assert found.page
    assert found.secret.advice
    assert "POST" in route.methods


@pytest.mark.parametrize("name", FILES)
def test_warnings(name: str, tmp_path: Path) -> None:
    """A preset is sound without a word of warning, but for what its sender does not sign, and Discord's probes."""
    warnings = [fault.message for fault in read(name, GENUINE[name].secret, tmp_path).warnings]
    assert warnings == TOLD.get(name, [])


def told(name: str, secret: str, folder: Path, *, weak: bool = False) -> Any:
    """What the reader makes of a policy with this sender and this secret."""
    return read(name, {"id": "s", "value": secret, "allow_weak": weak}, folder)


def read(name: str, secret: dict[str, Any], folder: Path) -> Any:
    """What the reader makes of a policy with this sender and this secret, of one value or several."""
    route = {"name": "bot", "path": "/hook", "provider": name, "public_url": URL, "secrets": [secret]}
    (folder / "policy.yaml").write_text(policy_text([route]))
    return read_policy(folder / "policy.yaml", {}, now=NOW)


@pytest.mark.parametrize(
    ("name", "secret", "weak", "fault"),
    [
        ("zalo-bot", "eight-08", False, "is shorter than 16 bytes; allow_weak: true where the provider dictates it"),
        ("zalo-bot", "seven-7", True, "is shorter than 8 bytes"),
        ("zalo-bot", "ab" * 129, False, "is longer than the 256 bytes that zalo-bot accepts"),
        ("twitch", "ten-chars1", False, "is shorter than 16 bytes; allow_weak: true where the provider dictates it"),
        ("twitch", "nine-char", True, "is shorter than 10 bytes"),
        ("twitch", "ab" * 51, False, "is longer than the 100 bytes that twitch accepts"),
        ("teams-outgoing", "not base64 at all, but long", False, "is not base64"),
        ("adyen-platform", "x" * 15 + "0123456789abcdef0", False, "is not an even number of hexadecimal digits"),
        ("standard-webhooks", "whsec_?????????????????????????", False, "is not whsec_ and base64"),
        ("zendesk", "dGhpc19zZWNyZXRfaXNfZm9yX3Rlc3Rpbmdfb25seQ==", False, "is printed in the pages of zendesk"),
    ],
)
def test_secrets_refused(name: str, secret: str, weak: bool, fault: str, tmp_path: Path) -> None:
    """A secret that this sender cannot have is told in a sentence that does not hold it."""
    with pytest.raises(PolicyError) as caught:
        told(name, secret, tmp_path, weak=weak)
    (found,) = caught.value.faults
    assert fault in found.message
    assert secret not in str(caught.value)


@pytest.mark.parametrize(("name", "secret"), [("zalo-bot", "eight-08"), ("twitch", "ten-chars1"), ("gitlab", "short")])
def test_secrets_that_a_sender_dictates(name: str, secret: str, tmp_path: Path) -> None:
    """A short secret that this sender takes can be had with ``allow_weak``."""
    assert told(name, secret, tmp_path, weak=True).warnings == ()


@pytest.mark.parametrize("name", ["hubspot", "square", "twilio"])
def test_an_address_that_is_signed(name: str, tmp_path: Path) -> None:
    """Without the address that is registered with the sender nothing could be checked, so the policy is unsound."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "version: 1\nlisten: {address: '127.0.0.1:0'}\nupstream: {url: 'http://127.0.0.1:1'}\n"
        f"routes: [{{name: a, path: /a, provider: {name}, secrets: [{{id: s, from_env: S}}]}}]\n"
    )
    with pytest.raises(PolicyError, match="public_url"):
        read_policy(policy, {"S": SECRET}, now=NOW)


@pytest.mark.parametrize(
    ("name", "fields", "body", "word"),
    [
        ("slack", [], b'{"type":"event_callback","event":{"type":"app_mention"}}', "app_mention"),
        ("slack", [], b'{"type":"url_verification","challenge":"c"}', "url_verification"),
        ("slack", [], b"command=%2Fweather&text=94070", "other"),
        ("gitlab", [(b"X-Gitlab-Event", b"Merge Request Hook")], b"{}", "Merge Request Hook"),
        ("bitbucket", [(b"X-Event-Key", b"repo:push")], b"{}", "repo:push"),
        ("shopify", [(b"X-Shopify-Topic", b"orders/create")], b"{}", "orders/create"),
        ("shopify", [(b"X-Shopify-Topic", b'a","level":"debug')], b"{}", "other"),
        ("stripe", [], b'{"type":"invoice.paid"}', "invoice.paid"),
        ("stripe", [], b'{"type":"line\\nbreak"}', "other"),
        ("whatsapp", [], b'{"object":"whatsapp_business_account","entry":[{"changes":[{"field":"messages"}]}]}', "messages"),
        ("messenger", [], b'{"object":"page","entry":[{"messaging":[]}]}', "page"),
        ("line", [], b'{"events":[{"type":"follow"}]}', "follow"),
        ("line", [], b'{"events":[]}', "other"),
        ("x", [], b'{"for_user_id":"1","tweet_create_events":[]}', "tweet_create_events"),
        ("twitch", [(b"Twitch-Eventsub-Subscription-Type", b"channel.follow")], b"{}", "channel.follow"),
    ],
)
async def test_event(name: str, fields: list[tuple[bytes, bytes]], body: bytes, word: str, tmp_path: Path) -> None:
    """The log names what kind of event it was, in a plain word, or ``other``."""
    assert (await sender(tmp_path, name)).gate.event(request(body, fields)) == word


@pytest.mark.parametrize("name", [name for name in PRESETS if preset(name).networks])
async def test_networks_only_label(name: str, tmp_path: Path) -> None:
    """A sender's networks tell listed from unlisted, and refuse nobody."""
    gate = await sender(tmp_path, name)
    listed = preset(name).networks[0].partition("/")[0]
    assert gate.gate.senders(request(client=listed).head)
    assert not gate.gate.senders(request(client="198.51.100.7").head)
    assert plain(name).rules.ip is None
