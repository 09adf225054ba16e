"""What ``hookgate sign`` makes for senders whose keys come from elsewhere, and what ``hookgate explain`` says of it."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import RSAAlgorithm

from tests.cli.inprocess import hookgate
from tests.policies import policy_text
from tests.rules.certificates import BEGIN, END

RSA, OTHER = rsa.generate_private_key(65537, 2048), rsa.generate_private_key(65537, 2048)
P256, P384, ED = (
    ec.generate_private_key(ec.SECP256R1()),
    ec.generate_private_key(ec.SECP384R1()),
    ed25519.Ed25519PrivateKey.generate(),
)
BODY = b'{"type":"message","channelId":"msteams","serviceUrl":"https://smba.example.com/","id":"1"}'
SHARED = base64.b64encode(bytes(range(32))).decode()
NOW = "1767225600"


def public(key: Any) -> str:
    """A private key's public half as PEM."""
    text: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return text.decode()


def jwks() -> str:
    """A set with two keys."""
    held = {"a": OTHER, "b": RSA}
    return json.dumps(
        {"keys": [{**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid} for kid, key in held.items()]}
    )


def certificate() -> str:
    """A certificate that vouches for nothing."""
    name = x509.Name([])
    made = x509.CertificateBuilder(name, name, RSA.public_key(), 1, BEGIN, END).sign(RSA, SHA256())
    return made.public_bytes(Encoding.PEM).decode()


def values(**held: str) -> dict[str, Any]:
    """A secret of several values."""
    return {name: {"value": value} for name, value in held.items()}


ALL = ["@method", "@target-uri", "@authority", "@path", "@query", "@scheme", "content-type", "content-digest"]
HS256 = {"scheme": "jwt", "algorithms": ["HS256"], "issuers": ["issuer"], "audiences": ["bot"]}
ROUTES: dict[str, tuple[dict[str, Any], Any]] = {
    "botframework": ({"provider": "botframework", "secrets": values(app_id="app", jwks=jwks())}, RSA),
    "google-chat": ({"provider": "google-chat", "secrets": values(aud="https://bot.example.com", jwks=jwks())}, RSA),
    "google-chat-project-number": ({"provider": "google-chat-project-number", "secrets": values(aud="12", jwks=jwks())}, RSA),
    "a shared secret": ({"secrets": [{"id": "s", "value": SHARED}], "rules": {"signature": HS256}}, None),
    "rfc9421": ({"provider": "rfc9421", "secrets": [{"id": "s", "value": SHARED}]}, None),
    "rfc9421, all of it": (
        {
            "provider": "rfc9421",
            "public_url": "https://bot.example.com/hook",
            "secrets": [{"id": "s", "value": SHARED}],
            "rules": {"signature": {"components": ALL, "tag": "app", "label": "mine"}},
        },
        None,
    ),
    **{
        f"rfc9421, {name}": ({"provider": "rfc9421", "secrets": [{"id": "s", "value": public(key)}]}, key)
        for name, key in (("rsa", RSA), ("p256", P256), ("p384", P384), ("ed25519", ED))
    },
    "rfc9421, rsa of old": (
        {
            "provider": "rfc9421",
            "secrets": [{"id": "s", "value": public(RSA)}],
            "rules": {"signature": {"algorithm": "rsa-v1_5-sha256"}},
        },
        RSA,
    ),
    "paypal": ({"provider": "paypal", "secrets": values(webhook_id="WH", cert_pem=certificate())}, RSA),
}


def policy(folder: Path, route: dict[str, Any]) -> Path:
    """A policy with this one route."""
    file = folder / "policy.yaml"
    file.write_text(policy_text([{"name": "bot", "path": "/hook", **route}]))
    return file


def key_file(folder: Path, key: Any) -> list[str]:
    """The words that give a private key."""
    if key is None:
        return []
    file = folder / "key.pem"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return ["--key", str(file)]


@pytest.mark.parametrize("name", ROUTES)
def test_signed_and_explained(name: str, tmp_path: Path) -> None:
    """What is signed for a route is forwarded when it is explained, and refused with another body where the body is covered."""
    route, key = ROUTES[name]
    file = policy(tmp_path, route)
    made = hookgate("sign", file, "bot", "--body", "-", "--at", NOW, *key_file(tmp_path, key), stdin=BODY)
    assert made.code == 0, made.err
    ran = hookgate("explain", file, "-", "--at", NOW, "--format", "json", stdin=made.out)
    assert (ran.code, ran.tree["outcome"]) == (0, "forwarded"), ran.text
    changed = hookgate("explain", file, "-", "--at", NOW, "--format", "json", stdin=made.out.replace(b'"id":"1"', b'"id":"2"'))
    covered = not name.startswith(("google", "botframework", "a shared"))
    assert changed.code == (1 if covered else 0)
    late = hookgate("explain", file, "-", "--at", str(int(NOW) + 1000), "--format", "json", stdin=made.out)
    assert late.code == (0 if name == "paypal" else 1)
    assert late.tree["cause"] == "stale_timestamp"


@pytest.mark.parametrize("name", [name for name, (_, key) in ROUTES.items() if key is not None])
def test_without_the_private_key(name: str, tmp_path: Path) -> None:
    """Where the policy knows public keys alone, a private one must be given, and one of the right kind."""
    file = policy(tmp_path, ROUTES[name][0])
    made = hookgate("sign", file, "bot", "--body", "-", stdin=BODY)
    assert made.code != 0
    assert "give a private key with --key FILE" in made.err
    wrong = ec.generate_private_key(ec.SECP521R1())
    made = hookgate("sign", file, "bot", "--body", "-", *key_file(tmp_path, wrong), stdin=BODY)
    assert made.code != 0
    assert "the private key is" in made.err


SNS = {"provider": "sns", "secrets": values(cert_pem=certificate())}


def test_a_message_of_sns(tmp_path: Path) -> None:
    """A body that is no message becomes one, a message keeps its fields; signed by the certificate's key they pass."""
    file, key = policy(tmp_path, SNS), key_file(tmp_path, RSA)
    confirmation = {
        "Type": "SubscriptionConfirmation",
        "Message": "m",
        "Token": "t",
        "SubscribeURL": "https://x/",
        "SignatureVersion": "1",
    }
    for body in (b"hello", BODY, json.dumps(confirmation).encode()):
        made = hookgate("sign", file, "bot", "--body", "-", "--at", NOW, *key, stdin=body)
        assert made.code == 0, made.err
        message = json.loads(made.out.partition(b"\r\n\r\n")[2])
        assert message["Message"] == (body.decode() if message["Type"] == "Notification" else "m")
        assert message["Timestamp"] == "2026-01-01T00:00:00.000Z"
        assert hookgate("explain", file, "-", "--at", NOW, stdin=made.out).code == 0
        changed = made.out.replace(b"2026-01-01", b"2026-01-02")
        assert hookgate("explain", file, "-", "--at", NOW, stdin=changed).code == 1


NOT_MADE: list[tuple[dict[str, Any], Any, bytes, str]] = [
    ({"provider": "sns"}, RSA, b"hello", "holds nothing of its own to sign for"),
    (SNS, None, b"hello", "give a private key"),
    (SNS, OTHER, b"hello", "another one than that of the certificate"),
    (SNS, P256, b"hello", "no RSA key"),
    (SNS, RSA, b"\xff", "no text"),
    (SNS, RSA, b'{"Type":"SubscriptionConfirmation","Message":"m"}', "lacks SubscribeURL, Token"),
    (SNS, RSA, b'{"Type":"Other","Message":"m"}', "a Type or a SignatureVersion"),
    (ROUTES["paypal"][0], OTHER, b"hello", "another one than that of the certificate"),
]


@pytest.mark.parametrize(("route", "key", "body", "told"), NOT_MADE, ids=[told for _, _, _, told in NOT_MADE])
def test_what_cannot_be_made(route: dict[str, Any], key: Any, body: bytes, told: str, tmp_path: Path) -> None:
    """What would not be genuine is not made, and the words say what is amiss."""
    made = hookgate("sign", policy(tmp_path, route), "bot", "--body", "-", *key_file(tmp_path, key), stdin=body)
    assert made.code != 0
    assert told in made.err
    assert not made.out


def test_explain_has_no_network(tmp_path: Path) -> None:
    """Where keys would have to be fetched, explain says that they are not at hand, and what can be done."""
    route, key = ROUTES["botframework"]
    made = hookgate("sign", policy(tmp_path, route), "bot", "--body", "-", *key_file(tmp_path, key), stdin=BODY)
    file = policy(tmp_path, {"provider": "botframework", "secrets": values(app_id="app")})
    ran = hookgate("explain", file, "-", stdin=made.out)
    assert ran.code == 1
    assert "keys_unreachable" in ran.text
    assert "explain asks no network" in ran.text
