"""``hookgate sign`` for senders that encrypt: what it makes passes the gate, and opens to the body that was given."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from proxy.cli import main
from proxy.rules.callback_cipher import message_key, open_lark, open_message
from tests.handshakes.senders import AES_KEY, OWNED, SECRET, SHARED, route
from tests.handshakes.test_decrypt import AES, VALUES
from tests.policies import policy_text

BODY = b'{"EventType":"a","text":"\xc3\xa9\r\n"}'


def opened(provider: str, raw: bytes) -> bytes | None:
    """The message in a request that was made."""
    body = raw.partition(b"\r\n\r\n")[2]
    key = message_key(AES_KEY.encode())
    match provider:
        case "wecom":
            text = body.partition(b"<Encrypt><![CDATA[")[2].partition(b"]]>")[0]
            return open_message(key, text, SHARED["receive_id"].encode())
        case "dingtalk":
            return open_message(key, json.loads(body)["encrypt"].encode(), OWNED["owner_key"].encode())
        case "feishu-lark-decrypt":
            return open_lark(SECRET.encode(), json.loads(body)["encrypt"].encode())
        case _:
            envelope = json.loads(body)
            nonce, sealed = base64.b64decode(envelope["nonce"]), base64.b64decode(envelope["encrypted"])
            return AESGCM(AES).decrypt(nonce, sealed, None)


def route_of(provider: str) -> dict[str, Any]:
    """A route with what its scheme needs."""
    if provider != "webhook-encrypted":
        return route(provider, "forward")
    return {"name": f"{provider}-forward", "path": "/e", "provider": provider, "secrets": [{"id": "s", "values": VALUES}]}


@pytest.mark.parametrize("provider", ["wecom", "dingtalk", "feishu-lark-decrypt", "webhook-encrypted"])
def test_signed(provider: str, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """A request that was made for the route is one that its gate takes, and holds the body."""
    file, body, saved = tmp_path / "policy.yaml", tmp_path / "body", tmp_path / "request"
    file.write_text(policy_text([route_of(provider)]))
    body.write_bytes(BODY)
    assert main(["sign", str(file), f"{provider}-forward", "--body", str(body)]) == 0
    raw = capsysbinary.readouterr().out
    assert opened(provider, raw) == BODY
    saved.write_bytes(raw)
    assert main(["explain", str(file), str(saved)]) == 0
    assert b"it would be forwarded" in capsysbinary.readouterr().out


def test_an_envelope_stays(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """What is an envelope already is signed as it is."""
    file, body = tmp_path / "policy.yaml", tmp_path / "body"
    file.write_text(policy_text([route_of("webhook-encrypted")]))
    body.write_bytes(b'{"encrypted": "AAAA", "nonce": "AAAAAAAAAAAAAAAA"}')
    assert main(["sign", str(file), "webhook-encrypted-forward", "--body", str(body)]) == 0
    raw = capsysbinary.readouterr().out
    assert raw.endswith(body.read_bytes())
    assert b"X-Encryption-Nonce: AAAAAAAAAAAAAAAA\r\n" in raw


def test_without_the_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing can be encrypted with a key that the policy does not hold."""
    file, body = tmp_path / "policy.yaml", tmp_path / "body"
    given = route_of("webhook-encrypted")
    given["secrets"] = [{"id": "s", "values": {"hmac_key": {"value": SECRET}}}]
    file.write_text(policy_text([given]))
    body.write_bytes(b"{}")
    assert main(["sign", str(file), "webhook-encrypted-forward", "--body", str(body)]) != 0
    assert "lacks aes_key_b64" in capsys.readouterr().err
