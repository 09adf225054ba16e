"""AES-256-GCM envelopes: proved as they came, opened where the route says so, and no nonce twice."""

import base64
import hmac
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from proxy.cli import main
from proxy.messages import Request
from proxy.policy.secrets import Secret
from proxy.rules.decrypt import hmac_secrets
from proxy.verdict import Reason
from tests.conftest import Gates
from tests.gates import RecordingBot, status, until
from tests.handshakes.judged import asked, gate_for, judge
from tests.handshakes.senders import SECRET, Check
from tests.pipeline.judging import NOW, Judged
from tests.policies import policy_text

AES = bytes(range(32))
OTHER = bytes(range(1, 33))
VALUES = {"hmac_key": {"value": SECRET}, "aes_key_b64": {"value": base64.b64encode(AES).decode()}}
PLAIN = '{"event":"é\\r\\n","n":1}'.encode()


def envelope(plain: bytes = PLAIN, *, nonce: bytes | None = None, key: bytes = AES, **more: Any) -> tuple[bytes, str]:
    """The body and the nonce of its header."""
    iv = os.urandom(12) if nonce is None else nonce
    written = base64.b64encode(iv).decode()
    sealed = base64.b64encode(AESGCM(key).encrypt(iv, plain, None)).decode() if len(iv) >= 8 else ""
    return json.dumps({"encrypted": sealed, "nonce": written, **more}).encode(), written


def signed(body: bytes, nonce: str | None, *, at: float = NOW) -> dict[str, str]:
    """The fields of a genuine request."""
    stamp = str(int(at))
    mac = hmac.digest(SECRET.encode(), stamp.encode() + b"." + body, "sha256").hex()
    fields = {"X-Webhook-Signature": mac, "X-Webhook-Timestamp": stamp, "Content-Type": "application/json"}
    return fields | ({"X-Encryption-Nonce": nonce} if nonce is not None else {})


async def judged(folder: Path, request: Request, **given: Any) -> Judged:
    """What a fresh gate makes of it."""
    found = await judge(await gate_for(folder, "webhook-encrypted", {"values": VALUES}, handshake="forward", **given), request)
    assert found is not None
    return found


async def test_raw_by_default(tmp_path: Path) -> None:
    """Unless the route says otherwise, the bot gets the envelope byte for byte."""
    body, nonce = envelope()
    found = await judged(tmp_path, asked("POST", "", signed(body, nonce), body))
    assert found.permit.request.body == body


@pytest.mark.parametrize(
    "plain", [b"", b"x", PLAIN, bytes(range(256)), b"{}" * 50_000], ids=["empty", "x", "json", "bytes", "100 kB"]
)
async def test_opened(plain: bytes, tmp_path: Path) -> None:
    """With ``decrypt: aes-256-gcm`` the bot gets exactly what was encrypted, with its length, under the same type."""
    body, nonce = envelope(plain)
    found = await judged(tmp_path, asked("POST", "", signed(body, nonce) | {"Content-Length": "9"}, body), decrypt="aes-256-gcm")
    request = found.permit.request
    assert request.body == plain
    assert request.head.length == len(plain) and not request.head.chunked
    fields = [(name.lower(), value) for name, value in request.head.fields]
    assert [value for name, value in fields if name == b"content-length"] == [b"%d" % len(plain)]
    assert (b"content-type", b"application/json") in fields


async def test_type(tmp_path: Path) -> None:
    """The plaintext's type may be another one than the envelope's."""
    body, nonce = envelope(b"hello")
    settings = {"algorithm": "aes-256-gcm", "content_type": "text/plain; charset=utf-8"}
    found = await judged(tmp_path, asked("POST", "", signed(body, nonce), body), decrypt=settings)
    assert found.permit.request.head.named[b"content-type"] == b"text/plain; charset=utf-8"
    assert [name.lower() for name, _ in found.permit.request.head.fields].count(b"content-type") == 1


@pytest.mark.parametrize("decrypt", [None, "aes-256-gcm"])
async def test_nonces_differ(decrypt: str | None, tmp_path: Path) -> None:
    """The header's nonce, which is not signed, must be that of the body, written the same way, and twelve bytes long."""
    given = {"decrypt": decrypt} if decrypt else {}
    body, nonce = envelope()
    other = base64.b64encode(os.urandom(12)).decode()
    short, short_nonce = envelope(nonce=bytes(8))
    for header, sent in ((other, body), (None, body), (nonce + "=", body), (nonce[:-1], body), ("", body), (short_nonce, short)):
        found = await judged(tmp_path, asked("POST", "", signed(sent, header), sent), **given)
        assert found.status == 401, header
    found = await judged(tmp_path, asked("POST", "", signed(body, nonce), body), **given)
    assert found.reason is Reason.NONE


async def test_what_cannot_be_opened(tmp_path: Path) -> None:
    """Rightly signed and wrongly encrypted is refused like a wrong signature, and told apart by nothing."""
    body, nonce = envelope(key=OTHER)
    for sent, header in ((body, nonce), envelope(encrypted="AAAA"), envelope(encrypted="*"), envelope(encrypted=7)):
        found = await judged(tmp_path, asked("POST", "", signed(sent, header), sent), decrypt="aes-256-gcm")
        assert found.status == 401
    assert (await judged(tmp_path, asked("POST", "", signed(body, nonce), body))).reason is Reason.NONE


def test_revoked() -> None:
    """A secret that is taken out of service proves no envelope from the next request on, in both of its values."""
    secret = Secret("s", b"", values={"hmac_key": SECRET.encode()}, not_after=NOW + 1)
    (part,) = hmac_secrets([secret])
    assert part.active(NOW) and part.reveal() == SECRET.encode() and not part.active(NOW + 1)
    secret.revoked = NOW
    assert not part.active(NOW)


async def test_every_byte(tmp_path: Path) -> None:
    """One bit changed in any byte of the body, the signature, the timestamp or the nonce: refused."""
    gate = await gate_for(tmp_path, "webhook-encrypted", {"values": VALUES}, handshake="forward", decrypt="aes-256-gcm")
    body, nonce = envelope(b"hi")
    fields = signed(body, nonce)
    for index in range(len(body)):
        changed = bytearray(body)
        changed[index] ^= 1
        found = await judge(gate, asked("POST", "", fields, bytes(changed)))
        assert found is not None and found.status == 401, index
    for name in ("X-Webhook-Signature", "X-Webhook-Timestamp", "X-Encryption-Nonce"):
        for index in range(len(fields[name])):
            text = fields[name][:index] + chr(ord(fields[name][index]) ^ 1) + fields[name][index + 1 :]
            found = await judge(gate, asked("POST", "", {**fields, name: text}, body))
            assert found is not None and found.status == 401, (name, index)
    found = await judge(gate, asked("POST", "", fields, body))
    assert found is not None and found.reason is Reason.NONE


async def test_nonce_reuse(tmp_path: Path) -> None:
    """A nonce that comes again with another text is refused; the same envelope again, signed anew, is a repeat."""
    gate = await gate_for(tmp_path, "webhook-encrypted", {"values": VALUES}, handshake="forward", decrypt="aes-256-gcm")
    body, nonce = envelope(nonce=bytes(12))
    first = await gate.deliver(asked("POST", "", signed(body, nonce), body))
    assert first.reason is Reason.NONE
    again = await gate.deliver(asked("POST", "", signed(body, nonce, at=NOW + 5), body, at=NOW + 5))
    assert again.reason is Reason.REPLAY_DUPLICATE
    other, nonce = envelope(b"another", nonce=bytes(12))
    reused = await gate.deliver(asked("POST", "", signed(other, nonce), other))
    assert (reused.reason, reused.status) == (Reason.REPLAY_CONFLICT, 409)


async def test_rotation(tmp_path: Path) -> None:
    """Of two secrets each opens what was encrypted with its own key."""
    second = {"hmac_key": {"value": "b" + SECRET[1:]}, "aes_key_b64": {"value": base64.b64encode(OTHER).decode()}}
    secrets = [{"id": "a", "values": second}, {"id": "b", "values": VALUES}]
    for key in (AES, OTHER):
        body, nonce = envelope(key=key)
        found = await judged(tmp_path, asked("POST", "", signed(body, nonce), body), secrets=secrets, decrypt="aes-256-gcm")
        assert found.permit.request.body == PLAIN


async def test_report_mode(tmp_path: Path) -> None:
    """In report mode a forged envelope reaches the bot as it came, and a genuine one opened."""
    body, nonce = envelope()
    found = await judged(tmp_path, asked("POST", "", signed(body, nonce), body), decrypt="aes-256-gcm", mode="report")
    assert found.permit.request.body == PLAIN
    forged = body.replace(b'"encrypted": "', b'"encrypted": "A')
    found = await judged(tmp_path, asked("POST", "", signed(body, nonce), forged), decrypt="aes-256-gcm", mode="report")
    assert found.permit.request.body == forged and found.permit.reported


async def test_schema_judges_the_plaintext(tmp_path: Path) -> None:
    """A schema is asked about what the bot gets, and a refusal by it gives the claim back."""
    (tmp_path / "event.json").write_text('{"type":"object","required":["event"]}')
    rules = {"schema": {"file": "event.json"}}
    for plain, reason in ((PLAIN, Reason.NONE), (b'{"other":1}', Reason.PAYLOAD_INVALID)):
        body, nonce = envelope(plain)
        found = await judged(tmp_path, asked("POST", "", signed(body, nonce), body), decrypt="aes-256-gcm", rules=rules)
        assert found.reason is reason


def route(**given: Any) -> dict[str, Any]:
    """A route that decrypts."""
    secret = {"id": "s", "values": VALUES}
    return {"name": "e", "path": "/e", "provider": "webhook-encrypted", "secrets": [secret], "decrypt": "aes-256-gcm", **given}


def pieces(body: bytes) -> Iterator[bytes]:
    """A chunked body."""
    for start in range(0, len(body), 7):
        piece = body[start : start + 7]
        yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


def test_on_a_socket(gate: Gates, bot: RecordingBot) -> None:
    """Through a running gate, with a length and chunked: the bot reads one length and the plaintext; the start says so loudly."""
    running = gate(policy_text([route()], bot.port))
    told = until(
        lambda: [line for line in running.lines() if "the bot gets other bytes than were sent" in str(line)], "a warning"
    )
    assert told[0]["level"] == "warning"
    body, nonce = envelope()
    raw = Check("e", "POST", "", signed(body, nonce, at=time.time()), body, 200, "", b"").raw("/e")
    assert status(running.send(raw)) == 200
    body, nonce = envelope()
    fields = {"Host": "h", **signed(body, nonce, at=time.time()), "Transfer-Encoding": "chunked", "Connection": "close"}
    head = "\r\n".join(["POST /e HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]).encode()
    assert status(running.send(head + b"".join(pieces(body)))) == 200
    for seen in bot.requests:
        top, _, got = seen.partition(b"\r\n\r\n")
        assert got == PLAIN
        assert top.lower().count(b"\r\ncontent-length: %d" % len(PLAIN)) == 1 and b"chunked" not in top.lower()
    assert len(bot.requests) == 2


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"secrets": [{"id": "s", "values": {"hmac_key": {"value": SECRET}}}]}, "lacks aes_key_b64, which decrypt needs"),
        (
            {"secrets": [{"id": "s", "values": {**VALUES, "aes_key_b64": {"value": "c2hvcnQtYnV0LW5vdC1zby1zaG9ydA=="}}}]},
            "is not base64 of 32 bytes",
        ),
        ({"provider": "slack", "secrets": [{"id": "s", "value": SECRET}]}, "needs scheme: hmac-envelope"),
        ({"decrypt": "aes-128-gcm"}, "must be 'aes-256-gcm'"),
    ],
)
def test_bad_input(given: dict[str, Any], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A route that cannot decrypt is a fault that says what is missing, and never the key."""
    file = tmp_path / "policy.yaml"
    file.write_text(policy_text([route(**given)]))
    assert main(["check", str(file)]) == 78
    out = capsys.readouterr().out
    assert told in out
    assert SECRET not in out and "c2hvcnQ" not in out
