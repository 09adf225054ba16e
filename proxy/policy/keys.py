"""How the text of a secret becomes the key of an HMAC: ``key: utf8 | base64 | hex | whsec``."""

import base64
import binascii
import re
from typing import Literal

KeyForm = Literal["utf8", "base64", "hex", "whsec"]

EXPECTED: dict[KeyForm, str] = {
    "utf8": "any text",
    "base64": "base64 (A-Z a-z 0-9 + / and = at the end)",
    "hex": "an even number of hexadecimal digits",
    "whsec": "whsec_ and base64 (Standard Webhooks)",
}
"""What each form looks like, for a message that may not show the secret."""


def decode_key(form: KeyForm, secret: bytes) -> bytes:
    """The key's bytes.

    ``whsec`` takes the prefix ``whsec_`` off, where it stands, and decodes the rest as base64 (Standard Webhooks, "Signature
    scheme"); padding may be left out, as some senders do.

    Raises:
        ValueError: the secret does not have that form. The message never holds the secret.
    """
    if form == "utf8":
        return secret
    text = secret.removeprefix(b"whsec_") if form == "whsec" else secret
    if form == "hex":
        if not re.fullmatch(rb"(?:[0-9a-fA-F]{2})+", text):
            raise ValueError(f"is not {EXPECTED[form]}")
        return bytes.fromhex(text.decode("ascii"))
    try:
        return base64.b64decode(text.rstrip(b"=") + b"=" * (-len(text.rstrip(b"=")) % 4), validate=True)
    except binascii.Error:
        raise ValueError(f"is not {EXPECTED[form]}") from None
