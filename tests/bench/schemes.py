"""What verifying a signature costs: microseconds of CPU for each scheme at three sizes of body, beside the same check by hand.

Alone: ``python -m tests.bench.schemes``. The rule is that of a sender's preset, the requests are made as ``sign`` makes them,
each with its own time and text, so that nothing is quick because it was just the same. ``bare`` is what ``by_hand`` says: the
cryptography and what belongs to the scheme, with no policy. Both get the same requests by turns. What is ``added`` is the policy:
several secrets with their times, forms and places that were chosen, everything that is refused.
"""

import base64
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from proxy.messages import Head, Request
from proxy.pipeline.schemes import head_rule, signature_rule
from proxy.policy.reader import read_policy
from proxy.rules.signing import genuine
from proxy.verdict import Pass, Verdict
from tests.bench import by_hand
from tests.bench.by_hand import ByHand
from tests.bench.errors import BenchError
from tests.pipeline.judging import head as made_head
from tests.policies import policy_text
from tests.rules.made_keys import MadeKey, made_key

SIZES = (1024, 4096, 65536)
HOST, PATH = b"bot.example.com", b"/hook"
URL = f"https://{HOST.decode()}{PATH.decode()}"
URLS = (URL.encode(), b"https://" + HOST + b":443" + PATH)
SECRET = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"  # noqa: S105 - of the bench alone
NOW = 1_767_225_600.0
APP = "11111111-2222-3333-4444-555555555555"
REQUESTS = 8
_TURN = 0.0002  # seconds
_ROUND = 0.005  # seconds for each of the two

Rule = Callable[[Head, bytes], Verdict]
Check = Callable[[Head, bytes], object]
Costs = dict[str, dict[int, tuple[float, float]]]
"""By scheme and size of body: microseconds of the rule, and of the check by hand."""


Body = Callable[[int, int], bytes]
"""So many bytes, of a shape that a sender might send; each number has its own."""


class Case(NamedTuple):
    """A sender whose preset stands for a scheme."""

    name: str
    provider: str
    secret: dict[str, Any]
    key: MadeKey | None
    bare: ByHand
    body: Body


def json_body(size: int, number: int) -> bytes:
    """A tree of small values, with what some senders sign of it."""
    tree: dict[str, Any] = {
        "update_id": number,
        "timestamp": "1767225600",
        "serviceUrl": "https://smba.example.com/",
        "channelId": "msteams",
        "text": "",
    }
    entry = {"id": 1234567890, "name": "A. N. Other", "tags": ["one", "two"], "note": "some words that stand for others"}
    tree["entries"] = [entry] * max(0, (size - len(orjson.dumps(tree)) - 200) // (len(orjson.dumps(entry)) + 1))
    tree["text"] = "x" * max(0, size - len(orjson.dumps(tree)))
    return orjson.dumps(tree)


def form_body(size: int, number: int) -> bytes:
    """A message with its words."""
    head = b"AccountSid=AC1&From=%%2B1415867%04d&To=%%2B18005551212&NumMedia=0&SmsStatus=received&Body=" % number
    words, rest = divmod(size - len(head), 11)
    return head + b"some+words+" * words + b"a" * rest


def payment_body(size: int, number: int) -> bytes:
    """A payment, and what the shop wants to know beside it."""
    item: dict[str, Any] = {
        "additionalData": {"hmacSignature": "x" * 44},
        "amount": {"currency": "EUR", "value": 1999},
        "eventCode": "AUTHORISATION",
        "merchantAccountCode": "Shop",
        "merchantReference": "order",
        "originalReference": "",
        "pspReference": f"881{number:013}",
        "success": "true",
    }
    tree = {"live": "true", "notificationItems": [{"NotificationRequestItem": item}]}
    for place in range((size - len(orjson.dumps(tree))) // 64):
        item["additionalData"][f"metadata.field{place:05}"] = "what a shop keeps with a payment, say"
    item["reason"] = "x" * (size - len(orjson.dumps(tree)) - len(',"reason":""'))
    return orjson.dumps(tree)


def cases() -> Iterator[Case]:
    """One sender for each scheme."""
    shared = SECRET.encode()
    plain = {"id": "s", "value": SECRET}
    yield Case("token", "telegram", plain, None, by_hand.telegram(shared), json_body)
    yield Case("hmac, hex", "github", plain, None, by_hand.github(shared), json_body)
    yield Case("hmac, base64", "shopify", plain, None, by_hand.shopify(shared), json_body)
    yield Case("hmac, list", "stripe", plain, None, by_hand.stripe(shared), json_body)
    whsec = {"id": "s", "value": "whsec_" + base64.b64encode(shared).decode()}
    yield Case("hmac, list, base64", "standard-webhooks", whsec, None, by_hand.standard_webhooks(shared), json_body)
    several = {"id": "s", "values": {"app_id": {"value": "1234"}, "oa_secret": {"value": SECRET}}}
    yield Case("hash", "zalo-oa", several, None, by_hand.zalo(b"1234", shared), json_body)
    yield from _public_keys()
    yield Case("twilio, form", "twilio", plain, None, by_hand.twilio_form(shared, URLS), form_body)
    yield Case("twilio, hash", "twilio", plain, None, by_hand.twilio_hash(shared, URLS), json_body)
    yield Case("adyen", "adyen", plain, None, by_hand.adyen(bytes.fromhex(SECRET)), payment_body)


def _public_keys() -> Iterator[Case]:
    edwards, rivest, elliptic = made_key("ed25519"), made_key("rsa"), made_key("ecdsa")
    signer, other, curve = edwards.key, rivest.key, elliptic.key
    assert isinstance(signer, ed25519.Ed25519PrivateKey)
    assert isinstance(other, rsa.RSAPrivateKey)
    assert isinstance(curve, ec.EllipticCurvePrivateKey)
    public = signer.public_key()
    yield Case(
        "ed25519",
        "discord-interactions",
        {"id": "s", "value": edwards.public("hex")},
        edwards,
        by_hand.discord(public),
        json_body,
    )
    yield Case("rsa", "kick", {"id": "s", "value": rivest.public("pem")}, rivest, by_hand.kick(other.public_key()), json_body)
    spki = {"id": "s", "value": elliptic.public("spki")}
    yield Case("ecdsa", "sendgrid", spki, elliptic, by_hand.sendgrid(curve.public_key()), json_body)
    values = {"app_id": {"value": APP}, "jwks": {"value": _jwks(other)}}
    framework = by_hand.bot_framework({"k": (other.public_key(), frozenset({"msteams"}))}, APP)
    yield Case("jwt", "botframework", {"id": "s", "values": values}, rivest, framework, json_body)
    pem = {"id": "s", "value": edwards.public("pem")}
    yield Case("rfc9421", "rfc9421", pem, edwards, by_hand.message_signatures(public, HOST, PATH), json_body)


def _jwks(private: rsa.RSAPrivateKey) -> str:
    numbers = private.public_key().public_numbers()
    written = {
        name: base64.urlsafe_b64encode(number.to_bytes((number.bit_length() + 7) // 8)).rstrip(b"=").decode()
        for name, number in (("n", numbers.n), ("e", numbers.e))
    }
    return json.dumps(
        {"keys": [{"kty": "RSA", "kid": "k", "use": "sig", "alg": "RS256", "endorsements": ["msteams"], **written}]}
    )


def rule_of(case: Case, size: int, folder: Path) -> tuple[Rule, list[Request]]:
    """The rule of a sender's preset, and genuine requests of this size."""
    route: dict[str, Any] = {
        "name": "bot",
        "path": PATH.decode(),
        "provider": case.provider,
        "public_url": URL,
        "secrets": [case.secret],
    }
    if case.provider == "rfc9421":
        route["rules"] = {"signature": {"components": ["@method", "@authority", "@path", "content-digest"]}}
    (folder / "policy.json").write_text(policy_text([route]))
    loaded = read_policy(folder / "policy.json", {}, now=NOW)
    (found,) = loaded.policy.routes
    secrets = loaded.secrets["bot"]
    given = [(b"Content-Type", b"application/x-www-form-urlencoded")] if case.body is form_body else []
    private = case.key.key if case.key else None

    def asked(number: int) -> Request:
        body, at = case.body(size, number), NOW + number
        made = genuine(found, secrets, body, host=HOST, at=at, given=given, key=private)
        return Request(made_head(made.fields, target=made.target, arrived=at), made.body)

    requests = [asked(number) for number in range(REQUESTS)]
    settings = found.rules.signature
    assert settings is not None
    at_the_door = head_rule(settings, secrets)
    if at_the_door is not None:
        return (lambda head, _: at_the_door.check(head)), requests
    rule = signature_rule(found, settings, secrets)
    return (lambda head, body: rule.check(Request(head, body))), requests


def best(rule: Check, bare: Check, requests: list[Request], rounds: int) -> tuple[float, float]:
    """Microseconds of our CPU for a request of each: the quickest of many short turns, since the machine is rarely alone.

    A turn is as many passes over the requests as it has time for; where one pass has none, each request is a turn of its own.
    """
    given = [(request.head, request.body) for request in requests]
    for check in (rule, bare):
        _turn(check, given, 1)
    once = max(_turn(bare, given, 1), 1e-6)
    groups = [given] if once < _TURN else [[one] for one in given]
    passes = max(1, int(_TURN / once))
    least = [(rule, [inf] * len(groups)), (bare, [inf] * len(groups))]
    for _ in range(max(rounds, int(rounds * _ROUND / (passes * once)))):
        # Who comes second finds the request in the processor's caches.
        least.reverse()
        for place, group in enumerate(groups):
            for check, times in least:
                times[place] = min(times[place], _turn(check, group, passes))
    mine, its = (next(sum(times) for check, times in least if check is one) / len(given) * 1e6 for one in (rule, bare))
    return mine, its


def _turn(check: Check, given: list[tuple[Head, bytes]], passes: int) -> float:
    """Seconds of our CPU for a pass."""
    before = time.process_time()
    for _ in range(passes):
        for head, body in given:
            check(head, body)
    return (time.process_time() - before) / passes


def _with_request(bare: ByHand) -> Check:
    """The object ``Request`` is there in any case, so it is made for both."""

    def check(head: Head, body: bytes) -> None:
        Request(head, body)
        bare(head, body)

    return check


def _must_agree(case: Case, rule: Rule, requests: list[Request]) -> None:
    """Both accept what is genuine, and say the same of a head before another request's body."""
    for one, other in zip(requests, [*requests[1:], requests[0]], strict=True):
        if not isinstance(rule(one.head, one.body), Pass) or not case.bare(one.head, one.body):
            raise BenchError(f"{case.name}: a genuine request was refused")
        if isinstance(rule(one.head, other.body), Pass) is not case.bare(one.head, other.body):
            raise BenchError(f"{case.name}: the rule and the check by hand differ")


def measure(folder: Path, rounds: int, tell: Callable[[str], None]) -> Costs:
    """Every scheme at every size."""
    costs: Costs = {}
    for case in cases():
        tell(f"scheme {case.name}")
        for size in SIZES:
            rule, requests = rule_of(case, size, folder)
            _must_agree(case, rule, requests)
            costs.setdefault(case.name, {})[size] = best(rule, _with_request(case.bare), requests, rounds)
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
