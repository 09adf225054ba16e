"""The text of a secret becomes the key that its form says, or is refused without being shown."""

import pytest

from proxy.policy.keys import KeyForm, decode_key


@pytest.mark.parametrize(
    ("form", "secret", "key"),
    [
        ("utf8", b"whsec_x=", b"whsec_x="),
        ("utf8", "é".encode(), b"\xc3\xa9"),
        ("hex", b"00fFa0", b"\x00\xff\xa0"),
        ("base64", b"AAEC", b"\x00\x01\x02"),
        ("base64", b"AAE=", b"\x00\x01"),
        ("base64", b"AAE", b"\x00\x01"),
        ("base64", b"+/8=", b"\xfb\xff"),
        ("whsec", b"whsec_AAEC", b"\x00\x01\x02"),
        ("whsec", b"AAEC", b"\x00\x01\x02"),
    ],
)
def test_decoded(form: KeyForm, secret: bytes, key: bytes) -> None:
    """Each form is decoded strictly; padding may be left out."""
    assert decode_key(form, secret) == key


@pytest.mark.parametrize(
    ("form", "secret"),
    [
        ("hex", b"0"),
        ("hex", b"0g"),
        ("hex", b"00 00"),
        ("hex", b""),
        ("hex", "\u0660\u0660".encode()),
        ("base64", b"QUJDR"),
        ("base64", b"AA-_"),
        ("base64", b"AA\nEC"),
        ("base64", b"AAEC whsec"),
        ("whsec", b"whsec_whsec_"),
        ("whsec", b"whsec_QUJDR"),
        ("base64", b"\xff\xff"),
    ],
)
def test_refused(form: KeyForm, secret: bytes) -> None:
    """What does not have the form is refused, and the message does not hold it."""
    with pytest.raises(ValueError, match="is not") as caught:
        decode_key(form, secret)
    assert not secret or secret.decode("latin-1") not in str(caught.value)
    assert caught.value.__cause__ is None
