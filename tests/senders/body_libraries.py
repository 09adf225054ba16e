"""Senders' own libraries for Python whose proof stands in the body or the query, asked to sign and to judge."""

import base64
import json
from collections.abc import Callable
from typing import Any, Final

from tests.senders.asked import Asked, fields, library, part, private_key, raw, refused, text


def callback(asked: Asked) -> Any:
    """WeChat's crypto, which WeCom and DingTalk share, for this token, key and receiver."""
    values = asked["values"]
    receiver = values.get("receive_id") or values["owner_key"]
    return library("wechatpy.enterprise.crypto").WeChatCrypto(values["token"], values["aes_key"], receiver)


def sign_callback(asked: Asked) -> Asked:
    sealed = library("xmltodict").parse(callback(asked).encrypt_message(text(asked), "nonce", str(asked["at"])))["xml"]
    return {"encrypt": sealed["Encrypt"], "signature": sealed["MsgSignature"], "timestamp": str(asked["at"]), "fields": {}}


def verify_callback(asked: Asked) -> bool:
    """The message that it opens must be the one that is expected."""
    opened: list[str] = []
    given = {"Encrypt": asked["encrypt"]}
    query = asked["query"]
    judge = callback(asked).decrypt_message
    call = lambda: opened.append(judge(given, query["msg_signature"], query["timestamp"], query["nonce"]))  # noqa: E731 - one line
    return refused(call, "InvalidSignature") and opened == [text(asked)]


def verify_lark_envelope(asked: Asked) -> bool:
    """What it decrypts must be what is expected."""
    cipher = part("lark_oapi", "core.utils.decryptor").AESCipher(asked["secret"])
    opened: list[str] = []
    return refused(lambda: opened.append(cipher.decrypt_str(asked["encrypt"])), "ValueError") and opened == [text(asked)]


def verify_mailgun(asked: Asked) -> bool:
    given = json.loads(raw(asked))["signature"]
    judge: Callable[..., bool] = library("mailgun.security").SecurityGuard.verify_webhook
    return judge(asked["secret"], given["token"], given["timestamp"], given["signature"])


def paypal_message(asked: Asked, number: str, stamp: str) -> bytes:
    """What PayPal's library says is signed: its own check of it asks a pyOpenSSL that is no more."""
    made: str = library("paypalrestsdk.notifications").WebhookEvent._get_expected_sig(
        number, stamp, asked["webhook_id"], text(asked)
    )
    return made.encode()


def sign_paypal(asked: Asked) -> Asked:
    key = private_key(asked["private"])
    number, stamp = asked["number"], asked["stamp"]
    padding, hashes = (library(f"cryptography.hazmat.primitives.{name}") for name in ("asymmetric.padding", "hashes"))
    made = key.sign(paypal_message(asked, number, stamp), padding.PKCS1v15(), hashes.SHA256())
    names = {"ID": number, "TIME": stamp, "SIG": base64.b64encode(made).decode()}
    signed = {f"PAYPAL-TRANSMISSION-{name}": value for name, value in names.items()}
    return {"fields": {**signed, "PAYPAL-AUTH-ALGO": "SHA256withRSA"}}


def verify_paypal(asked: Asked) -> bool:
    x509, exceptions = library("cryptography.x509"), library("cryptography.exceptions")
    padding, hashes = (library(f"cryptography.hazmat.primitives.{name}") for name in ("asymmetric.padding", "hashes"))
    key = x509.load_pem_x509_certificate(asked["certificate"].encode()).public_key()
    given = fields(asked)
    message = paypal_message(asked, given["paypal-transmission-id"], given["paypal-transmission-time"])
    signature = base64.b64decode(given["paypal-transmission-sig"])
    try:
        key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
    except exceptions.InvalidSignature:
        return False
    return True


SIGN: Final[dict[str, Callable[[Asked], Asked]]] = {"paypal": sign_paypal, "wechat": sign_callback}

VERIFY: Final[dict[str, Callable[[Asked], bool]]] = {
    "lark-envelope": verify_lark_envelope,
    "mailgun": verify_mailgun,
    "paypal": verify_paypal,
    "wechat": verify_callback,
}
