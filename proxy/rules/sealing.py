"""Makes what the senders of encrypted callbacks send: the other side of ``callback`` and ``decrypt``, for requests made here."""

import base64
import secrets as randomness
from typing import Final
from urllib.parse import quote

import orjson

from proxy.errors import HookgateError
from proxy.policy.callbacks import CallbackSignature, EnvelopeSignature
from proxy.policy.secrets import Secret
from proxy.rules.callback_cipher import message_key, message_signature, seal_lark, seal_message
from proxy.rules.keys import at, pointer

_NONCE_BYTES: Final = 12


def callback(settings: CallbackSignature, secret: Secret, body: bytes, now: float, *, echo: bool = False) -> tuple[bytes, bytes]:
    """The query and the body of a callback whose message is ``body``; DingTalk counts milliseconds and writes JSON. Of a check of
    the address (``echo``) the message stands in the query.
    """
    milliseconds = settings.scheme == "dingtalk-callback"
    receiver = secret.reveal("owner_key" if milliseconds else "receive_id")
    sealed = seal_message(message_key(secret.reveal("aes_key")), body, receiver)
    stamp, nonce = b"%d" % (now * 1000 if milliseconds else now), randomness.token_hex(8).encode()
    signature = message_signature(secret.reveal("token"), stamp, nonce, sealed)
    query = b"msg_signature=%b&timestamp=%b&nonce=%b" % (signature, stamp, nonce)
    if echo:
        return query + b"&echostr=" + quote(sealed, safe="").encode(), b""
    if milliseconds:
        return query, orjson.dumps({"encrypt": sealed.decode()})
    return query, b"<xml><ToUserName><![CDATA[%b]]></ToUserName><Encrypt><![CDATA[%b]]></Encrypt></xml>" % (receiver, sealed)


def bare_envelope(secret: Secret, body: bytes) -> bytes:
    """Feishu's encrypted form of a body."""
    return orjson.dumps({"encrypt": seal_lark(secret.reveal(), body).decode()})


def gcm_envelope(settings: EnvelopeSignature, secret: Secret, body: bytes) -> tuple[bytes, bytes]:
    """The envelope around a body, and its nonce as the header has it; a body that is an envelope already stays as it is.

    Raises:
        HookgateError: the secret lacks the key to encrypt with.
    """
    try:
        nonce = at(orjson.loads(body), pointer(settings.body_nonce.argument))
    except orjson.JSONDecodeError:
        nonce = None
    if isinstance(nonce, str):
        return body, nonce.encode()
    if not secret.has("aes_key_b64"):
        raise HookgateError("the body is no envelope, and the secret lacks aes_key_b64 to make one")
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    fresh = randomness.token_bytes(_NONCE_BYTES)
    sealed = AESGCM(base64.b64decode(secret.reveal("aes_key_b64"))).encrypt(fresh, body, None)
    written = base64.b64encode(fresh)
    return orjson.dumps({"encrypted": base64.b64encode(sealed).decode(), "nonce": written.decode()}), written
