"""Signatures of public keys, made with keys of this run: the right ones pass, no other kind, hash, padding or form does."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from proxy.policy.schemes import Signature
from proxy.policy.signatures import EcdsaSignature, Ed25519Signature, RsaSignature
from proxy.policy.templates import Template
from proxy.rules.privatekey import signed
from proxy.verdict import Reason
from tests.pipeline.judging import compiled, request
from tests.rules.made_keys import MadeKey, made_key

OK, MALFORMED, MISMATCH = Reason.NONE, Reason.SIGNATURE_MALFORMED, Reason.SIGNATURE_MISMATCH
KEYS: dict[str, MadeKey] = {kind: made_key(kind) for kind in ("ed25519", "rsa", "ecdsa", "p384", "p521")}
BODY = b'{"text":"\xf0\x9f\x91\x8b"}'
MESSAGE = b"7." + BODY
HASHED = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}


async def judged(folder: Path, kind: str, signature: bytes, *, body: bytes = BODY, **settings: Any) -> Reason:
    """What a gate with this public key makes of the signature over ``MESSAGE``."""
    rules = {
        "signature": {"header": "X-Sig", "template": "{header:X-Time}.{body}", "encoding": "base64", "key": "pem", **settings}
    }
    secret = {"id": "s", "value": KEYS[kind].public(rules["signature"]["key"])}
    gate = await compiled(folder, {"secrets": [secret], "rules": rules})
    fields = [(b"X-Sig", base64.b64encode(signature)), (b"X-Time", b"7")]
    return (await gate.judge(request(body, fields))).reason


def rsa_key(kind: str = "rsa") -> rsa.RSAPrivateKey:
    """The RSA key."""
    key = KEYS[kind].key
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def curve_key(kind: str) -> ec.EllipticCurvePrivateKey:
    """An elliptic curve's key."""
    key = KEYS[kind].key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def plain_key() -> ed25519.Ed25519PrivateKey:
    """The Ed25519 key."""
    key = KEYS["ed25519"].key
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    return key


@pytest.mark.parametrize("form", ["hex", "base64", "whpk", "spki", "pem"])
async def test_ed25519(form: str, tmp_path: Path) -> None:
    """An Ed25519 signature passes with its key in every written form; with a byte more, less or other it does not."""
    good = plain_key().sign(MESSAGE)
    assert await judged(tmp_path, "ed25519", good, scheme="ed25519", key=form) is OK
    for wrong in (good[:-1], good + b"\0", b"\0" * 64, good[32:] + good[:32], b"x"):
        assert await judged(tmp_path, "ed25519", wrong, scheme="ed25519", key=form) is MISMATCH
    assert await judged(tmp_path, "ed25519", good, body=BODY + b" ", scheme="ed25519", key=form) is MISMATCH


@pytest.mark.parametrize("algorithm", HASHED)
@pytest.mark.parametrize("pad", ["pkcs1v15", "pss"])
async def test_rsa(pad: str, algorithm: str, tmp_path: Path) -> None:
    """An RSA signature passes under its own padding and hash, and under no other."""
    for made_pad in ("pkcs1v15", "pss"):
        for name, hashed in HASHED.items():
            how = padding.PSS(padding.MGF1(hashed), hashed.digest_size) if made_pad == "pss" else padding.PKCS1v15()
            signature = rsa_key().sign(MESSAGE, how, hashed)
            found = await judged(tmp_path, "rsa", signature, scheme="rsa", padding=pad, algorithm=algorithm)
            assert found is (OK if (made_pad, name) == (pad, algorithm) else MISMATCH)


async def test_rsa_of_a_wrong_length(tmp_path: Path) -> None:
    """Numbers that the key cannot have made are refused, and break nothing."""
    for wrong in (b"\0", b"\xff" * 256, b"\0" * 257, b"\0" * 4096):
        assert await judged(tmp_path, "rsa", wrong, scheme="rsa") is MISMATCH


def raw_form(signature: bytes, half: int) -> bytes:
    """r and s, each as long as the curve's numbers."""
    r, s = decode_dss_signature(signature)
    return r.to_bytes(half) + s.to_bytes(half)


@pytest.mark.parametrize(("kind", "half"), [("ecdsa", 32), ("p384", 48), ("p521", 66)])
@pytest.mark.parametrize("form", ["der", "raw"])
async def test_ecdsa(form: str, kind: str, half: int, tmp_path: Path) -> None:
    """An ECDSA signature passes in the form that the policy names, on the key's own curve."""
    der = curve_key(kind).sign(MESSAGE, ec.ECDSA(hashes.SHA256()))
    raw = raw_form(der, half)
    right, wrong = (der, raw) if form == "der" else (raw, der)
    assert await judged(tmp_path, kind, right, scheme="ecdsa", form=form) is OK
    assert await judged(tmp_path, kind, wrong, scheme="ecdsa", form=form) is MISMATCH
    assert await judged(tmp_path, kind, right, scheme="ecdsa", form=form, algorithm="sha512") is MISMATCH
    padded = right[:half] + b"\0" + right[half:]  # as a number s is the same; it has one written form
    for broken in (right[:-1], right + b"\0", padded, b"\0" * len(right), b"\xff" * len(right)):
        assert await judged(tmp_path, kind, broken, scheme="ecdsa", form=form) is MISMATCH


async def test_zero_is_no_signature(tmp_path: Path) -> None:
    """r = s = 0, which careless verifiers take for any message, is refused in both forms."""
    zero = encode_dss_signature(0, 0)
    assert await judged(tmp_path, "ecdsa", zero, scheme="ecdsa") is MISMATCH
    assert await judged(tmp_path, "ecdsa", bytes(64), scheme="ecdsa", form="raw") is MISMATCH


async def test_a_strangers_key(tmp_path: Path) -> None:
    """A signature of the same scheme by another key is refused."""
    other = ed25519.Ed25519PrivateKey.generate().sign(MESSAGE)
    assert await judged(tmp_path, "ed25519", other, scheme="ed25519") is MISMATCH
    assert await judged(tmp_path, "ed25519", base64.b64decode(b"AAA="), scheme="ed25519") is MISMATCH


async def test_two_keys(tmp_path: Path) -> None:
    """While a key changes both count, and the one that matched is named."""
    new = made_key("ed25519")
    rules = {"signature": {"scheme": "ed25519", "header": "X-Sig", "template": "{body}"}}
    secrets = [{"id": "old", "value": KEYS["ed25519"].public("hex")}, {"id": "new", "value": new.public("hex")}]
    gate = await compiled(tmp_path, {"secrets": secrets, "rules": rules})
    for name, key in (("old", plain_key()), ("new", new.key)):
        assert isinstance(key, ed25519.Ed25519PrivateKey)
        found = await gate.judge(request(b"b", [(b"X-Sig", key.sign(b"b").hex().encode())]))
        assert (found.reason, found.judgement.secret) == (OK, name)


TEMPLATE = Template.parse("{body}")
SIDES: list[tuple[str, Callable[[], Signature]]] = [
    ("ed25519", lambda: Ed25519Signature(scheme="ed25519", header="X-Sig", template=TEMPLATE)),
    ("rsa", lambda: RsaSignature(scheme="rsa", header="X-Sig", template=TEMPLATE, padding="pss", algorithm="sha512")),
    ("rsa", lambda: RsaSignature(scheme="rsa", header="X-Sig", template=TEMPLATE)),
    ("ecdsa", lambda: EcdsaSignature(scheme="ecdsa", header="X-Sig", template=TEMPLATE)),
    ("p384", lambda: EcdsaSignature(scheme="ecdsa", header="X-Sig", template=TEMPLATE, form="raw", algorithm="sha384")),
]


@pytest.mark.parametrize(("kind", "settings"), SIDES, ids=["ed25519", "rsa pss", "rsa", "ecdsa", "ecdsa raw"])
async def test_both_sides_agree(kind: str, settings: Callable[[], Signature], tmp_path: Path) -> None:
    """What is signed with the private key here is taken by the rule."""
    made = settings()
    assert isinstance(made, Ed25519Signature | RsaSignature | EcdsaSignature)
    more = made.model_dump(
        exclude={"header", "template", "encoding", "key", "source", "items", "id", "answer", "mode"}, mode="json"
    )
    for _ in range(5):
        assert await judged(tmp_path, kind, signed(made, KEYS[kind].key, MESSAGE), **more) is OK
