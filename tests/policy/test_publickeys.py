"""Public keys as senders print them, and all that cannot be one: told by its form, never shown."""

import base64
import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from proxy.errors import PolicyError
from proxy.policy.publickeys import EXPECTED, load
from tests.pipeline.judging import compiled
from tests.rules.made_keys import made_key

KEYS = {kind: made_key(kind) for kind in ("ed25519", "rsa", "ecdsa")}
PEM = {kind: key.public("pem").encode() for kind, key in KEYS.items()}
SPKI = {kind: key.public("spki").encode() for kind, key in KEYS.items()}
RAW = KEYS["ed25519"].public("hex").encode()


def named(value: object) -> str:
    """What a case is called: by its kind and form, never by a key, which is another one each time."""
    return value if isinstance(value, str) else "text"


@pytest.mark.parametrize(
    ("kind", "form", "text"),
    [
        ("ed25519", "hex", RAW),
        ("ed25519", "hex", RAW.upper()),
        ("ed25519", "base64", base64.b64encode(bytes.fromhex(RAW.decode()))),
        ("ed25519", "base64", base64.b64encode(bytes.fromhex(RAW.decode())).rstrip(b"=")),
        ("ed25519", "whpk", b"whpk_" + base64.b64encode(bytes.fromhex(RAW.decode()))),
        ("ed25519", "spki", SPKI["ed25519"]),
        ("rsa", "spki", b"\n".join(SPKI["rsa"][i : i + 64] for i in range(0, len(SPKI["rsa"]), 64))),
        ("ecdsa", "spki", SPKI["ecdsa"]),
        *((kind, "pem", pem) for kind, pem in PEM.items()),
        ("rsa", "pem", PEM["rsa"].replace(b"\n", b"\r\n")),
        ("rsa", "pem", b"\n" + PEM["rsa"] + b"\n"),
    ],
    ids=named,
)
def test_forms(kind: Any, form: Any, text: bytes) -> None:
    """Each form is read, with the line ends, case and padding that people paste."""
    kinds = {"ed25519": ed25519.Ed25519PublicKey, "rsa": rsa.RSAPublicKey, "ecdsa": ec.EllipticCurvePublicKey}
    assert isinstance(load(kind, form, text), kinds[kind])


def test_certificate() -> None:
    """The key of a certificate is a key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sender.example.com")])
    now = datetime.datetime.now(datetime.UTC)
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    made = built.not_valid_before(now).not_valid_after(now + datetime.timedelta(1)).sign(key, hashes.SHA256())
    found = load("ecdsa", "pem", made.public_bytes(Encoding.PEM))
    assert isinstance(found, ec.EllipticCurvePublicKey)
    der = PublicFormat.SubjectPublicKeyInfo
    assert found.public_bytes(Encoding.DER, der) == key.public_key().public_bytes(Encoding.DER, der)


@pytest.mark.parametrize(
    ("kind", "form", "text"),
    [
        ("ed25519", "hex", RAW[:-2]),
        ("ed25519", "hex", RAW + b"00"),
        ("ed25519", "hex", b"x" * 64),
        ("ed25519", "base64", b"AAAA"),
        ("ed25519", "base64", b"not base64!"),
        ("ed25519", "whpk", b"whsec_" + base64.b64encode(bytes(32))),
        ("ed25519", "pem", PEM["rsa"]),
        ("ed25519", "spki", SPKI["ecdsa"]),
        ("rsa", "pem", PEM["ed25519"]),
        ("rsa", "pem", PEM["ecdsa"]),
        ("rsa", "pem", PEM["rsa"][:-40]),
        ("rsa", "pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ("rsa", "pem", KEYS["rsa"].private),
        ("rsa", "spki", SPKI["rsa"][:-8]),
        ("ecdsa", "pem", PEM["rsa"]),
        ("ecdsa", "spki", b"AAAA"),
        ("ecdsa", "spki", b""),
    ],
    ids=named,
)
def test_faults(kind: Any, form: Any, text: bytes) -> None:
    """What is no such key is a fault that names the form or the kind, and holds nothing of it."""
    with pytest.raises(ValueError, match="is n") as caught:
        load(kind, form, text)
    assert str(caught.value) in {f"is not {EXPECTED[form]}", f"is no {kind} key that can be used"}


def test_a_key_that_can_be_broken() -> None:
    """RSA below 1024 bits is no key."""
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    # The modulus of RSA-512, given as ASN.1: no library makes such a key any more.
    number = (1 << 511) + 9
    inner = _der(0x30, _der(0x02, b"\0" + number.to_bytes(64)) + _der(0x02, b"\x01\x00\x01"))
    algorithm = bytes.fromhex("300d06092a864886f70d0101010500")
    der = _der(0x30, algorithm + _der(0x03, b"\0" + inner))
    assert getattr(load_der_public_key(der), "key_size", 0) == 512
    with pytest.raises(ValueError, match="no rsa key that can be used"):
        load("rsa", "spki", base64.b64encode(der))


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    return bytes([tag]) + (bytes([size]) if size < 128 else bytes([0x81, size])) + content


@pytest.mark.parametrize(
    ("provider", "value", "says"),
    [
        ("discord-interactions", "zz" * 32, "is not an Ed25519 public key of 64 hexadecimal digits, as signature.key: hex"),
        ("discord-interactions", "ab" * 31, "64 hexadecimal digits"),
        ("standard-webhooks-v1a", "whpk_" + "A" * 20, "whpk_ and an Ed25519 public key in base64"),
        ("sendgrid", "A" * 64, "base64 of its SubjectPublicKeyInfo"),
        ("kick", PEM["ecdsa"].decode(), "as signature.key: pem of scheme rsa demands"),
    ],
)
async def test_in_a_policy(provider: str, value: str, says: str, tmp_path: Path) -> None:
    """A policy with such a key is unsound: route, id and form are named, the value is not."""
    with pytest.raises(PolicyError) as caught:
        await compiled(tmp_path, {"provider": provider, "secrets": [{"id": "mine", "value": value}]})
    (fault,) = caught.value.faults
    assert "secret 'mine' of route 'bot'" in fault.message
    assert says in fault.message
    assert not any(line in str(caught.value) for line in value.splitlines() if len(line) > 8)


async def test_spaces_around_a_key(tmp_path: Path) -> None:
    """White space around a public key is no part of it, and no warning."""
    from proxy.policy.reader import read_policy

    secret = {"id": "s", "value": KEYS["rsa"].public("pem") + "\n"}
    await compiled(tmp_path, {"provider": "kick", "secrets": [secret]})
    assert read_policy(tmp_path / "policy.yaml", {}).warnings == ()
