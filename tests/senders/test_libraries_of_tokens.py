"""JWT and HTTP Message Signatures: the libraries of Bot Framework, Google Chat and RFC 9421 as signers and as judges.

A token signs no byte of the request: what is turned over here is the token, and what its claims repeat of the body.
"""

import base64
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import RSAAlgorithm

from proxy.rules.signing import Genuine
from proxy.verdict import Reason
from tests.keyring.sources import key_source
from tests.senders.libraries import Worker, bodies
from tests.senders.stages import SECRET, Library, Stage, flipped, staged

LONG = [pytest.mark.long, pytest.mark.timeout(1200)]
COUNTS = [30, pytest.param(2000, marks=LONG)]
RSA, OTHER = rsa.generate_private_key(65537, 2048), rsa.generate_private_key(65537, 2048)
CHANNELS = ["msteams", "webchat"]
ISSUER = "https://api.botframework.com"
CHAT = "chat@system.gserviceaccount.com"


def pem(key: Any) -> bytes:
    """A private key as PEM."""
    made: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made


def keys(**more: Any) -> dict[str, Any]:
    """The set with the public key."""
    return {"keys": [{**RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True), "kid": "k", "use": "sig", "alg": "RS256", **more}]}


def values(**held: str) -> dict[str, Any]:
    """A secret of several values."""
    return {name: {"value": value} for name, value in held.items()}


@pytest.fixture(scope="module")
def metadata() -> Iterator[str]:
    """Where the connector asks for the keys: a page of ours that says so, and the set."""
    with key_source() as source:
        page = source.page("/keys", json.dumps(keys(endorsements=CHANNELS)).encode(), Content_Type="application/json")
        yield source.page("/openid", json.dumps({"issuer": ISSUER, "jwks_uri": page}).encode(), Content_Type="application/json")


def claims(now: float) -> dict[str, Any]:
    """What a token of the service says."""
    whole = int(now)
    return {"iss": ISSUER, "aud": "app", "serviceurl": "https://smba.example.com/", "nbf": whole, "exp": whole + 300}


def activity(text: bytes, channel: str = "msteams", service: str = "https://smba.example.com/") -> bytes:
    """A message as Bot Framework sends it."""
    sent = {"type": "message", "id": "1", "channelId": channel, "serviceUrl": service, "text": text.decode()}
    return json.dumps(sent, ensure_ascii=len(text) % 2 == 0).encode()


def damaged(now: float, chance: random.Random) -> Iterator[tuple[str, dict[str, Any], Any, bytes]]:
    """Tokens and activities that neither may take: what is wrong, the claims, the key, the activity."""
    good, sent = claims(now), activity(b"hello")
    yield "another key", good, OTHER, sent
    yield "another bot", {**good, "aud": "other"}, RSA, sent
    yield "another issuer", {**good, "iss": "https://sts.example.com"}, RSA, sent
    yield "over", {**good, "nbf": int(now) - 1000, "exp": int(now) - 400}, RSA, sent
    yield "not yet", {**good, "nbf": int(now) + 400, "exp": int(now) + 900}, RSA, sent
    yield "another service", good, RSA, activity(b"hello", service="https://evil.example.com/")
    yield "a service's beginning", {**good, "serviceurl": "https://smba.example.com"}, RSA, sent
    yield "another channel", good, RSA, activity(b"hello", channel=chance.choice(["directline", "MSTEAMS", "msteam"]))
    yield "no service in the token", {name: value for name, value in good.items() if name != "serviceurl"}, RSA, sent


@pytest.mark.parametrize("count", COUNTS)
async def test_botframework(count: int, python: Worker, metadata: str, tmp_path: Path) -> None:
    """The connector, by keys that it fetches itself, and the gate take each other's tokens; both refuse the same ones."""
    library = Library("botframework", secret="app")  # noqa: S106 - of tests alone
    jwks = json.dumps(keys(endorsements=CHANNELS))
    stage = await staged(tmp_path, library, python, secrets=values(app_id="app", jwks=jwks))
    chance = random.Random("botframework")  # noqa: S311 - the same each time
    more = {"kid": "k", "metadata": metadata}
    for text in bodies("botframework", count, utf8=True):
        body = activity(text, chance.choice(CHANNELS))
        fields = stage.signed(body, private=pem(RSA).decode(), claims=claims(time.time()), **more)["fields"]
        assert stage.judged(body, fields) is Reason.NONE
        made = stage.made(body, key=RSA)
        assert stage.takes(body, made, **more)
        broken = with_token_flipped(made, chance)
        assert stage.judged_made(broken) is not Reason.NONE
        assert not stage.takes(body, broken, **more)
    for what, held, key, body in damaged(time.time(), chance):
        fields = stage.signed(body, private=pem(key).decode(), claims=held, **more)["fields"]
        assert stage.judged(body, fields) is not Reason.NONE, what
        wire = tuple((name.encode(), value.encode()) for name, value in fields.items())
        assert not stage.takes(body, Genuine("POST", b"/hook", wire, body, ()), **more), what


def with_token_flipped(made: Genuine, chance: random.Random) -> Genuine:
    """The request with one letter of the token another one, in a place where that changes what it says."""
    (token,) = (value.removeprefix(b"Bearer ") for name, value in made.fields if name == b"Authorization")
    part = chance.randrange(3)
    parts = token.split(b".")
    at = chance.randrange(len(parts[part]) - 4)
    parts[part] = parts[part][:at] + (b"B" if parts[part][at : at + 1] == b"A" else b"A") + parts[part][at + 1 :]
    return with_token(made, b".".join(parts))


def with_token(made: Genuine, token: bytes) -> Genuine:
    """The request with another token."""
    fields = tuple((name, b"Bearer " + token if name == b"Authorization" else value) for name, value in made.fields)
    return made._replace(fields=fields)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("sender", ["google-chat", "google-chat-project-number"])
async def test_google_chat(sender: str, count: int, python: Worker, tmp_path: Path) -> None:
    """Google's library and the gate take each other's tokens, and neither one that is changed, another's or for another app."""
    url = sender == "google-chat"
    audience, issuer = ("https://bot.example.com", "https://accounts.google.com") if url else ("12", CHAT)
    library = Library(sender, secret=audience, by="google-chat")
    stage = await staged(tmp_path, library, python, secrets=values(aud=audience, jwks=json.dumps(keys())))
    chance = random.Random(sender)  # noqa: S311 - the same each time
    more = {"kid": "k", "keys": keys(), "issuer": issuer, "email": CHAT if url else None}
    right = {"iss": issuer, "aud": audience, **({"email": CHAT} if url else {})}
    for body in bodies(sender, count, utf8=False):
        whole = int(time.time())
        good = {**right, "iat": whole - 1, "exp": whole + 300}
        assert stage.judged(body, stage.signed(body, private=pem(RSA).decode(), claims=good, **more)["fields"]) is Reason.NONE
        made = stage.made(body, key=RSA)
        assert stage.takes(body, made, **more)
        broken = with_token_flipped(made, chance)
        assert stage.judged_made(broken) is not Reason.NONE
        assert not stage.takes(body, broken, **more)
        await bad_google(stage, body, {**good, chance.choice(["aud", "iss", *(["email"] if url else [])]): "other"}, more)


async def bad_google(stage: Stage, body: bytes, held: dict[str, Any], more: dict[str, Any]) -> None:
    """A token for somebody else."""
    fields = stage.signed(body, private=pem(RSA).decode(), claims=held, **more)["fields"]
    assert stage.judged(body, fields) is not Reason.NONE
    wire = tuple((name.encode(), value.encode()) for name, value in fields.items())
    assert not stage.takes(body, Genuine("POST", b"/hook", wire, body, ()), **more)


KINDS: dict[str, Any] = {
    "ED25519": ed25519.Ed25519PrivateKey.generate(),
    "ECDSA_P256_SHA256": ec.generate_private_key(ec.SECP256R1()),
    "RSA_PSS_SHA512": RSA,
    "RSA_V1_5_SHA256": RSA,
    "HMAC_SHA256": None,
}
COVERED = ["@method", "@authority", "@path", "@target-uri", "@query", "content-type"]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("algorithm", KINDS)
async def test_message_signatures(algorithm: str, count: int, python: Worker, tmp_path: Path) -> None:
    """RFC 9421 of another's making: any bytes, five algorithms, parts of the address; with one bit turned, neither takes."""
    key = KINDS[algorithm]
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode() if key else None
    library = Library("rfc9421", by="http-message-signatures", secret=public or SECRET)
    held = {"id": "s", "value": public or base64.b64encode(SECRET.encode()).decode()}
    older = {"algorithm": "rsa-v1_5-sha256"} if algorithm == "RSA_V1_5_SHA256" else {}
    settings = {"components": [*COVERED, "content-digest"], **older}
    stage = await staged(tmp_path, library, python, secrets=[held], rules={"signature": settings})
    chance = random.Random(algorithm)  # noqa: S311 - the same each time
    more: dict[str, Any] = {"algorithm": algorithm, "components": COVERED, "private": pem(key).decode() if key else None}
    wire = {"Host": "bot.example.com", "Content-Type": "application/octet-stream"}
    for body in bodies(algorithm, count, utf8=False):
        other = flipped(body, chance)
        fields = stage.signed(body, fields=wire, **more)["fields"]
        assert stage.judged(body, fields) is Reason.NONE, body[:100]
        assert stage.judged(other, fields) is Reason.SIGNATURE_MISMATCH, body[:100]
        made = stage.made(body, key=key)
        assert stage.takes(body, made, **more), body[:100]
        assert not stage.takes(other, made, **more), body[:100]
