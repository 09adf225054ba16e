"""Gates that run, whose senders' keys stand elsewhere: fetched at the start, renewed without a refusal, missed without harm."""

import base64
import hashlib
import hmac
import json
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from tests.gates import TOKEN, Gate, RecordingBot, post, status, until
from tests.keyring.sources import KeySource, key_source
from tests.policies import policy_text
from tests.rules.certificates import Signer, trusted
from tests.workers.crews import TREE, workers

Gates = Callable[..., Gate]

FIRST, SECOND = rsa.generate_private_key(65537, 2048), rsa.generate_private_key(65537, 2048)
ACTIVITY = {"type": "message", "channelId": "msteams", "serviceUrl": "https://smba.example.com/"}
SHARED = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def source() -> Iterator[KeySource]:
    """A source of keys."""
    with key_source() as made:
        yield made


def jwks(**keys: rsa.RSAPrivateKey) -> bytes:
    """A JWK set by key id."""
    held = [{**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid} for kid, key in keys.items()]
    return json.dumps({"keys": held}).encode()


def published(source: KeySource, **keys: rsa.RSAPrivateKey) -> str:
    """Put keys where an OpenID page says they are; gives that page."""
    address = source.page("/keys", jwks(**keys), ETag=f'"{"-".join(keys)}"')
    return source.page("/openid", json.dumps({"issuer": "x", "jwks_uri": address}).encode())


def activity(number: int, key: rsa.RSAPrivateKey, kid: str) -> bytes:
    """A message of Bot Framework's."""
    now = time.time()
    claims = {
        "iss": "https://api.botframework.com",
        "aud": "app-1",
        "nbf": now,
        "exp": now + 600,
        "serviceurl": ACTIVITY["serviceUrl"],
    }
    token = jwt.encode(claims, key, "RS256", headers={"kid": kid})
    return post("/bot", json.dumps({**ACTIVITY, "id": str(number)}).encode(), {"Authorization": f"Bearer {token}"})


def policy(bot: RecordingBot, **route: Any) -> str:
    """A policy with one route."""
    return policy_text([{"name": "bot", "path": "/bot", **route}], bot.port)


def framework(bot: RecordingBot, page: str) -> str:
    """A policy for Bot Framework whose keys are said to be at this page."""
    return policy(bot, provider="botframework", secrets={"app_id": {"value": "app-1"}}, rules={"signature": {"openid_url": page}})


def asked(source: KeySource, path: str) -> int:
    """How often the source was asked for a path."""
    return sum(one == path for one, _ in source.asked)


def test_rotation(gate: Gates, bot: RecordingBot, source: KeySource) -> None:
    """Keys are fetched before the first request; when the source changes them, the first request with a new one passes."""
    running = gate(framework(bot, published(source, k1=FIRST)))
    until(lambda: asked(source, "/keys") or None, "the keys to be fetched")
    assert status(running.send(activity(1, FIRST, "k1"))) == 200
    published(source, k1=FIRST, k2=SECOND)
    assert status(running.send(activity(2, SECOND, "k2"))) == 200
    assert status(running.send(activity(3, FIRST, "k1"))) == 200
    assert status(running.send(activity(4, SECOND, "k1"))) == 403
    assert len(bot.requests) == 3
    assert asked(source, "/keys") == 2


def test_unknown_keys(gate: Gates, bot: RecordingBot, source: KeySource) -> None:
    """Requests that name keys nobody knows are refused, and make the gate ask once more, however many they are."""
    running = gate(framework(bot, published(source, k1=FIRST)))
    for number in range(30):
        assert status(running.send(activity(number, SECOND, f"x{number}"))) == 403
    assert status(running.send(activity(99, FIRST, "k1"))) == 200
    assert asked(source, "/keys") <= 2


def test_the_source_is_down(gate: Gates, bot: RecordingBot, source: KeySource) -> None:
    """Without keys a request is answered 503 and not told as a forgery; with them it passes, and their loss is not felt."""
    page = published(source, k1=FIRST)
    good = source.pages.copy()
    source.pages.clear()
    running = gate(framework(bot, page))
    answer = running.send(activity(1, FIRST, "k1"))
    assert status(answer) == 503
    assert b"Retry-After:" in answer
    assert running.metric("hookgate_requests_total", outcome="failed", reason="keys_unreachable") == 1
    assert running.metric("hookgate_signature_mismatch_total") == 0
    assert running.metric("hookgate_key_fetches_total", result="failed") >= 1
    source.pages.update(good)
    until(lambda: status(running.send(activity(2, FIRST, "k1"))) == 200 or None, "the keys to be asked for again")
    source.pages.clear()
    assert status(running.send(activity(3, SECOND, "x"))) == 403
    assert status(running.send(activity(4, FIRST, "k1"))) == 200
    warnings = [line for line in running.lines() if line.get("message") == "keys could not be fetched"]
    assert warnings
    assert {warning["host"] for warning in warnings} == {source.host}
    assert "/openid" not in running.output()


def test_a_token_for_another_bot(gate: Gates, bot: RecordingBot, source: KeySource) -> None:
    """With keys that were fetched it is told that a token is for another route's bot, and not where its secret says nothing of
    such tokens; nothing is fetched to find that out.
    """
    page = published(source, k1=FIRST)
    held = json.loads(framework(bot, page))
    (mine,) = held["routes"]
    signature = {"scheme": "jwt", "algorithms": ["RS256"], "audiences": ["app-1"], "openid_url": page}
    third = {"name": "third", "path": "/third", "secrets": {"iss": {"value": "issuer"}}, "rules": {"signature": signature}}
    held["routes"] = [mine | {"secrets": {"app_id": {"value": "app-2"}}}, mine | {"name": "rest", "path": "/rest"}, third]
    running = gate(json.dumps(held))
    assert status(running.send(activity(1, FIRST, "k1").replace(b"/bot", b"/third", 1))) == 401
    until(
        lambda: running.metric("hookgate_signature_mismatch_total", route="third", cause="unknown") == 1 or None,
        "a search to end",
    )
    assert status(running.send(activity(1, FIRST, "k1"))) == 403
    told = {"route": "bot", "cause": "other_route_secret"}
    until(lambda: running.metric("hookgate_signature_mismatch_total", **told) == 1 or None, "the cause to be told")
    assert asked(source, "/keys") == 1


def test_reload(gate: Gates, bot: RecordingBot, source: KeySource) -> None:
    """A reload keeps the keys that are at hand, and fetches those of a new address before they are needed."""
    running = gate(framework(bot, published(source, k1=FIRST)))
    assert status(running.send(activity(1, FIRST, "k1"))) == 200
    source.pages["/new"] = source.pages["/openid"]
    running.policy.write_text(framework(bot, f"http://{source.host}/new"))
    until(lambda: asked(source, "/new") or None, "the new page to be fetched")
    assert status(running.send(activity(2, FIRST, "k1"))) == 200
    assert asked(source, "/openid") == 1


@pytest.mark.parametrize("number", [1, 2])
def test_a_scheme_that_comes_later(gate: Gates, bot: RecordingBot, source: KeySource, number: int) -> None:
    """A gate of plain tokens has loaded nothing for keys that stand elsewhere; a reload that brings such a route is taken."""
    several = {"workers": number, "store": {"url": "sqlite:claims.db"}}
    plain = policy(bot, provider="telegram", secrets=[{"id": "first", "value": TOKEN}])
    running = gate(json.dumps(json.loads(plain) | several))
    pids = [running.process.pid, *workers(running)]
    assert len(pids) == (1 if number == 1 else 1 + number)
    assert not any("/cryptography/" in (TREE / str(pid) / "maps").read_text() for pid in pids)
    running.policy.write_text(json.dumps(json.loads(framework(bot, published(source, k1=FIRST))) | several))
    until(lambda: status(running.send(activity(1, FIRST, "k1"))) == 200 or None, "a request of the new scheme to pass")
    assert status(running.send(activity(2, SECOND, "k1"))) == 403


def test_message_signature(gate: Gates, bot: RecordingBot) -> None:
    """A request with an HTTP Message Signature passes through a running gate once it is right, and with no byte changed."""
    rules = {"signature": {"components": ["@method", "@authority", "@path", "content-digest"]}}
    url = "https://bot.example.com/bot"
    text = policy(bot, provider="rfc9421", public_url=url, secrets=[{"id": "s", "value": SHARED}], rules=rules)
    body = b'{"a":1}'
    digest = f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"
    covered = f'("@method" "@authority" "@path" "content-digest");created={time.time():.0f};keyid="s"'
    lines = ['"@method": POST', '"@authority": bot.example.com', '"@path": /bot', f'"content-digest": {digest}']
    base = "\n".join([*lines, f'"@signature-params": {covered}'])
    value = base64.b64encode(hmac.digest(base64.b64decode(SHARED), base.encode(), "sha256")).decode()
    fields = {"Content-Digest": digest, "Signature-Input": f"sig1={covered}", "Signature": f"sig1=:{value}:"}
    running = gate(text)
    assert status(running.send(post("/bot", body, fields))) == 200
    assert status(running.send(post("/bot", b'{"a":2}', fields))) == 401
    assert len(bot.requests) == 1
    assert bot.requests[0].endswith(body)


def test_certificates(gate: Gates, bot: RecordingBot, source: KeySource, tmp_path: Path) -> None:
    """PayPal's and SNS's certificates are fetched from where the request says, if the policy lists it, and once."""
    signer = Signer("messageverificationcerts.paypal.com")
    url = source.page("/cert.pem", signer.pem)
    hosts = {"signature": {"hosts": [source.host]}}
    environ = {"SSL_CERT_FILE": trusted(tmp_path)}
    paypal = gate(policy(bot, provider="paypal", secrets={"webhook_id": {"value": "WH"}}, rules=hosts), environ, "paypal.yaml")
    body, stamp = b'{"id":"WH-1"}', "2026-01-01T00:00:00Z"

    def fields(number: int) -> dict[str, str]:
        return {
            "PAYPAL-TRANSMISSION-ID": f"t-{number}",
            "PAYPAL-TRANSMISSION-TIME": stamp,
            "PAYPAL-TRANSMISSION-SIG": signer.sign(f"t-{number}|{stamp}|WH|{zlib.crc32(body)}".encode()).decode(),
            "PAYPAL-CERT-URL": url,
        }

    assert status(paypal.send(post("/bot", body, fields(1)))) == 200
    assert status(paypal.send(post("/bot", body, fields(2)))) == 200
    assert status(paypal.send(post("/bot", b'{"id":"WH-2"}', fields(3)))) == 401
    assert asked(source, "/cert.pem") == 1
    paypal.stop()
    sns = gate(policy(bot, provider="sns", rules=hosts), environ, "sns.yaml")
    held = {"Message": "m", "MessageId": "i", "Timestamp": stamp, "TopicArn": "a", "Type": "Notification"}
    signature = signer.sign("".join(f"{name}\n{value}\n" for name, value in held.items()).encode()).decode()
    held |= {"SignatureVersion": "2", "Signature": signature, "SigningCertURL": url}
    assert status(sns.send(post("/bot", json.dumps(held).encode()))) == 200
    assert status(sns.send(post("/bot", json.dumps({**held, "Message": "n"}).encode()))) == 401
    assert len(bot.requests) == 3
