"""Signatures over templates: plain hashes with several values, secrets among the signed bytes, headers under two names."""

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from proxy.messages import Field
from proxy.rules.schemes import decoded, encoded
from proxy.verdict import Reason
from tests.pipeline.judging import SECRET, compiled, request, secrets
from tests.rules.made_keys import made_key

OK, MISSING, MALFORMED, MISMATCH = (
    Reason.NONE,
    Reason.SIGNATURE_MISSING,
    Reason.SIGNATURE_MALFORMED,
    Reason.SIGNATURE_MISMATCH,
)
SIGNED: dict[str, Any] = {"header": "X-Signature"}


def signature(value: bytes | str) -> list[Field]:
    """The header."""
    return [(b"X-Signature", value.encode() if isinstance(value, str) else value)]


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha384", "sha512"])
async def test_hash(algorithm: str, tmp_path: Path) -> None:
    """A plain hash over secret and body passes with either secret, and with no other."""
    rules = {"signature": {**SIGNED, "scheme": "hash", "algorithm": algorithm, "template": "{secret}{body}"}}
    gate = await compiled(tmp_path, {"secrets": secrets(SECRET, SECRET[::-1]), "rules": rules})
    for secret, reason in ((SECRET, OK), (SECRET[::-1], OK), (SECRET[1:], MISMATCH)):
        digest = hashlib.new(algorithm, secret.encode() + b"body").hexdigest()
        judged = await gate.judge(request(b"body", signature(digest)))
        assert judged.reason is reason
    assert (await gate.judge(request(b"body"))).reason is MISSING
    assert (await gate.judge(request(b"body", signature("00")))).reason is MALFORMED


async def test_hash_of_several_values(tmp_path: Path) -> None:
    """Each named value stands where the template has it; those of two secrets are not mixed."""
    template = "{secret:app_id}{body}{json:/timestamp}{secret:key}"
    rules = {"signature": {**SIGNED, "scheme": "hash", "template": template, "values": ["app_id", "key"], "open": ["app_id"]}}
    pair = [
        {"id": str(number), "values": {"app_id": {"value": app}, "key": {"value": key}}}
        for number, (app, key) in enumerate([("1", SECRET), ("2", SECRET[::-1])])
    ]
    gate = await compiled(tmp_path, {"secrets": pair, "rules": rules})
    body = b'{"timestamp":17}'

    async def judged(app: str, key: str, sent: bytes = body) -> tuple[Reason, str | None]:
        digest = hashlib.sha256(app.encode() + sent + b"17" + key.encode()).hexdigest()
        found = await gate.judge(request(sent, signature(digest)))
        return found.reason, found.judgement.secret

    assert await judged("1", SECRET) == (OK, "0")
    assert await judged("2", SECRET[::-1]) == (OK, "1")
    assert (await judged("1", SECRET[::-1]))[0] is MISMATCH
    assert (await judged("1", SECRET, b"{}"))[0] is MALFORMED, "a part of the template is absent"


async def test_a_secret_in_an_hmac(tmp_path: Path) -> None:
    """With {secret} among the signed bytes each secret is the key of its own message."""
    rules = {"signature": {**SIGNED, "scheme": "hmac", "template": "{header:X-Time}\n{secret}", "encoding": "base64"}}
    gate = await compiled(tmp_path, {"secrets": secrets(SECRET, SECRET[::-1]), "rules": rules})
    for key, inner, reason in ((SECRET, SECRET, OK), (SECRET[::-1], SECRET[::-1], OK), (SECRET, SECRET[::-1], MISMATCH)):
        digest = base64.b64encode(hmac.digest(key.encode(), b"7\n" + inner.encode(), "sha256"))
        judged = await gate.judge(request(b"any body", [*signature(digest), (b"X-Time", b"7")]))
        assert judged.reason is reason


@pytest.mark.parametrize("template", ["{header:X-Time}.{body}", "{header:X-Time}.{json:/a}"], ids=["headers and body", "more"])
async def test_a_signed_header_stands_once(template: str, tmp_path: Path) -> None:
    """What is signed of a header is its one value: absent, empty or doubled, even with one and the same, it is malformed."""
    rules = {"signature": {**SIGNED, "scheme": "hmac", "template": template}}
    gate = await compiled(tmp_path, {"secrets": secrets(SECRET), "rules": rules})
    body, time = b'{"a":"b"}', (b"X-Time", b"17")
    for fields, reason in (([time], OK), ([time, time], MALFORMED), ([], MALFORMED), ([(b"X-Time", b"")], MALFORMED)):
        signed = b".".join((fields[0][1] if fields else b"", body if "body" in template else b"b"))
        proof = signature(hmac.new(SECRET.encode(), signed, "sha256").hexdigest())
        assert (await gate.judge(request(body, [*fields, *proof]))).reason is reason


async def test_percent_signs(tmp_path: Path) -> None:
    """Per cent signs of a template and of a secret are themselves, wherever they stand."""
    secret = "100%b-of-%s-sixteen-%%-bytes"  # noqa: S105 - of tests alone
    rules = {"signature": {**SIGNED, "scheme": "hash", "template": "%b{secret}%{body}%%"}}
    gate = await compiled(tmp_path, {"secrets": secrets(secret), "rules": rules})
    digest = hashlib.sha256(b"%b" + secret.encode() + b"%" + b"%d body" + b"%%").hexdigest()
    assert (await gate.judge(request(b"%d body", signature(digest)))).reason is OK


LISTED: dict[str, Any] = {
    "scheme": "hmac",
    "header": "webhook-signature|svix-signature",
    "id": "header:webhook-id|svix-id",
    "template": "{id}.{body}",
    "list": {"separator": " ", "pair": ",", "key": "v1"},
    "encoding": "base64",
}


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("webhook-id", "webhook-signature"), OK),
        (("svix-id", "svix-signature"), OK),
        (("webhook-id", "svix-signature"), OK),
        (("webhook-id", "svix-id", "webhook-signature"), MALFORMED),
        (("webhook-id", "webhook-signature", "svix-signature"), MISSING),
        (("webhook-id", "webhook-id", "webhook-signature"), MALFORMED),
        (("webhook-id",), MISSING),
    ],
)
async def test_either_name(names: tuple[str, ...], reason: Reason, tmp_path: Path) -> None:
    """Signature and id may stand under either of two names, and under one of them only."""
    gate = await compiled(tmp_path, {"secrets": secrets(SECRET), "rules": {"signature": LISTED}})
    digest = b"v1," + base64.b64encode(hmac.digest(SECRET.encode(), b"7.{}", "sha256"))
    fields = [(name.encode(), digest if name.endswith("signature") else b"7") for name in names]
    assert (await gate.judge(request(b"{}", fields))).reason is reason


@pytest.mark.parametrize("source", ["json:/signature", "form:signature", "query:signature"])
async def test_signature_elsewhere(source: str, tmp_path: Path) -> None:
    """A signature may stand in the body or the query, over fields beside it."""
    rules = {"signature": {"scheme": "hmac", "source": source, "template": "{header:X-Time}"}}
    gate = await compiled(tmp_path, {"query": "pass", "secrets": secrets(SECRET), "rules": rules})
    for time, reason in ((b"7", OK), (b"8", MISMATCH)):
        digest = hmac.digest(SECRET.encode(), b"7", "sha256").hex()
        body = {"json": json.dumps({"signature": digest}), "form": f"signature={digest}", "query": "{}"}[source.partition(":")[0]]
        target = f"/hook?signature={digest}" if source.startswith("query") else "/hook"
        judged = await gate.judge(request(body.encode(), [(b"X-Time", time)], target=target.encode()))
        assert judged.reason is reason
    assert (await gate.judge(request(b"{}", [(b"X-Time", b"7")]))).reason is MISSING


@pytest.mark.parametrize("encoding", ["hex", "hex-any-case", "base64", "base64url"])
@pytest.mark.parametrize("length", [20, 32, 64, 70, 71])
def test_one_written_form(encoding: str, length: int) -> None:
    """What is written is read back, and no other text is read as the same bytes, but for case and padding where they are free."""
    for fill in (b"\0", b"\xff", b"\x5a"):
        raw = fill * length
        text = encoded(raw, encoding)
        assert decoded(text, encoding) == raw
        for index in range(len(text)):
            for flip in (1, 2, 4, 8, 0x20):
                other = text[:index] + bytes([text[index] ^ flip]) + text[index + 1 :]
                found = decoded(other, encoding)
                assert found != raw or (encoding == "hex-any-case" and other.lower() == text), other
        assert decoded(text + b"\n", encoding) is None
        assert decoded(b" " + text, encoding) is None
    assert decoded(b"", encoding) is None


def test_free_padding() -> None:
    """base64url may be padded or bare, and its last character still has no bits to spare."""
    assert decoded(b"-_8", "base64url") == decoded(b"-_8=", "base64url") == b"\xfb\xff"
    assert decoded(b"-_9", "base64url") is None
    assert decoded(b"+/8=", "base64") == b"\xfb\xff"
    assert decoded(b"+/8", "base64") is None
    assert decoded(b"+/9=", "base64") is None


async def test_an_id_ends_where_the_template_says(tmp_path: Path) -> None:
    """Who repeats a request cannot move the id's end to a later separator, and with it make a delivery that nobody has seen."""
    made = made_key("rsa")
    gate = await compiled(tmp_path, {"provider": "kick", "secrets": [{"id": "s", "value": made.public("pem")}]})
    signed = b"01JHJ2Q.2025-12-31T23:59:59.123Z.{}"
    key = cast(rsa.RSAPrivateKey, made.key)
    mark = base64.b64encode(key.sign(signed, padding.PKCS1v15(), hashes.SHA256()))

    async def judged(id: bytes, stamp: bytes) -> Reason:
        named = [(b"Message-Id", id), (b"Message-Timestamp", stamp), (b"Signature", mark)]
        return (await gate.judge(request(b"{}", [(b"Kick-Event-" + name, value) for name, value in named]))).reason

    assert await judged(b"01JHJ2Q.2025-12-31T23:59:59", b"123Z") is MALFORMED
    assert await judged(b"01JHJ2Q", b"2025-12-31T23:59:59.123Z") is OK


async def test_mailgun_counts_what_is_signed(tmp_path: Path) -> None:
    """Who repeats a request cannot move a digit from the token to the time, and bring another event under the same proof."""
    gate = await compiled(tmp_path, {"provider": "mailgun", "secrets": secrets(SECRET)})
    text = "1767225600" + "3a" * 25
    mark = hmac.digest(SECRET.encode(), text.encode(), "sha256").hex()

    async def judged(length: int) -> Reason:
        proof = {"timestamp": text[:length], "token": text[length:], "signature": mark}
        judged = await gate.judge(request(json.dumps({"signature": proof, "event-data": {"event": str(length)}}).encode()))
        if judged.reason is OK:
            await gate.gate.settle(judged.permit.reserved, delivered=True)
        return judged.reason

    assert await judged(10) is OK
    for length in (1, 9, 11, 16):
        assert await judged(length) is Reason.REPLAY_CONFLICT
