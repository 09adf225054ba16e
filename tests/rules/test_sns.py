"""AWS SNS: what is signed of each type, by whose certificate, and for whose topics."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from proxy.verdict import Reason
from tests.keyring.sources import KeySource, key_source
from tests.pipeline.judging import NOW, Compiled, compiled, request
from tests.rules.certificates import Signer, fetching

OK, MISSING, MALFORMED, MISMATCH = Reason.NONE, Reason.SIGNATURE_MISSING, Reason.SIGNATURE_MALFORMED, Reason.SIGNATURE_MISMATCH

GENUINE, OTHER = Signer("sns.amazonaws.com"), Signer("sns.amazonaws.com")
TOPIC = "arn:aws:sns:us-east-1:123456789012:orders"
FIELDS = [(b"Content-Type", b"text/plain; charset=UTF-8"), (b"x-amz-sns-message-type", b"Notification")]

NOTIFICATION = {
    "Type": "Notification",
    "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
    "TopicArn": TOPIC,
    "Subject": "My first message",
    "Message": "Hello, Ж\n🚀",
    "Timestamp": "2026-01-01T00:00:00.000Z",
}
CONFIRMATION = {
    "Type": "SubscriptionConfirmation",
    "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b",
    "Token": "2336412f37fb687f5d51e6e2425c464de12884c95c5d",
    "TopicArn": TOPIC,
    "Message": "You have chosen to subscribe to the topic.",
    "SubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription",
    "Timestamp": "2026-01-01T00:00:00.000Z",
}
ORDER = {
    "Notification": "Message MessageId Subject Timestamp TopicArn Type",
    "SubscriptionConfirmation": "Message MessageId SubscribeURL Timestamp Token TopicArn Type",
}
"""What is signed of each type, in its order, written by hand from the page of AWS."""


def message(held: dict[str, Any], url: str = "", version: str = "2", signer: Signer = GENUINE, **extra: Any) -> dict[str, Any]:
    """A message as SNS sends it."""
    order = ORDER[held["Type"].replace("Unsubscribe", "Subscription")].split()
    text = "".join(f"{name}\n{held[name]}\n" for name in order if name in held)
    signature = signer.sign(text.encode(), "sha1" if version == "1" else "sha256").decode()
    return {**held, "SignatureVersion": version, "Signature": signature, "SigningCertURL": url, **extra}


async def reason(gate: Compiled, document: object, **facts: Any) -> Reason:
    """What becomes of a message."""
    body = document if isinstance(document, bytes) else json.dumps(document, indent=1).encode()
    return (await gate.judge(request(body, FIELDS, **facts))).reason


async def pinned(folder: Path, **settings: Any) -> Compiled:
    """A gate that has the certificate in its policy."""
    values = {"cert_pem": {"value": GENUINE.leaf.decode()}}
    return await compiled(folder, {"provider": "sns", "secrets": values, "rules": {"signature": settings}})


@pytest.fixture
def source() -> Iterator[KeySource]:
    """Where certificates are."""
    with key_source() as made:
        yield made


UNSUBSCRIBED = {**CONFIRMATION, "Type": "UnsubscribeConfirmation"}
PLAIN = {name: value for name, value in NOTIFICATION.items() if name != "Subject"}
LONG = {**PLAIN, "Message": "a\nMessageId\nb", "MessageId": "c"}
MESSAGES: list[tuple[str, dict[str, Any], Reason]] = [
    ("a notification", message(NOTIFICATION), OK),
    ("without a subject", message(PLAIN), OK),
    ("with the older version", message(NOTIFICATION, version="1"), OK),
    ("a message of several lines", message(LONG), OK),
    ("a confirmation", message(CONFIRMATION), OK),
    ("the end of a subscription", message(UNSUBSCRIBED), OK),
    ("with what is not signed", message(NOTIFICATION, UnsubscribeURL="https://x/", MessageAttributes={"a": 1}), OK),
    ("an empty subject, as none", {**message(PLAIN), "Subject": None}, OK),
    ("signed by another", message(NOTIFICATION, signer=OTHER), MISMATCH),
    ("a subject put in", {**message(PLAIN), "Subject": "x"}, MISMATCH),
    ("a subject taken out", {k: v for k, v in message(NOTIFICATION).items() if k != "Subject"}, MISMATCH),
    ("a notification that says it is a confirmation", {**message(NOTIFICATION), "Type": "SubscriptionConfirmation"}, MALFORMED),
    ("the older version said of a newer signature", {**message(NOTIFICATION), "SignatureVersion": "1"}, MISMATCH),
    ("a version that nobody knows", {**message(NOTIFICATION), "SignatureVersion": "3"}, MALFORMED),
    ("a version that is a number", {**message(NOTIFICATION), "SignatureVersion": 2}, MALFORMED),
    ("a version that is a list", {**message(NOTIFICATION), "SignatureVersion": []}, MALFORMED),
    ("a version that is an object", {**message(NOTIFICATION), "SignatureVersion": {"2": "2"}}, MALFORMED),
    ("a type that is a list", {**message(NOTIFICATION), "Type": ["Notification"]}, MALFORMED),
    ("a type that nobody knows", {**message(NOTIFICATION), "Type": "Other"}, MALFORMED),
    ("a message that is no text", {**message(NOTIFICATION), "Message": {"a": 1}}, MALFORMED),
    ("no message", {k: v for k, v in message(NOTIFICATION).items() if k != "Message"}, MALFORMED),
    ("no signature", NOTIFICATION, MISSING),
    ("an empty signature", {**message(NOTIFICATION), "Signature": ""}, MISSING),
    ("a signature that is no base64", {**message(NOTIFICATION), "Signature": "???"}, MALFORMED),
    ("a signature that is no text", {**message(NOTIFICATION), "Signature": 1}, MALFORMED),
    ("text moved from the message to its id", {**message(LONG), "Message": "a", "MessageId": "b\nMessageId\nc"}, MALFORMED),
    ("a subject of two lines", message({**NOTIFICATION, "Subject": "a\nTimestamp\nb"}), MALFORMED),
]


@pytest.mark.parametrize(("document", "expected"), [row[1:] for row in MESSAGES], ids=[row[0] for row in MESSAGES])
async def test_messages(document: dict[str, Any], expected: Reason, tmp_path: Path) -> None:
    """Of each type the fields that AWS names are signed, in their order, and absent ones are left out."""
    assert await reason(await pinned(tmp_path), document) is expected


@pytest.mark.parametrize("held", [NOTIFICATION, CONFIRMATION], ids=["notification", "confirmation"])
async def test_every_signed_field(held: dict[str, Any], tmp_path: Path) -> None:
    """One character of a signed field changed, or the field written twice: refused."""
    gate = await pinned(tmp_path)
    whole = message(held)
    for name, value in held.items():
        for index in range(len(value)):
            changed = value[:index] + ("A" if value[index] != "A" else "B") + value[index + 1 :]
            assert await reason(gate, {**whole, name: changed}) in {MISMATCH, MALFORMED}
        text = json.dumps(whole)
        for twice in (f'{{"{name}":"evil",{text[1:]}', f'{text[:-1]},"{name}":{json.dumps(value)}}}'):
            assert await reason(gate, twice.encode()) is MALFORMED
    assert gate.store.entries() == 0, "a forged request leaves no claim"


@pytest.mark.parametrize("body", [b"", b"hello", b"[]", b"null", b'"Signature"', b'{"Signature":', b"\xff"])
async def test_no_message_at_all(body: bytes, tmp_path: Path) -> None:
    """What is no JSON object (raw message delivery, say) has no signature that could hold."""
    assert await reason(await pinned(tmp_path), body) is MALFORMED


async def test_topics(tmp_path: Path) -> None:
    """Where topics are named, a genuine message of another topic is refused."""
    gate = await pinned(tmp_path, topics=[TOPIC])
    assert await reason(gate, message(NOTIFICATION)) is OK
    for other in (TOPIC + "2", TOPIC[:-1], TOPIC.upper(), "arn:aws:sns:us-east-1:999999999999:orders"):
        assert await reason(gate, message({**NOTIFICATION, "TopicArn": other})) is MISMATCH


async def test_versions(tmp_path: Path) -> None:
    """Where the policy allows version 2 alone, SHA-1 proves nothing."""
    gate = await pinned(tmp_path, versions=["2"])
    assert await reason(gate, message(NOTIFICATION)) is OK
    assert await reason(gate, message(NOTIFICATION, version="1")) is MALFORMED


async def test_once(tmp_path: Path) -> None:
    """A message that was delivered is not forwarded again, however it is written the next time."""
    gate = await pinned(tmp_path)
    sent = message(NOTIFICATION)
    for text, found in (
        (json.dumps(sent), (OK, 200)),
        (json.dumps(sent), (Reason.REPLAY_DUPLICATE, 200)),
        (json.dumps(sent, indent=1), (Reason.REPLAY_CONFLICT, 409)),
        (json.dumps({**sent, "UnsubscribeURL": "https://x/"}), (Reason.REPLAY_CONFLICT, 409)),
    ):
        judged = await gate.deliver(request(text.encode(), FIELDS))
        assert (judged.reason, judged.status) == found


async def test_fetched(source: KeySource, tmp_path: Path) -> None:
    """The certificate that a message names is fetched once, from a listed host, and counts within its own time."""
    route = {"provider": "aws-sns", "rules": {"signature": {"hosts": [source.host]}, "replay": {"mode": "off"}}}
    url = source.page("/SimpleNotificationService-1.pem", GENUINE.pem)
    async with fetching(tmp_path, route) as gate:
        for version in ("1", "2", "2"):
            assert await reason(gate, message(NOTIFICATION, url, version)) is OK
        assert await reason(gate, message(NOTIFICATION, url, signer=OTHER)) is MISMATCH
        assert await reason(gate, message(NOTIFICATION, url), arrived=NOW + 2 * 366 * 86400) is MISMATCH
        assert await reason(gate, message(NOTIFICATION, url.replace(".pem", "-2.pem"))) is Reason.KEYS_UNREACHABLE
        ended = Signer("sns.amazonaws.com", end=datetime(2025, 12, 31, tzinfo=UTC))
        url = source.page("/ended.pem", ended.pem)
        assert await reason(gate, message(NOTIFICATION, url, signer=ended)) is MISMATCH
    assert [path for path, _ in source.asked] == [
        "/SimpleNotificationService-1.pem",
        "/SimpleNotificationService-1-2.pem",
        "/ended.pem",
    ]


ADDRESSES = [
    "https://sns.us-east-1.amazonaws.com.evil.org/a.pem",
    "https://evil.org/sns.us-east-1.amazonaws.com/a.pem",
    "https://sns.us-east-1.amazonaws.com@evil.org/a.pem",
    "https://sns.us-east-1.amazonaws.com:8443/a.pem",
    "http://sns.us-east-1.amazonaws.com/a.pem",
    "https://s3.amazonaws.com/bucket/a.pem",
    "https://sns.x.amazonaws.com/a.pem",
    "https://sns.us_east.amazonaws.com/a.pem",
    "https://a.sns.us-east-1.amazonaws.com/a.pem",
    "https://sns.us-east-1.amazonaws.com/a.pem#.pem",
    "https://sns.us-east-1.amazonaws.com/a?b=.pem",
    "https://sns.us-east-1.amazonaws.com/a",
    "https://169.254.169.254/a.pem",
    "file:///etc/a.pem",
    "",
]


@pytest.mark.parametrize("url", ADDRESSES)
async def test_an_address_that_is_not_listed(url: str, tmp_path: Path) -> None:
    """A message whose certificate is not on a host of SNS is refused before anything is asked."""
    async with fetching(tmp_path, {"provider": "aws-sns"}) as gate:
        assert await reason(gate, message(NOTIFICATION, url)) is MALFORMED


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-2", "us-gov-west-1", "cn-north-1"])
async def test_the_hosts_of_sns(region: str, tmp_path: Path) -> None:
    """All regions' hosts are listed; without a network their certificates are not at hand, which is told as such."""
    end = ".cn" if region.startswith("cn") else ""
    gate = await compiled(tmp_path, {"provider": "aws-sns"})
    url = f"https://sns.{region}.amazonaws.com{end}/SimpleNotificationService-1.pem"
    judged = await gate.judge(request(json.dumps(message(NOTIFICATION, url)).encode(), FIELDS))
    assert (judged.reason, judged.status) == (Reason.KEYS_UNREACHABLE, 503)
