"""What is encrypted, opened: for a look at a sender's check of the address, and for the bot that gets plaintext."""

from collections.abc import Sequence
from typing import Final, Literal

import orjson

from proxy.messages import Request
from proxy.policy.secrets import Secret
from proxy.policy.values import Selector, SelectorKind
from proxy.rules.callback import opener
from proxy.rules.callback_cipher import message_key, message_signature, open_lark, seal_message
from proxy.rules.handshake import Opener, Sealer
from proxy.rules.keys import reader
from proxy.rules.replay import Replay, Reserved
from proxy.verdict import Fail

Cipher = Literal["lark", "wecom", "dingtalk"]

_LARK: Final = reader(Selector(SelectorKind.JSON, "/encrypt"))
_NONCE: Final = reader(Selector(SelectorKind.QUERY, "nonce"))


class Opened(Request):
    """A request whose body is plaintext, with the one that came."""

    __slots__ = ("raw",)

    def __init__(self, plain: Request, raw: Request) -> None:
        super().__init__(plain.head, plain.body)
        self.raw: Final = raw


class RawReplay(Replay):
    """A delivery is named by what came and was proved, not by what it holds."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay

    async def claim(self, request: Request) -> Reserved | Fail:
        return await self._replay.claim(request.raw if isinstance(request, Opened) else request)

    async def settle(self, reserved: Reserved, *, delivered: bool) -> None:
        await self._replay.settle(reserved, delivered=delivered)


def opener_of(cipher: Cipher | None, secrets: Sequence[Secret]) -> Opener | None:
    """The function that decrypts a request, where its checks are encrypted."""
    match cipher:
        case None:
            return None
        case "lark":
            return lambda request: _open_lark(request, secrets)
        case "wecom":
            return opener(secrets, "receive_id")
        case "dingtalk":
            return opener(secrets, "owner_key")


def _open_lark(request: Request, secrets: Sequence[Secret]) -> bytes | None:
    sealed = _LARK(request)
    if sealed is None:
        return None
    found = [open_lark(one.reveal(), sealed) for one in secrets if one.active(request.head.arrived)]
    return next((plain for plain in found if plain is not None), None)


def sealer_of(cipher: Cipher | None, secrets: Sequence[Secret]) -> Sealer | None:
    """The function that makes DingTalk's answer: a text encrypted and signed anew, with the request's nonce."""
    if cipher != "dingtalk":
        return None

    def seal(text: bytes, request: Request) -> bytes:
        now = request.head.arrived
        secret = next(one for one in secrets if one.active(now) and opener((one,), "owner_key")(request) is not None)
        stamp, nonce = b"%d" % (now * 1000), _NONCE(request) or b""
        sealed = seal_message(message_key(secret.reveal("aes_key")), text, secret.reveal("owner_key"))
        signature = message_signature(secret.reveal("token"), stamp, nonce, sealed)
        said = {"msg_signature": signature, "encrypt": sealed, "timeStamp": stamp, "nonce": nonce}
        return orjson.dumps({name: value.decode() for name, value in said.items()})

    return seal
