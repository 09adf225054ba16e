"""What verifying a signature costs: microseconds of CPU for each scheme at three sizes of body, beside its bare cryptography.

Alone: ``python -m tests.bench.schemes``. The rule is that of a sender's preset, the request is made as ``sign`` makes it. The
bare cost is that of the same calls of the library over the same bytes; to read the JSON in which signed fields stand is bare too.
"""

import base64
import hashlib
import hmac
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt import PyJWS

from proxy.messages import Head, Request
from proxy.pipeline.schemes import head_rule, signature_rule
from proxy.policy.reader import read_policy
from proxy.rules.signing import genuine
from proxy.verdict import Pass, Verdict
from tests.bench.errors import BenchError
from tests.pipeline.judging import head as made_head
from tests.rules.made_keys import MadeKey, made_key

SIZES = (1024, 4096, 65536)
URL = "https://bot.example.com/hook"
SECRET = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"  # noqa: S105 - of the bench alone
NOW = 1_767_225_600.0
APP = "11111111-2222-3333-4444-555555555555"

Verify = Callable[[], object]
Costs = dict[str, dict[int, tuple[float, float]]]
"""By scheme and size of body: microseconds of the rule, and of its bare cryptography."""


class Case(NamedTuple):
    """A sender whose preset stands for a scheme."""

    name: str
    provider: str
    secret: dict[str, Any]
    key: MadeKey | None
    bare: Callable[[Request, bytes], Verify]
    """The cryptography alone, for a request and the public or secret key."""
    form: bool = False


def macs(algorithm: str, signed: Callable[[Request], bytes] = lambda request: request.body) -> Callable[[Request, bytes], Verify]:
    """An HMAC over what is signed, and a comparison."""

    def bare(request: Request, key: bytes) -> Verify:
        message = signed(request)
        expected = hmac.digest(key, message, algorithm)
        return lambda: hmac.compare_digest(hmac.digest(key, message, algorithm), expected)

    return bare


def _plain(request: Request, key: bytes) -> Verify:
    return lambda: hmac.compare_digest(key, key)


def _stamped(request: Request) -> bytes:
    return b"1767225600." + request.body


def _hash(request: Request, key: bytes) -> Verify:
    message = b"1234" + request.body + b"1767225600" + key
    expected = hashlib.sha256(message).digest()
    body = request.body

    def verify() -> bool:
        orjson.loads(body)
        return hmac.compare_digest(hashlib.sha256(message).digest(), expected)

    return verify


def _of(key: MadeKey) -> Callable[[Request, bytes], Verify]:
    def bare(request: Request, _: bytes) -> Verify:
        private, message = key.key, _stamped(request)
        if isinstance(private, ed25519.Ed25519PrivateKey):
            plain, signed = private.public_key(), private.sign(message)
            return lambda: plain.verify(signed, message)
        if isinstance(private, rsa.RSAPrivateKey):
            public, made = private.public_key(), private.sign(message, padding.PKCS1v15(), hashes.SHA256())
            pad, hashed = padding.PKCS1v15(), hashes.SHA256()
            return lambda: public.verify(made, message, pad, hashed)
        curve, form = private.public_key(), ec.ECDSA(hashes.SHA256())
        der = private.sign(message, form)
        return lambda: curve.verify(der, message, form)

    return bare


def _twilio(request: Request, key: bytes) -> Verify:
    """With the two spellings of an address, with its port and without; to split and sort the fields is counted as the rule's."""
    message = URL.encode() + request.body
    return lambda: hmac.compare_digest(hmac.digest(key, message, "sha1"), hmac.digest(key, message, "sha1"))


def _twilio_body(request: Request, key: bytes) -> Verify:
    message, body = URL.encode() + b"?bodySHA256=" + b"0" * 64, request.body

    def verify() -> bytes:
        hashlib.sha256(body).hexdigest()
        hmac.digest(key, message, "sha1")
        return hmac.digest(key, message, "sha1")

    return verify


def _items(request: Request, key: bytes) -> Verify:
    body, message = request.body, b"881:880:Shop:order:1999:EUR:AUTHORISATION:true"

    def verify() -> bytes:
        orjson.loads(body)
        return hmac.digest(bytes.fromhex(SECRET), message, "sha256")

    return verify


def _token(key: MadeKey) -> Callable[[Request, bytes], Verify]:
    def bare(request: Request, _: bytes) -> Verify:
        token = request.head.named[b"authorization"].removeprefix(b"Bearer ")
        private, body = key.key, request.body
        assert isinstance(private, rsa.RSAPrivateKey)
        public, reader = private.public_key(), PyJWS()

        def verify() -> None:
            orjson.loads(body)
            reader.decode_complete(token, public, ["RS256"])

        return verify

    return bare


def _message(key: MadeKey) -> Callable[[Request, bytes], Verify]:
    def bare(request: Request, _: bytes) -> Verify:
        private = key.key
        assert isinstance(private, ed25519.Ed25519PrivateKey)
        base, body = b"x" * 300, request.body
        public, signed = private.public_key(), private.sign(base)

        def verify() -> None:
            hashlib.sha256(body).digest()
            public.verify(signed, base)

        return verify

    return bare


def cases() -> Iterator[Case]:
    """One sender for each scheme."""
    plain = {"id": "s", "value": SECRET}
    yield Case("token", "telegram", {"id": "s", "value": SECRET}, None, _plain)
    yield Case("hmac, hex", "github", plain, None, macs("sha256"))
    yield Case("hmac, base64", "shopify", plain, None, macs("sha256"))
    yield Case("hmac, list", "stripe", plain, None, macs("sha256", _stamped))
    whsec = "whsec_" + base64.b64encode(SECRET.encode()).decode()
    yield Case("hmac, list, base64", "standard-webhooks", {"id": "s", "value": whsec}, None, macs("sha256", _stamped))
    several = {"id": "s", "values": {"app_id": {"value": "1234"}, "oa_secret": {"value": SECRET}}}
    yield Case("hash", "zalo-oa", several, None, _hash)
    for kind, provider, form in (
        ("ed25519", "discord-interactions", "hex"),
        ("rsa", "kick", "pem"),
        ("ecdsa", "sendgrid", "spki"),
    ):
        key = made_key(kind)
        yield Case(kind, provider, {"id": "s", "value": key.public(form)}, key, _of(key))
    yield Case("twilio, form", "twilio", plain, None, _twilio, form=True)
    yield Case("twilio, hash", "twilio", plain, None, _twilio_body)
    yield Case("adyen", "adyen", plain, None, _items)
    key = made_key("rsa")
    values = {"app_id": {"value": APP}, "jwks": {"value": _jwks(key)}}
    yield Case("jwt", "botframework", {"id": "s", "values": values}, key, _token(key))
    key = made_key("ed25519")
    yield Case("rfc9421", "rfc9421", {"id": "s", "value": key.public("pem")}, key, _message(key))


def _jwks(key: MadeKey) -> str:
    private = key.key
    assert isinstance(private, rsa.RSAPrivateKey)
    numbers = private.public_key().public_numbers()
    written = {
        name: base64.urlsafe_b64encode(number.to_bytes((number.bit_length() + 7) // 8)).rstrip(b"=").decode()
        for name, number in (("n", numbers.n), ("e", numbers.e))
    }
    return json.dumps(
        {"keys": [{"kty": "RSA", "kid": "k", "use": "sig", "alg": "RS256", "endorsements": ["msteams"], **written}]}
    )


def body_of(size: int, *, form: bool = False) -> bytes:
    """So many bytes, of a shape that each sender might send."""
    if form:
        head = b"AccountSid=AC1&From=%2B14158675309&To=%2B18005551212&Body="
        return head + b"a" * (size - len(head))
    item: dict[str, Any] = {
        "pspReference": "881",
        "originalReference": "880",
        "merchantAccountCode": "Shop",
        "merchantReference": "order",
        "amount": {"value": 1999, "currency": "EUR"},
        "eventCode": "AUTHORISATION",
        "success": "true",
    }
    tree: dict[str, Any] = {
        "update_id": 1,
        "timestamp": "1767225600",
        "serviceUrl": "https://smba.example.com/",
        "channelId": "msteams",
        "notificationItems": [{"NotificationRequestItem": item}],
        "text": "",
    }
    entry = {"id": 1234567890, "name": "A. N. Other", "tags": ["one", "two"], "note": "some words that stand for others"}
    bare = len(json.dumps(tree))
    tree["entries"] = [entry] * max(0, (size - bare - 200) // (len(json.dumps(entry)) + 2))
    tree["text"] = "x" * max(0, size - len(json.dumps(tree)))
    return json.dumps(tree).encode()


def check_of(case: Case, size: int, folder: Path) -> tuple[Callable[[Head, bytes], Verdict], Request, bytes]:
    """The rule of a sender's preset, a genuine request of this size, and the secret."""
    route: dict[str, Any] = {
        "name": "bot",
        "path": "/hook",
        "provider": case.provider,
        "public_url": URL,
        "secrets": [case.secret],
    }
    if case.provider == "rfc9421":
        route["rules"] = {"signature": {"components": ["@method", "@authority", "@path", "content-digest"]}}
    policy = {
        "version": 1,
        "allow_inline_secrets": True,
        "listen": {"address": "127.0.0.1:0"},
        "upstream": {"url": "http://127.0.0.1:1"},
        "routes": [route],
    }
    (folder / "policy.json").write_text(json.dumps(policy))
    loaded = read_policy(folder / "policy.json", {}, now=NOW)
    (found,) = loaded.policy.routes
    secrets = loaded.secrets["bot"]
    given = [(b"Content-Type", b"application/x-www-form-urlencoded")] if case.form else []
    private = case.key.private if case.key else None
    if case.key and isinstance(case.key.key, rsa.RSAPrivateKey):
        private = case.key.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    made = genuine(found, secrets, body_of(size, form=case.form), host=b"bot.example.com", at=NOW, given=given, key=private)
    asked = Request(made_head(made.fields, target=made.target, arrived=NOW), made.body)
    settings = found.rules.signature
    assert settings is not None
    at_the_door = head_rule(settings, secrets)
    if at_the_door is not None:
        return (lambda head, _: at_the_door.check(head)), asked, SECRET.encode()
    rule = signature_rule(found, settings, secrets)
    return (lambda head, body: rule.check(Request(head, body))), asked, SECRET.encode()


def best(rule: Verify, bare: Verify, rounds: int) -> tuple[float, float]:
    """Microseconds of our CPU for a call of each: the quickest of several rounds in turn, since the machine is rarely alone."""
    for call in (rule, bare):
        call()
    started = time.perf_counter()
    rule()
    calls = max(1, min(1000, int(0.002 / max(time.perf_counter() - started, 1e-7))))
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for call, times in zip((rule, bare), spent, strict=True):
            before = time.process_time()
            for _ in range(calls):
                call()
            times.append((time.process_time() - before) / calls)
    return min(spent[0]) * 1e6, min(spent[1]) * 1e6


def _around(bare: Verify, head: Head, body: bytes) -> None:
    """The request is there in any case."""
    Request(head, body)
    bare()


def measure(folder: Path, rounds: int, tell: Callable[[str], None]) -> Costs:
    """Every scheme at every size."""
    costs: Costs = {}
    for case in cases():
        tell(f"scheme {case.name}")
        for size in SIZES:
            check, asked, key = check_of(case, size, folder)
            head, body = asked.head, asked.body
            if not isinstance(check(head, body), Pass):
                raise BenchError(f"{case.name}: a genuine request was refused")
            bare = case.bare(asked, key)
            costs.setdefault(case.name, {})[size] = best(partial(check, head, body), partial(_around, bare, head, body), rounds)
    return costs


def table(costs: Costs) -> Iterator[str]:
    """The figures, a line for each scheme."""
    sizes = "".join(f"{f'{size // 1024} kB':>10} {'bare':>7} {'added':>7}" for size in SIZES)
    yield f"{'verification, us of CPU':<24}{sizes}"
    for name, by_size in costs.items():
        figures = "".join(f"{rule:>10.2f} {bare:>7.2f} {rule - bare:>7.2f}" for rule, bare in by_size.values())
        yield f"  {name:<22}{figures}"


def _tell(progress: str) -> None:
    sys.stderr.write(progress + "\n")


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    with tempfile.TemporaryDirectory() as folder:
        costs = measure(Path(folder), rounds, _tell)
    sys.stdout.write("\n".join(table(costs)) + "\n")


if __name__ == "__main__":
    main()
