"""Senders that check an address: each check as its sender makes it now, signed with the secret of these tests."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from proxy.rules.callback_cipher import message_key, message_signature, seal_lark, seal_message

SECRET = "aSecretOfThirtyTwoCharacters0123"  # noqa: S105 - of tests alone
VERIFY = "meatyhamhock"
DISCORD = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
DISCORD_KEY = DISCORD.public_key().public_bytes_raw().hex()
AES_KEY = base64.b64encode(bytes(range(32, 64))).decode().rstrip("=")
SHARED = {"token": SECRET, "aes_key": AES_KEY, "receive_id": "wx5823bf96d3bd56c7"}
OWNED = {"token": SECRET, "aes_key": AES_KEY, "owner_key": "suite4xxxxxxxxxxxxxxx"}


class Check(NamedTuple):
    """One request that only checks the address, and the answer that its sender expects."""

    provider: str
    method: str
    query: str
    fields: dict[str, str]
    body: bytes
    status: int
    type: str
    answer: bytes | None
    """``None`` where it is different each time."""
    signed: bool = True

    def raw(self, path: str) -> bytes:
        """On the wire, as the last of its connection."""
        target = path + (f"?{self.query}" if self.query else "")
        fields = {"Host": "bot.example.com", **self.fields, "Connection": "close"}
        if self.body or self.method == "POST":
            fields["Content-Length"] = str(len(self.body))
        lines = [f"{self.method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        return "\r\n".join(lines).encode("latin-1") + self.body


def mac(message: bytes, algorithm: str = "sha256") -> bytes:
    """Under the secret of these tests."""
    return hmac.digest(SECRET.encode(), message, algorithm)


def stamped(body: bytes, signature: str, stamp: str) -> dict[str, str]:
    """Slack's and Zoom's way to sign, now."""
    now = str(int(time.time()))
    return {stamp: now, signature: "v0=" + mac(f"v0:{now}:".encode() + body).hex(), "Content-Type": "application/json"}


def discord(body: bytes, key: Ed25519PrivateKey = DISCORD) -> dict[str, str]:
    """Discord's way to sign, now."""
    now = str(int(time.time()))
    signature = key.sign(now.encode() + body).hex()
    return {"X-Signature-Ed25519": signature, "X-Signature-Timestamp": now, "Content-Type": "application/json"}


def called_back(shared: Mapping[str, str], sealed: str, *, signed: str = "msg_signature") -> str:
    """The query of a callback whose encrypted text is ``sealed``."""
    now, nonce = str(int(time.time())), "1372623149"
    signature = message_signature(shared["token"].encode(), now.encode(), nonce.encode(), sealed.encode()).decode()
    return f"{signed}={signature}&timestamp={now}&nonce={nonce}"


def sealed(shared: Mapping[str, str], text: bytes, receiver: str = "") -> str:
    """A text as WeCom and DingTalk encrypt it."""
    whose = receiver or shared.get("receive_id") or shared["owner_key"]
    return seal_message(message_key(shared["aes_key"].encode()), text, whose.encode()).decode()


def json_body(**members: Any) -> bytes:
    """A JSON object as bytes."""
    return json.dumps(members).encode()


def checks() -> dict[str, Check]:
    """Every check that the gate can answer, by name; signed with the time of this call."""
    return {f"{one.provider}: {name}": one for name, one in _checks()}


def _checks() -> list[tuple[str, Check]]:
    text, plain = "text/plain; charset=utf-8", "application/json"
    slack = json_body(challenge="3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P", type="url_verification")
    ssl = b"ssl_check=1&token=Jhj5dZrVaK7ZwHHjRyZWjbDl"
    zoom = json_body(event="endpoint.url_validation", payload={"plainToken": "qgg8vlvZRS6UYooatFL8Aw"}, event_ts=1)
    zoomed = b'{"plainToken":"qgg8vlvZRS6UYooatFL8Aw","encryptedToken":"%b"}' % mac(b"qgg8vlvZRS6UYooatFL8Aw").hex().encode()
    twitch = json_body(challenge="pogchamp-kappa-360noscope-vohiyo", subscription={})
    ping, event_ping = b'{"type":1,"id":"1"}', b'{"version":1,"application_id":"1","type":0}'
    viber, line = json_body(event="webhook", timestamp=1), json_body(destination="x", events=[])
    vk = json_body(type="confirmation", group_id=1, secret=SECRET)
    lark = json_body(challenge="ajls384kdjx98XX", token=VERIFY, type="url_verification")
    larked = json_body(encrypt=seal_lark(SECRET.encode(), lark).decode())
    bare = json_body(challenge="ajls384kdjx98XX", token=SECRET, type="url_verification")
    echo = sealed(SHARED, b"1616140317555161061")
    wecom = f"{called_back(SHARED, echo)}&echostr={echo.replace('+', '%2B').replace('=', '%3D')}"
    ding = sealed(OWNED, json_body(EventType="check_url"))
    crc = b'{"response_token":"sha256=%b"}' % base64.b64encode(mac(b"c0ffee-_="))
    crc_query = "crc_token=c0ffee-_%3D&nonce=abc"
    meta = "hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=" + VERIFY
    graph = "validationToken=Validation%3A+Testing+client+application+reachability+for+subscription+Request-Id%3A+1"
    graphed = b"Validation: Testing client application reachability for subscription Request-Id: 1"
    lark_answer = b'{"challenge":"ajls384kdjx98XX"}'
    slacked = b"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"
    return [
        ("url_verification", _post("slack", slack, _slack(slack), text, slacked)),
        ("ssl_check", _post("slack", ssl, _slack(ssl) | {"Content-Type": "application/x-www-form-urlencoded"}, "", b"")),
        ("ping", _post("discord-interactions", ping, discord(ping), plain, b'{"type":1}')),
        ("ping", _post("discord-webhook-events", event_ping, discord(event_ping), plain, b"", 204)),
        ("challenge", _post("twitch", twitch, _twitch(twitch), text, b"pogchamp-kappa-360noscope-vohiyo")),
        ("validation", _post("zoom", zoom, stamped(zoom, "x-zm-signature", "x-zm-request-timestamp"), plain, zoomed)),
        ("webhook", _post("viber", viber, {"X-Viber-Content-Signature": mac(viber).hex()}, "", b"")),
        ("verify", _post("line", line, {"x-line-signature": base64.b64encode(mac(line)).decode()}, "", b"")),
        ("confirmation", _post("vk", vk, {"Content-Type": plain}, text, VERIFY.encode())),
        ("encrypted", _post("feishu", larked, {"Content-Type": plain}, plain, lark_answer, signed=False)),
        ("encrypted and signed", _post("feishu", larked, _lark(larked), plain, lark_answer)),
        ("plain", _post("feishu-lark-challenge", bare, {"Content-Type": plain}, plain, lark_answer)),
        ("encrypted", _post("feishu-lark-decrypt", larked, {"Content-Type": plain}, plain, lark_answer)),
        ("echostr", Check("wecom", "GET", wecom, {}, b"", 200, text, b"1616140317555161061")),
        ("check_url", Check("dingtalk", "POST", called_back(OWNED, ding), {}, json_body(encrypt=ding), 200, plain, None)),
        (
            "old names",
            Check(
                "dingtalk", "POST", called_back(OWNED, ding, signed="signature"), {}, json_body(encrypt=ding), 200, plain, None
            ),
        ),
        ("crc", Check("x", "GET", crc_query, {}, b"", 200, plain, crc, False)),
        (
            "crc, signed",
            Check("x", "GET", crc_query, _x(crc_query), b"", 200, plain, crc),
        ),
        ("verification", Check("messenger", "GET", meta, {}, b"", 200, text, b"1158201444", False)),
        ("verification", Check("meta-whatsapp", "GET", meta, {}, b"", 200, text, b"1158201444", False)),
        ("verification", Check("instagram", "GET", meta, {}, b"", 200, text, b"1158201444", False)),
        ("verification", Check("meta-verify", "GET", meta, {}, b"", 200, text, b"1158201444")),
        ("challenge", Check("dropbox", "GET", "challenge=abc123", {}, b"", 200, text, b"abc123", False)),
        ("validation", Check("microsoft-graph", "POST", graph, {"Content-Type": "text/plain"}, b"", 200, text, graphed, False)),
        ("verification", Check("okta", "GET", "", _OKTA, b"", 200, plain, b'{"verification":"my verification value"}', False)),
        ("permission", Check("cloudevents-webhook", "OPTIONS", "", _ORIGIN, b"", 200, "", b"", False)),
    ]


_OKTA = {"X-Okta-Verification-Challenge": "my verification value", "Authorization": SECRET}
_ORIGIN = {"WebHook-Request-Origin": "eventemitter.example.com", "WebHook-Request-Rate": "120"}


def _post(
    provider: str, body: bytes, fields: dict[str, str], type: str, answer: bytes | None, status: int = 200, *, signed: bool = True
) -> Check:
    return Check(provider, "POST", "", fields, body, status, type, answer, signed)


def _slack(body: bytes) -> dict[str, str]:
    return stamped(body, "X-Slack-Signature", "X-Slack-Request-Timestamp")


def _twitch(body: bytes) -> dict[str, str]:
    now = time.strftime("%Y-%m-%dT%H:%M:%S.123456789Z", time.gmtime())
    signature = "sha256=" + mac(b"id-1" + now.encode() + body).hex()
    return {
        "Twitch-Eventsub-Message-Id": "id-1",
        "Twitch-Eventsub-Message-Timestamp": now,
        "Twitch-Eventsub-Message-Signature": signature,
        "Twitch-Eventsub-Message-Type": "webhook_callback_verification",
    }


def _lark(body: bytes) -> dict[str, str]:
    signature = hashlib.sha256(b"1720000000nonce" + SECRET.encode() + body).hexdigest()
    return {"X-Lark-Request-Timestamp": "1720000000", "X-Lark-Request-Nonce": "nonce", "X-Lark-Signature": signature}


def _x(query: str) -> dict[str, str]:
    return {"x-twitter-webhooks-signature": "sha256=" + base64.b64encode(mac(query.encode())).decode()}


def route(provider: str, mode: str) -> dict[str, Any]:
    """A route of a provider, named after both."""
    secret: dict[str, Any] = {"id": "s", "value": SECRET}
    match provider:
        case "wecom":
            secret = {"id": "s", "values": {name: {"value": value} for name, value in SHARED.items()}}
        case "dingtalk":
            secret = {"id": "s", "values": {name: {"value": value} for name, value in OWNED.items()}}
        case "meta-verify":
            secret = {"id": "s", "value": VERIFY, "allow_weak": True}
        case "discord-interactions" | "discord-webhook-events":
            secret = {"id": "s", "value": DISCORD_KEY}
        case _:
            pass
    handshake: dict[str, Any] = {"mode": mode}
    if provider in {"messenger", "meta-whatsapp", "instagram", "vk", "feishu"} and mode == "answer":
        handshake["token"] = {"value": VERIFY}
    if provider == "cloudevents-webhook" and mode == "answer":
        handshake["origins"] = ["eventemitter.example.com"]
    name = f"{provider}-{mode}"
    return {"name": name, "path": f"/{name}", "provider": provider, "secrets": [secret], "handshake": handshake}
