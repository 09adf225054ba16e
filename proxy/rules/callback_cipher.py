"""The encrypted callbacks of WeCom and DingTalk, and of Feishu (Lark): AES-256-CBC, as pure functions over bytes.

None of them proves anything by itself: a changed ciphertext decrypts to something. The signature around it does.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from typing import Final

_BLOCK: Final = 16
_PADDED_TO: Final = 32
"""WeCom and DingTalk pad (PKCS #7, RFC 5652 section 6.3) to twice the cipher's block."""


def message_key(written: bytes) -> bytes:
    """The AES key from the 43 characters that WeCom and DingTalk print: base64 without its last ``=``.

    Raises:
        ValueError: these are not 43 characters of base64. The message never holds them.
    """
    try:
        key = base64.b64decode(written + b"=", validate=True) if len(written) == 43 else b""
    except binascii.Error:
        key = b""
    if len(key) != 32:
        raise ValueError("is not an EncodingAESKey of 43 characters (A-Z a-z 0-9 + /)")
    return key


def open_message(key: bytes, sealed: bytes, receiver: bytes) -> bytes | None:
    """The message of WeCom or DingTalk, if it was meant for ``receiver``; call it for what is signed alone.

    SECURITY: whether the padding was right must not be told to someone who can make up ciphertexts.
    """
    raw = _decoded(sealed)
    plain = _unpadded(_decrypted(key, key[:_BLOCK], raw), _PADDED_TO) if raw else None
    if plain is None or len(plain) < 20:
        return None
    length = int.from_bytes(plain[16:20], "big")
    message, rest = plain[20 : 20 + length], plain[20 + length :]
    return message if len(message) == length and hmac.compare_digest(rest, receiver) else None


def seal_message(key: bytes, message: bytes, receiver: bytes) -> bytes:
    """The other way, as base64."""
    plain = secrets.token_bytes(16) + len(message).to_bytes(4, "big") + message + receiver
    short = _PADDED_TO - len(plain) % _PADDED_TO
    return base64.b64encode(_encrypted(key, key[:_BLOCK], plain + bytes([short]) * short))


def message_signature(token: bytes, timestamp: bytes, nonce: bytes, sealed: bytes) -> bytes:
    """``msg_signature``: SHA-1 over the four texts, sorted, with nothing between them; 40 hexadecimal digits."""
    return hashlib.sha1(b"".join(sorted((token, timestamp, nonce, sealed)))).hexdigest().encode()  # noqa: S324 - the sender's choice


def open_lark(encrypt_key: bytes, sealed: bytes) -> bytes | None:
    """The plaintext of Feishu's ``encrypt``: the key is the SHA-256 of the Encrypt Key, the first block is the IV."""
    raw = _decoded(sealed)
    if not raw or len(raw) < 2 * _BLOCK:
        return None
    plain = _decrypted(hashlib.sha256(encrypt_key).digest(), raw[:_BLOCK], raw[_BLOCK:])
    return _unpadded(plain, _BLOCK)


def seal_lark(encrypt_key: bytes, plain: bytes) -> bytes:
    """The other way, as base64."""
    vector = secrets.token_bytes(_BLOCK)
    short = _BLOCK - len(plain) % _BLOCK
    return base64.b64encode(vector + _encrypted(hashlib.sha256(encrypt_key).digest(), vector, plain + bytes([short]) * short))


def _decoded(text: bytes) -> bytes:
    """Strict base64; empty for what is none, or no whole number of blocks."""
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""
    return raw if len(raw) % _BLOCK == 0 else b""


def _unpadded(plain: bytes, most: int) -> bytes | None:
    short = plain[-1] if plain else 0
    if not 1 <= short <= most or not plain.endswith(bytes([short]) * short):
        return None
    return plain[:-short]


def _decrypted(key: bytes, vector: bytes, raw: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    decryptor = Cipher(algorithms.AES(key), modes.CBC(vector)).decryptor()
    return decryptor.update(raw) + decryptor.finalize()


def _encrypted(key: bytes, vector: bytes, plain: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    encryptor = Cipher(algorithms.AES(key), modes.CBC(vector)).encryptor()
    return encryptor.update(plain) + encryptor.finalize()
