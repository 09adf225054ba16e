"""Why a signature of JWT, RFC 9421, PayPal, SNS, callbacks, Twilio and Adyen was wrong: told where a change explains it."""

import base64
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import RSAAlgorithm

from tests.cli.inprocess import hookgate, policy
from tests.rules.certificates import BEGIN, END

NOW = "1767225600"
PAIRS = [rsa.generate_private_key(65537, 2048) for _ in range(2)]
CURVES = [ed25519.Ed25519PrivateKey.generate() for _ in range(2)]
URL = "https://bot.example.com/hook"
BODY = b'{"type": "message", "channelId": "msteams", "serviceUrl": "https://smba.example.com/", "id": 1}'
COMPACT = json.dumps(json.loads(BODY), separators=(",", ":")).encode()
ITEMS = b'{"notificationItems": [{"NotificationRequestItem": {"pspReference": "1"}}]}'
JWKS = json.dumps({"keys": [{**RSAAlgorithm.to_jwk(PAIRS[0].public_key(), as_dict=True), "kid": "k"}]})
AES_KEY = base64.b64encode(bytes(range(32))).decode().rstrip("=")


def certificate(key: rsa.RSAPrivateKey) -> str:
    """A certificate that vouches for nothing."""
    name = x509.Name([])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, BEGIN, END).sign(key, SHA256())
    return made.public_bytes(Encoding.PEM).decode()


def public(key: ed25519.Ed25519PrivateKey) -> str:
    """The public half."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def values(**held: str) -> dict[str, Any]:
    """A secret of several values."""
    return {"values": {name: {"value": value} for name, value in held.items()}}


class Scheme(NamedTuple):
    """A route, and two secrets that it could have; the keys that sign for each, where those are private."""

    route: dict[str, Any]
    secrets: list[dict[str, Any]]
    keys: list[Any] | None = None
    body: bytes = BODY


HS256 = {"scheme": "jwt", "algorithms": ["HS256"], "issuers": ["issuer"], "audiences": ["bot"]}
TEXTS = [{"value": letter * 32} for letter in "ab"]
"""Hexadecimal too, as Adyen's keys are."""
BASE64 = [{"value": base64.b64encode(one["value"].encode()).decode()} for one in TEXTS]
CALLED = {"aes_key": AES_KEY}
SCHEMES: dict[str, Scheme] = {
    "jwt": Scheme({"provider": "botframework"}, [values(app_id=f"app-{one}", jwks=JWKS) for one in "ab"], [PAIRS[0], PAIRS[0]]),
    "jwt-shared": Scheme({"rules": {"signature": HS256}}, TEXTS),
    "rfc9421": Scheme({"provider": "rfc9421"}, BASE64),
    "rfc9421-public": Scheme({"provider": "rfc9421"}, [{"value": public(key)} for key in CURVES], CURVES),
    "paypal": Scheme(
        {"provider": "paypal"}, [values(webhook_id=f"WH-{one}", cert_pem=certificate(PAIRS[0])) for one in "ab"], [PAIRS[0]] * 2
    ),
    "sns": Scheme({"provider": "sns"}, [values(cert_pem=certificate(key)) for key in PAIRS], PAIRS),
    "wecom": Scheme({"provider": "wecom"}, [values(token=one["value"], receive_id="ww", **CALLED) for one in TEXTS]),
    "dingtalk": Scheme({"provider": "dingtalk"}, [values(token=one["value"], owner_key="d", **CALLED) for one in TEXTS]),
    "lark": Scheme({"provider": "feishu-lark-decrypt"}, TEXTS),
    "twilio": Scheme({"provider": "twilio", "public_url": URL}, TEXTS),
    "adyen": Scheme({"provider": "adyen"}, TEXTS, body=ITEMS),
}


def named(secret: dict[str, Any], id_: str, **more: Any) -> dict[str, Any]:
    """The secret under a name."""
    return {**secret, "id": id_, **more}


def written(folder: Path, scheme: Scheme, mine: list[dict[str, Any]], others: list[dict[str, Any]]) -> Path:
    """A policy with the route, and with one like it where ``others`` are."""
    rest = [{**scheme.route, "name": "rest", "path": "/rest", "secrets": others}] if others else []
    return policy(folder, {**scheme.route, "secrets": mine}, *rest)


def made(folder: Path, scheme: Scheme, body: bytes | None = None) -> bytes:
    """What a sender with the first secret sends."""
    file, words = written(folder, scheme, [named(scheme.secrets[0], "now")], []), list[str]()
    if scheme.keys:
        (folder / "key.pem").write_bytes(scheme.keys[0].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        words = ["--key", str(folder / "key.pem")]
    ran = hookgate("sign", file, "bot", "--body", "-", "--at", NOW, *words, stdin=body or scheme.body)
    assert ran.code == 0, ran.err
    return ran.out


def cause(file: Path, raw: bytes) -> str:
    """What ``explain`` tells; the request must be refused."""
    ran = hookgate("explain", file, "-", "--at", NOW, "--format", "json", stdin=raw)
    assert (ran.code, ran.tree["outcome"]) == (1, "refused"), ran.text
    told: str = ran.tree["cause"]
    return told


@pytest.mark.parametrize("name", SCHEMES)
def test_secrets(name: str, tmp_path: Path) -> None:
    """Signed with a secret that is over, or with that of another route; one that nobody here knows stays unknown."""
    scheme = SCHEMES[name]
    raw, (mine, other) = made(tmp_path, scheme), scheme.secrets
    over = [named(mine, "old", not_after="2020-01-01T00:00:00Z"), named(other, "now")]
    assert cause(written(tmp_path, scheme, over, []), raw) == "previous_secret"
    assert cause(written(tmp_path, scheme, [named(other, "now")], [named(mine, "theirs")]), raw) == "other_route_secret"
    assert cause(written(tmp_path, scheme, [named(other, "now")], []), raw) == "unknown"


def test_many_secrets(tmp_path: Path) -> None:
    """The secret is found among the many of other routes, of which each step tries a few."""
    scheme = SCHEMES["twilio"]
    raw = made(tmp_path, scheme)
    others = [{"id": f"s{number}", "value": f"{number:032}"} for number in range(30)]
    others.insert(20, named(scheme.secrets[0], "theirs"))
    assert cause(written(tmp_path, scheme, [named(scheme.secrets[1], "now")], others), raw) == "other_route_secret"


def test_values_of_the_same_name(tmp_path: Path) -> None:
    """Another route's value that is called as ours and is of another kind is left out, and ends no search."""
    scheme = SCHEMES["sns"]
    raw = made(tmp_path, scheme)
    hashed = {"scheme": "hash", "header": "X-Signature", "values": ["cert_pem"], "template": "{secret:cert_pem}{body}"}
    other = {"name": "rest", "path": "/rest", "secrets": [named(values(cert_pem="c" * 32), "c")], "rules": {"signature": hashed}}
    file = policy(tmp_path, {**scheme.route, "secrets": [named(scheme.secrets[1], "now")]}, other)
    assert cause(file, raw) == "unknown"


@pytest.mark.parametrize("name", ["jwt-shared", "twilio", "lark"])
def test_white_space(name: str, tmp_path: Path) -> None:
    """A newline that was pasted into the policy along with the secret is named."""
    scheme = SCHEMES[name]
    raw = made(tmp_path, scheme)
    file = written(tmp_path, scheme, [{"id": "now", "value": scheme.secrets[0]["value"] + "\n"}], [])
    assert cause(file, raw) == "secret_whitespace"


def with_body(raw: bytes, body: bytes) -> bytes:
    """The request with another body."""
    head, _, was = raw.partition(b"\r\n\r\n")
    return head.replace(b"Content-Length: %d" % len(was), b"Content-Length: %d" % len(body)) + b"\r\n\r\n" + body


@pytest.mark.parametrize("name", ["rfc9421", "rfc9421-public", "paypal", "twilio"])
def test_bodies(name: str, tmp_path: Path) -> None:
    """A body that was written anew on the way, or lost its newline, is named; another one is not."""
    scheme = SCHEMES[name]
    file = written(tmp_path, scheme, [named(scheme.secrets[0], "now")], [])
    assert cause(file, with_body(made(tmp_path, scheme, COMPACT), BODY)) == "body_reserialised"
    assert cause(file, with_body(made(tmp_path, scheme, BODY + b"\n"), BODY)) == "trailing_newline"
    assert cause(file, with_body(made(tmp_path, scheme, b"{}"), BODY)) == "unknown"


@pytest.mark.parametrize("name", ["jwt", "jwt-shared"])
def test_another_header(name: str, tmp_path: Path) -> None:
    """A token that a proxy moved to another header is named."""
    scheme = SCHEMES[name]
    raw = made(tmp_path, scheme).replace(b"\r\nAuthorization: ", b"\r\nX-Original-Authorization: ")
    assert cause(written(tmp_path, scheme, [named(scheme.secrets[0], "now")], []), raw) == "wrong_header"
