"""Senders' own libraries where the proof stands in body or query: what they make passes, what ``sign`` makes they take."""

import json
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from proxy.rules.signing import Genuine
from proxy.verdict import Reason
from tests.rules.certificates import BEGIN, END
from tests.senders.libraries import Worker, bodies
from tests.senders.stages import SECRET, Library, Stage, flipped, staged

LONG = [pytest.mark.long, pytest.mark.timeout(1200)]
COUNTS = [30, pytest.param(2000, marks=LONG)]
TOKEN = {"token": SECRET, "aes_key": "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C"}
PAIR = rsa.generate_private_key(65537, 2048)
PRIVATE = PAIR.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
NAME = x509.Name([])
CERTIFICATE = (
    x509.CertificateBuilder(NAME, NAME, PAIR.public_key(), 1, BEGIN, END).sign(PAIR, SHA256()).public_bytes(Encoding.PEM).decode()
)
MISMATCH = Reason.SIGNATURE_MISMATCH


def values(**held: str) -> dict[str, Any]:
    """A secret of several values."""
    return {name: {"value": value} for name, value in held.items()}


def other_text(sealed: str, chance: random.Random) -> str:
    """The base64 with another letter at one place."""
    at = chance.randrange(len(sealed) - 4)
    return sealed[:at] + ("B" if sealed[at] == "A" else "A") + sealed[at + 1 :]


def callback_body(sender: str, sealed: str) -> bytes:
    """The body around an encrypted text."""
    if sender == "wecom":
        return f"<xml><ToUserName><![CDATA[ww1]]></ToUserName><Encrypt><![CDATA[{sealed}]]></Encrypt></xml>".encode()
    return json.dumps({"encrypt": sealed}).encode()


def sealed_in(body: bytes) -> str:
    """The encrypted text in a body that was made here."""
    if body.startswith(b"<xml>"):
        return body.partition(b"<Encrypt><![CDATA[")[2].partition(b"]]>")[0].decode()
    found: str = json.loads(body)["encrypt"]
    return found


async def callbacks(library: Library, asked: Worker, folder: Path, count: int) -> None:
    """So many encrypted callbacks from the library to the gate, and back."""
    receiver = {"receive_id": "ww1"} if library.sender == "wecom" else {"owner_key": "ding1"}
    held = {**TOKEN, **receiver}
    stage = await staged(folder, library, asked, secrets=values(**held))
    chance = random.Random(library.sender)  # noqa: S311 - the same each time
    for body in bodies(library.sender, count, utf8=True):
        signed = stage.signed(body, values=held)
        query = urlencode({"msg_signature": signed["signature"], "timestamp": signed["timestamp"], "nonce": "nonce"})
        sealed = signed["encrypt"]
        assert stage.judged(callback_body(library.sender, sealed), {}, query=query) is Reason.NONE, body[:100]
        assert stage.judged(callback_body(library.sender, other_text(sealed, chance)), {}, query=query) is MISMATCH, body[:100]
        made = stage.made(body)
        said = {"values": held, "query": dict(parse_qsl(made.target.decode().partition("?")[2]))}
        assert stage.takes(body, made, encrypt=sealed_in(made.body), **said), body[:100]
        assert not stage.takes(body, made, encrypt=other_text(sealed_in(made.body), chance), **said)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("sender", ["wecom", "dingtalk-callback"])
async def test_callbacks(sender: str, count: int, python: Worker, tmp_path: Path) -> None:
    """What WeChat's crypto seals and signs for WeCom and DingTalk passes; what is sealed here it opens to the same message."""
    await callbacks(Library(sender, by="wechat"), python, tmp_path, count)


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_wecom_thousands(node: Worker, tmp_path: Path) -> None:
    """The same with WeCom's own library."""
    await callbacks(Library("wecom"), node, tmp_path, 2000)


@pytest.mark.parametrize("count", COUNTS)
async def test_lark_envelope(count: int, python: Worker, tmp_path: Path) -> None:
    """What is encrypted here as Feishu does it, Feishu's library decrypts to the same text, and the gate takes."""
    stage = await staged(tmp_path, Library("feishu-lark-decrypt", signs=False, by="lark-envelope"), python)
    for body in bodies("lark", count, utf8=True):
        if not body.decode().isprintable():
            body = json.dumps({"text": body.decode()}).encode()
        made = stage.made(body)
        assert stage.judged_made(made) is Reason.NONE, body[:100]
        assert stage.takes(body, made, encrypt=sealed_in(made.body)), body[:100]


@pytest.mark.parametrize("count", COUNTS)
async def test_mailgun(count: int, python: Worker, tmp_path: Path) -> None:
    """Mailgun's library takes what is signed in the body here; with another token, time or signature neither does."""
    stage = await staged(tmp_path, Library("mailgun", signs=False), python)
    chance = random.Random("mailgun")  # noqa: S311 - the same each time
    for body in bodies("mailgun", count, utf8=True):
        made = stage.made(json.dumps({"event-data": {"text": body.decode()}}).encode())
        assert stage.judged_made(made) is Reason.NONE
        assert stage.takes(made.body, made)
        document = json.loads(made.body)
        name = chance.choice(["token", "timestamp", "signature"])
        document["signature"][name] = flipped(document["signature"][name].encode(), chance).decode()
        changed = made._replace(body=json.dumps(document).encode())
        assert stage.judged_made(changed) is not Reason.NONE, document
        assert not stage.takes(changed.body, changed), document


def changed_field(made: Genuine, name: bytes, chance: random.Random) -> Genuine:
    """The request with one bit of a header turned over."""
    return made._replace(
        fields=tuple((one, flipped(value, chance) if one.lower() == name else value) for one, value in made.fields)
    )


@pytest.mark.parametrize("count", COUNTS)
async def test_paypal(count: int, python: Worker, tmp_path: Path) -> None:
    """What PayPal's library says is signed is what the gate and ``sign`` say; a bit of body or id turned over is refused."""
    held = {"webhook_id": "WH-1", "cert_pem": CERTIFICATE}
    stage = await staged(tmp_path, Library("paypal"), python, secrets=values(**held))
    chance = random.Random("paypal")  # noqa: S311 - the same each time
    said = {"webhook_id": "WH-1", "certificate": CERTIFICATE}
    for body in bodies("paypal", count, utf8=True):
        other = flipped(body, chance)
        stamp = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        more = {"private": PRIVATE.decode(), "number": f"id-{chance.random()}", "stamp": stamp, **said}
        fields = stage.signed(body, **more)["fields"]
        assert stage.judged(body, fields) is Reason.NONE, body[:100]
        assert stage.judged(other, fields) is MISMATCH, body[:100]
        made = stage.made(body, key=PAIR)
        assert stage.takes(body, made, **said), body[:100]
        assert not stage.takes(other, made, **said), body[:100]
        assert not stage.takes(body, changed_field(made, b"paypal-transmission-id", chance), **said)


def messages(count: int) -> Iterator[bytes]:
    """What is published: bare texts, and whole messages of both versions."""
    for index, body in enumerate(bodies("sns", count, utf8=True)):
        if index % 2:
            yield body
            continue
        kind = ["Notification", "SubscriptionConfirmation"][index // 2 % 2]
        more = (
            {"SubscribeURL": "https://sns.us-east-1.amazonaws.com/?a=1", "Token": "t"}
            if kind != "Notification"
            else {"Subject": "ß"}
        )
        version = str(1 + index // 4 % 2)
        yield json.dumps({"Type": kind, "Message": body.decode(), "SignatureVersion": version, **more}).encode()


async def made_messages(stage: Stage, count: int) -> Iterator[Genuine]:
    """What is made of them here; the gate takes each."""
    found = [stage.made(body, key=PAIR) for body in messages(count)]
    assert [stage.judged_made(made) for made in found] == [Reason.NONE] * len(found)
    return iter(found)


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_sns_thousands(node: Worker, tmp_path: Path) -> None:
    """AWS's own library takes what is signed here, of both versions and types; with one bit of a signed field turned, neither."""
    library = Library("aws-sns", signs=False, by="sns")
    rules = {"size": {"max": "8MiB"}, "replay": {"mode": "off"}}
    stage = await staged(tmp_path, library, node, secrets=values(cert_pem=CERTIFICATE), rules=rules)
    chance = random.Random("sns")  # noqa: S311 - the same each time
    for made in await made_messages(stage, 2000):
        assert stage.takes(made.body, made, certificate=CERTIFICATE), made.body[:200]
        document = json.loads(made.body)
        name = chance.choice(["Message", "MessageId", "TopicArn", "Timestamp", "Token" if "Token" in document else "Message"])
        document[name] = flipped(document[name].encode(), chance).decode()
        changed = made._replace(body=json.dumps(document).encode())
        assert stage.judged_made(changed) is MISMATCH, name
        assert not stage.takes(changed.body, changed, certificate=CERTIFICATE), name


def linear(count: int, now: float) -> Iterator[bytes]:
    """Deliveries as Linear sends them, with their time in the body."""
    for body in bodies("linear", count, utf8=True):
        yield json.dumps(
            {"webhookTimestamp": int(now * 1000), "data": {"text": body.decode()}}, ensure_ascii=len(body) % 2 == 0
        ).encode()


def zoom(count: int) -> Iterator[bytes]:
    """Events in the one way of writing JSON that Zoom's library takes: it writes them anew before it looks at the signature."""
    for body in bodies("zoom", count, utf8=True):
        text = json.dumps({"event": "a", "payload": {"text": body.decode()}}, ensure_ascii=False, separators=(",", ":"))
        yield text.encode()


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("sender", ["linear", "zoom"])
async def test_json_alone_thousands(sender: str, node: Worker, tmp_path: Path) -> None:
    """Linear's and Zoom's libraries take what is signed here for the JSON of their senders, and not with one letter more."""
    stage = await staged(tmp_path, Library(sender, signs=False), node)
    for index in range(20):
        for body in linear(100, time.time()) if sender == "linear" else zoom(100):
            made = stage.made(body.replace(b'"text"', b'"text%d"' % index))
            assert stage.judged_made(made) is Reason.NONE
            assert stage.takes(made.body, made), made.body[:100]
            other = made.body.replace(b'"text', b'"texts')
            assert stage.judged_made(made._replace(body=other)) is MISMATCH
            assert not stage.takes(other, made)
