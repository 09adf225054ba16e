"""What names one delivery of each sender, and the checks of an address that some of them make."""

import base64
from pathlib import Path

import pytest

from proxy.messages import Request
from proxy.pipeline.build import build
from proxy.pipeline.modes import Switch
from proxy.policy.reader import read_policy
from proxy.store.memory import MemoryStore
from proxy.verdict import Reason
from tests.pipeline.judging import Clock, request

from .senders import DUPLICATE, OK, SECRET, mac, sender


def slack(body: bytes, at: int) -> Request:
    """Signed as Slack does."""
    signature = b"v0=" + mac(b"v0:%d:%b" % (at, body)).hex().encode()
    return request(body, [(b"X-Slack-Request-Timestamp", b"%d" % at), (b"X-Slack-Signature", signature)], arrived=float(at))


async def test_slack_events_and_clicks(tmp_path: Path) -> None:
    """An event that is sent again under a new timestamp is a repeat; the same click under a new timestamp is a new one."""
    gate = await sender(tmp_path, "slack")
    event, asked = b'{"event_id":"Ev1","event":{"type":"message"}}', b"payload=%7B%22type%22%3A%22block_suggestion%22%7D"
    for body, again in ((event, DUPLICATE), (asked, OK)):
        assert (await gate.deliver(slack(body, 1_760_000_000))).reason is OK
        assert (await gate.deliver(slack(body, 1_760_000_000))).reason is DUPLICATE
        assert (await gate.deliver(slack(body, 1_760_000_060))).reason is again


async def test_shopify_topics(tmp_path: Path) -> None:
    """The same order under two topics is two deliveries."""
    gate = await sender(tmp_path, "shopify")

    def order(topic: bytes) -> Request:
        signature = base64.b64encode(mac(b'{"id":1}'))
        return request(b'{"id":1}', [(b"X-Shopify-Hmac-Sha256", signature), (b"X-Shopify-Topic", topic)])

    for topic in (b"orders/create", b"orders/paid"):
        assert (await gate.deliver(order(topic))).reason is OK
        assert (await gate.deliver(order(topic))).reason is DUPLICATE


HEADERS = {
    "notion": (b"X-Notion-Signature", b"sha256="),
    "intercom": (b"X-Hub-Signature", b"sha1="),
    "viber": (b"X-Viber-Content-Signature", b""),
    "teams-outgoing": (b"Authorization", b"HMAC "),
}


@pytest.mark.parametrize(
    ("name", "first", "second", "again"),
    [
        ("notion", b'{"id":"e","attempt_number":1}', b'{"id":"e","attempt_number":2}', DUPLICATE),
        ("notion", b'{"type":"no.id"}', b'{"id":"e"}', OK),
        ("intercom", b'{"id":"n","delivery_attempts":1}', b'{"id":"n","delivery_attempts":2}', DUPLICATE),
        ("intercom", b'{"id":null,"topic":"ping"}', b'{"id":null,"topic":"ping","created_at":1}', OK),
        ("viber", b'{"event":"delivered","message_token":7}', b'{"event":"seen","message_token":7}', OK),
        ("teams-outgoing", b'{"id":"1","conversation":"a"}', b'{"id":"1","conversation":"b"}', OK),
    ],
)
async def test_what_names_a_delivery(name: str, first: bytes, second: bytes, again: Reason, tmp_path: Path) -> None:
    """An attempt that is counted in the body is a repeat; another event is none, even with the same id in a wider world."""
    header, prefix = HEADERS[name]
    teams = name == "teams-outgoing"
    gate = await sender(tmp_path, name, base64.b64encode(SECRET.encode()).decode() if teams else SECRET)

    def signed(body: bytes) -> Request:
        digest = mac(body, "sha1" if name == "intercom" else "sha256")
        return request(body, [(header, prefix + (base64.b64encode(digest) if teams else digest.hex().encode()))])

    assert (await gate.deliver(signed(first))).reason is OK
    assert (await gate.deliver(signed(first))).reason is DUPLICATE
    assert (await gate.deliver(signed(second))).reason is again


async def test_stripe_counts_down(tmp_path: Path) -> None:
    """An event that comes again under a new timestamp, with other pending_webhooks, is a repeat."""
    gate = await sender(tmp_path, "stripe")
    for at, body, reason in (
        (100, b'{"id":"evt_1","pending_webhooks":1}', OK),
        (400, b'{"id":"evt_1","pending_webhooks":0}', DUPLICATE),
    ):
        signature = b"t=%d,v1=%b" % (at, mac(b"%d.%b" % (at, body)).hex().encode())
        assert (await gate.deliver(request(body, [(b"Stripe-Signature", signature)], arrived=float(at)))).reason is reason


async def test_gitlab_keys(tmp_path: Path) -> None:
    """GitLab's own key names a delivery; an older GitLab, which sends none, is known by its body for ten minutes."""
    gate = await sender(tmp_path, "gitlab")
    token = (b"X-Gitlab-Token", SECRET.encode())
    for key in (b"1", b"2"):
        assert (await gate.deliver(request(b"{}", [token, (b"Idempotency-Key", key)]))).reason is OK
        assert (await gate.deliver(request(b"{}", [token, (b"Idempotency-Key", key)]))).reason is DUPLICATE
    assert (await gate.deliver(request(b"{}", [token]))).reason is OK
    assert (await gate.deliver(request(b"{}", [token]))).reason is DUPLICATE
    gate.clock.now += 601
    assert (await gate.deliver(request(b"{}", [token]))).reason is OK


def get(target: bytes, *fields: tuple[bytes, bytes]) -> Request:
    """A GET."""
    one = request(b"", fields, target=target)
    return Request(one.head._replace(method="GET"), b"")


async def test_checks_of_the_address(tmp_path: Path) -> None:
    """Okta's and X's checks, each with a new challenge, pass with their proof and not without; so does Kakao's GET."""
    gate = await sender(tmp_path, "okta")
    token = (b"Authorization", SECRET.encode())
    for challenge in (b"one", b"two"):
        check = get(b"/hook", token, (b"X-Okta-Verification-Challenge", challenge))
        assert (await gate.deliver(check)).reason is OK
    assert (await gate.judge(get(b"/hook", (b"X-Okta-Verification-Challenge", b"one")))).reason is Reason.SIGNATURE_MISSING

    gate = await sender(tmp_path, "x")
    for query in (b"crc_token=a&nonce=1", b"crc_token=b&nonce=2"):
        signature = (b"x-twitter-webhooks-signature", b"sha256=" + base64.b64encode(mac(query)))
        assert (await gate.deliver(get(b"/hook?" + query, signature))).reason is OK
        assert (await gate.judge(get(b"/hook?" + query[:-1], signature))).reason is Reason.SIGNATURE_MISMATCH
    assert (await gate.judge(get(b"/hook?crc_token=a"))).reason is Reason.SIGNATURE_MISSING

    gate = await sender(tmp_path, "kakao")
    fields = ((b"Authorization", b"KakaoAK " + SECRET.encode()), (b"X-Kakao-Resource-ID", b"r1"))
    assert (await gate.deliver(get(b"/hook?CHAT_TYPE=MultiChat", *fields))).reason is OK
    assert (await gate.deliver(get(b"/hook?CHAT_TYPE=MultiChat", *fields))).reason is DUPLICATE


async def test_x_text_moved_into_the_query(tmp_path: Path) -> None:
    """The signature of a body also fits its text split over query and body: that is the same delivery, not a new one."""
    gate = await sender(tmp_path, "x")
    body = b'{"for_user_id":"1"}'
    signature = (b"x-twitter-webhooks-signature", b"sha256=" + base64.b64encode(mac(body)))
    assert (await gate.deliver(request(body, [signature]))).reason is OK
    moved = await gate.deliver(request(body[5:], [signature], target=b"/hook?" + body[:5]))
    assert moved.reason is not OK


def test_twins_of_what_is_relied_on(tmp_path: Path) -> None:
    """The names of an id, a second key and what keeps keys apart are guarded against underscore twins, like the signature's."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "version: 1\nlisten: {address: '127.0.0.1:0'}\nupstream: {url: 'http://127.0.0.1:1'}\nroutes:\n"
        "  - {name: a, path: /a, provider: svix, secrets: [{id: s, from_env: S}], rules: {replay: {key: 'body:sha256'}}}\n"
        "  - {name: b, path: /b, provider: slack, secrets: [{id: s, from_env: S}]}\n"
        "  - {name: c, path: /c, provider: shopify, secrets: [{id: s, from_env: S}]}\n"
    )
    loaded = read_policy(policy, {"S": "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"})
    failed: list[str] = []
    store = MemoryStore(Clock())
    managed = build(loaded.policy, loaded.secrets, loaded.schemas, store, Switch(), failed.append).managed
    assert managed >= {b"svix-signature", b"svix-timestamp", b"svix-id", b"x-slack-signature", b"x-shopify-topic"}
