"""WeCom, DingTalk and Feishu callbacks: what msg_signature covers, how XML is read without a parser, what a receiver may be."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from proxy.messages import Request
from proxy.rules.callback import encrypted
from proxy.rules.callback_cipher import (
    message_key,
    message_signature,
    open_lark,
    open_message,
    seal_lark,
    seal_message,
)
from proxy.verdict import Reason, Refusal
from tests.handshakes.judged import asked, gate_for, judge
from tests.handshakes.senders import AES_KEY, OWNED, SECRET, SHARED, called_back, json_body, sealed
from tests.pipeline.judging import Judged

KEY = message_key(AES_KEY.encode())
ENCRYPTED = sealed(SHARED, b"<xml><Content>hi</Content></xml>")


def values(shared: dict[str, str]) -> dict[str, Any]:
    """As they stand under ``secrets``."""
    return {"values": {name: {"value": value} for name, value in shared.items()}}


def xml(encrypted: str = ENCRYPTED) -> bytes:
    """As WeCom writes it."""
    return (
        f"<xml><ToUserName><![CDATA[ww1]]></ToUserName>\n<Encrypt><![CDATA[{encrypted}]]></Encrypt>\n"
        "<AgentID><![CDATA[218]]></AgentID>\n</xml>"
    ).encode()


async def judged(folder: Path, request: Request, provider: str = "wecom", **given: Any) -> Judged:
    """What a fresh gate makes of it."""
    shared = SHARED if provider == "wecom" else OWNED
    found = await judge(await gate_for(folder, provider, values(shared), **given), request)
    assert found is not None
    return found


def said(found: Judged) -> bytes | None:
    """What the gate answered in the bot's place."""
    return found.ended.said.body if isinstance(found.ended, Refusal) and found.ended.said else None


@pytest.mark.parametrize("body", [xml(), json_body(tousername="ww1", encrypt=ENCRYPTED, agentid="218")], ids=["xml", "json"])
async def test_events_pass(body: bytes, tmp_path: Path) -> None:
    """An event of either form reaches the bot as it came."""
    found = await judged(tmp_path, asked("POST", called_back(SHARED, ENCRYPTED), {}, body))
    assert found.permit.request.body == body
    assert found.judgement.secret == "s"  # noqa: S105 - an id


async def test_every_covered_byte(tmp_path: Path) -> None:
    """One bit changed in the encrypted text, the signature, the timestamp or the nonce: refused."""
    gate = await gate_for(tmp_path, "wecom", values(SHARED))
    query, body = called_back(SHARED, ENCRYPTED), xml()
    start = body.index(ENCRYPTED.encode())
    for index in range(start, start + len(ENCRYPTED)):
        changed = bytearray(body)
        changed[index] ^= 1
        found = await judge(gate, asked("POST", query, {}, bytes(changed)))
        assert found is not None and found.status == 401, index
    for index, letter in enumerate(query):
        found = await judge(gate, asked("POST", query[:index] + chr(ord(letter) ^ 1) + query[index + 1 :], {}, body))
        assert found is None or found.status == 401, query[index:]
    found = await judge(gate, asked("POST", query, {}, body))
    assert found is not None and found.reason is Reason.NONE


async def test_what_is_not_covered(tmp_path: Path) -> None:
    """Whatever else stands in the XML is not signed: the bot must not believe it, and the documentation says so."""
    body = xml().replace(b"218", b"219")
    found = await judged(tmp_path, asked("POST", called_back(SHARED, ENCRYPTED), {}, body))
    assert found.reason is Reason.NONE


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("", Reason.SIGNATURE_MISSING),
        ("timestamp=1&nonce=1", Reason.SIGNATURE_MISSING),
        ("msg_signature=" + "0" * 40, Reason.SIGNATURE_MALFORMED),
        ("msg_signature=" + "0" * 39 + "&timestamp=1720000000&nonce=1", Reason.SIGNATURE_MALFORMED),
        ("msg_signature=" + "A" * 40 + "&timestamp=1720000000&nonce=1", Reason.SIGNATURE_MALFORMED),
        ("msg_signature=" + "0" * 40 + "&timestamp=17200000x0&nonce=1", Reason.SIGNATURE_MALFORMED),
        ("msg_signature=" + "0" * 40 + "&timestamp=1720000000&nonce=", Reason.SIGNATURE_MALFORMED),
        ("msg_signature=" + "0" * 40 + "&timestamp=1720000000&nonce=1&nonce=2", Reason.SIGNATURE_MALFORMED),
        ("msg_signature=" + "0" * 40 + "&timestamp=1720000000&nonce=1", Reason.SIGNATURE_MISMATCH),
        ("msg_signature=a&msg_signature=b&timestamp=1720000000&nonce=1", Reason.SIGNATURE_MALFORMED),
    ],
)
async def test_reasons(query: str, reason: Reason, tmp_path: Path) -> None:
    """What is missing, malformed or wrong is told apart in the log, and from outside it is all the same."""
    found = await judged(tmp_path, asked("POST", query, {}, xml()))
    assert (found.reason, found.status) == (reason, 401)


async def test_once(tmp_path: Path) -> None:
    """The same callback again is a repeat, under either name of its signature."""
    gate = await gate_for(tmp_path, "dingtalk", values(OWNED))
    text = sealed(OWNED, json_body(EventType="bpms_task_change"))
    for signed, reason in (
        ("msg_signature", Reason.NONE),
        ("msg_signature", Reason.REPLAY_DUPLICATE),
        ("signature", Reason.REPLAY_DUPLICATE),
    ):
        found = await gate.deliver(asked("POST", called_back(OWNED, text, signed=signed), {}, json_body(encrypt=text)))
        assert found.reason is reason


XML = {
    "a document type": b"<!DOCTYPE xml [<!ENTITY a 'b'>]>" + xml(),
    "an entity": xml().replace(b"<![CDATA[ww1]]>", b"&a;"),
    "a comment": xml().replace(b"<xml>", b"<xml><!-- <Encrypt>x</Encrypt> -->"),
    "two": xml().replace(b"</xml>", b"<Encrypt>x</Encrypt></xml>"),
    "two, in other letters": xml().replace(b"</xml>", b"<encrypt>x</encrypt></xml>"),
    "an attribute": xml().replace(b"<Encrypt>", b"<Encrypt a='b'>"),
    "a space": xml().replace(b"<Encrypt>", b"<Encrypt >"),
    "nested": xml().replace(b"<Encrypt>", b"<a><Encrypt>").replace(b"</Encrypt>", b"</Encrypt></a>"),
    "crossed": xml().replace(b"</Encrypt>", b"</Decrypt>"),
    "a namespace": xml().replace(b"<Encrypt>", b"<a:Encrypt>").replace(b"</Encrypt>", b"</a:Encrypt>"),
    "a processing instruction": b"<?php x ?>" + xml(),
    "another encoding": b'<?xml version="1.0" encoding="UTF-16"?>' + xml(),
    "no end": xml()[:-6],
    "something behind": xml() + b"<x/>",
    "no text": xml(""),
    "white space inside": xml(ENCRYPTED[:8] + "\n" + ENCRYPTED[8:]),
    "none": b"<xml></xml>",
    "another root": xml().replace(b"xml>", b"XML>"),
    "empty": b"",
    "many": b"<xml>" + b"<a>b</a>" * 5000 + xml()[5:],
    "two in JSON": b'{"encrypt":"%b","encrypt":"x"}' % ENCRYPTED.encode(),
    "a list in JSON": json_body(encrypt=[ENCRYPTED]),
    "other letters in JSON": json_body(Encrypt=ENCRYPTED),
}


@pytest.mark.parametrize("kind", XML)
async def test_xml(kind: str, tmp_path: Path) -> None:
    """A body that a parser might read in another way than we do is refused, though its signature would be right."""
    found = await judged(tmp_path, asked("POST", called_back(SHARED, ENCRYPTED), {}, XML[kind]))
    assert found.status == 401


@pytest.mark.parametrize(
    "body",
    [
        b'<?xml version="1.0" encoding="UTF-8"?>\n' + xml(),
        xml().replace(b"<![CDATA[" + ENCRYPTED.encode() + b"]]>", ENCRYPTED.encode()),
        xml().replace(b"ww1", b"[smile] <b> & \xe4\xb8\xad ]] x"),
        b"\r\n" + xml() + b"\r\n",
    ],
    ids=["a prolog", "no CDATA", "a user's text", "white space"],
)
def test_xml_that_senders_write(body: bytes) -> None:
    """Everything that these senders do write is read."""
    assert encrypted(asked("POST", "", {}, body)) == ENCRYPTED.encode()


@pytest.mark.parametrize("provider", ["wecom", "dingtalk"])
async def test_receiver(provider: str, tmp_path: Path) -> None:
    """A check that is signed but meant for somebody else is not answered."""
    shared = SHARED if provider == "wecom" else OWNED
    for whose, answered in (("", True), ("somebody-else", False)):
        text = sealed(shared, b"1616140317555161061" if provider == "wecom" else json_body(EventType="check_url"), whose)
        query = called_back(shared, text)
        if provider == "wecom":
            echo = text.replace("+", "%2B").replace("=", "%3D")
            found = await judged(tmp_path, asked("GET", f"{query}&echostr={echo}", {}))
        else:
            found = await judged(tmp_path, asked("POST", query, {}, json_body(encrypt=text)), provider)
        assert (said(found) is not None) == answered


async def test_success(tmp_path: Path) -> None:
    """DingTalk's check gets an encrypted "success" that its sender can prove and open; other events get none."""
    text = sealed(OWNED, json_body(EventType="check_url"))
    found = await judged(tmp_path, asked("POST", called_back(OWNED, text), {}, json_body(encrypt=text)), "dingtalk")
    answer = json.loads(said(found) or b"null")
    parts = (answer["timeStamp"].encode(), answer["nonce"].encode(), answer["encrypt"].encode())
    assert message_signature(SECRET.encode(), *parts).decode() == answer["msg_signature"]
    assert open_message(KEY, answer["encrypt"].encode(), OWNED["owner_key"].encode()) == b"success"
    other = sealed(OWNED, json_body(EventType="bpms_task_change"))
    found = await judged(tmp_path, asked("POST", called_back(OWNED, other), {}, json_body(encrypt=other)), "dingtalk")
    assert found.reason is Reason.NONE


async def test_markup_in_the_echo(tmp_path: Path) -> None:
    """Even a signed, encrypted text is repeated only where no browser could run it."""
    text = sealed(SHARED, b"<script>")
    echo = text.replace("+", "%2B").replace("=", "%3D")
    found = await judged(tmp_path, asked("GET", f"{called_back(SHARED, text)}&echostr={echo}", {}))
    assert said(found) is None


@pytest.mark.parametrize("length", [0, 1, 11, 12, 15, 16, 31, 32, 33, 1000])
def test_ciphers(length: int) -> None:
    """What is sealed opens again, at every edge of a block, for its receiver alone."""
    text = bytes(index % 251 for index in range(length))
    for receiver in (b"", b"wx5823bf96d3bd56c7"):
        message = seal_message(KEY, text, receiver)
        assert open_message(KEY, message, receiver) == text
        assert open_message(KEY, message, receiver + b"x") is None
        assert open_message(bytes(32), message, receiver) is None
    assert open_lark(b"key", seal_lark(b"key", text)) == text


@pytest.mark.parametrize(
    "text", [b"", b"*", b"AAAA", b"A" * 43, base64.b64encode(bytes(15)), base64.b64encode(bytes(16)), "é".encode()]
)
def test_no_ciphertext(text: bytes) -> None:
    """What is no base64, or no whole number of blocks, opens to nothing and breaks nothing."""
    assert open_lark(b"key", text) is None
    assert open_message(KEY, text, b"x") is None


def test_a_length_that_lies() -> None:
    """A message that says it is longer than it is, or whose padding is wrong, opens to nothing."""
    from proxy.rules.callback_cipher import _encrypted

    def made(plain: bytes) -> bytes:
        return base64.b64encode(_encrypted(KEY, KEY[:16], plain))

    good = bytes(16) + (3).to_bytes(4, "big") + b"abc" + b"me" + bytes([7]) * 7
    assert open_message(KEY, made(good), b"me") == b"abc"
    assert open_message(KEY, made(good[:16] + (2**31).to_bytes(4, "big") + good[20:]), b"me") is None
    for padding in (bytes([0]) * 7, bytes([33]) * 7, bytes([7]) * 6 + bytes([8]), bytes([6]) + bytes([7]) * 5 + bytes([7])):
        assert open_message(KEY, made(good[:-7] + padding), b"me") is None
    assert open_message(KEY, made(bytes([32]) * 32), b"me") is None


@pytest.mark.parametrize("written", ["", "A" * 42, "A" * 44, "A" * 42 + "*", "A" * 42 + "é"])
def test_keys(written: str) -> None:
    """A key that is no EncodingAESKey is a fault, and the message holds none of it."""
    with pytest.raises(ValueError, match="EncodingAESKey") as caught:
        message_key(written.encode())
    assert not written or written not in str(caught.value)


async def test_lark_is_signed(tmp_path: Path) -> None:
    """With an Encrypt Key every byte of an event counts, and an event that only can be decrypted is none."""
    gate = await gate_for(tmp_path, "feishu", {"value": SECRET}, handshake="forward")
    body = json_body(encrypt=seal_lark(SECRET.encode(), json_body(type="event_callback")).decode())
    digest = hashlib.sha256(b"1720000000nonce" + SECRET.encode() + body).hexdigest()
    fields = {"X-Lark-Request-Timestamp": "1720000000", "X-Lark-Request-Nonce": "nonce", "X-Lark-Signature": digest}
    found = await judge(gate, asked("POST", "", fields, body))
    assert found is not None and found.reason is Reason.NONE
    for index in range(len(body)):
        changed = bytearray(body)
        changed[index] ^= 1
        found = await judge(gate, asked("POST", "", fields, bytes(changed)))
        assert found is not None and found.status == 401
    found = await judge(gate, asked("POST", "", {}, body))
    assert found is not None and found.reason is Reason.SIGNATURE_MISSING
