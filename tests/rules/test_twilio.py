"""Twilio's signature: spellings of the address, fields of forms, bodies bound by their hash."""

import base64
import hashlib
import hmac
from pathlib import Path
from urllib.parse import urlencode

import pytest

from proxy.messages import Field, Request
from proxy.verdict import Reason
from tests.pipeline.judging import SECRET, Compiled, compiled, request, secrets

OK, MISSING, MALFORMED, MISMATCH = (
    Reason.NONE,
    Reason.SIGNATURE_MISSING,
    Reason.SIGNATURE_MALFORMED,
    Reason.SIGNATURE_MISMATCH,
)
FORM = (b"Content-Type", b"application/x-www-form-urlencoded; charset=UTF-8")
JSON = (b"Content-Type", b"application/json")
URL = "https://example.com/twilio"


def signature(url: str, fields: bytes = b"", secret: str = SECRET) -> Field:
    """As Twilio makes it: over the address, then names and values."""
    return b"X-Twilio-Signature", base64.b64encode(hmac.digest(secret.encode(), url.encode() + fields, "sha1"))


async def twilio(folder: Path, url: str = URL, **route: object) -> Compiled:
    """A gate for an address, as it is registered."""
    return await compiled(folder, {"provider": "twilio", "public_url": url, "secrets": secrets(SECRET, SECRET[::-1]), **route})


@pytest.mark.parametrize(
    ("registered", "asked", "signed"),
    [
        (URL, "", "https://example.com/twilio"),
        (URL, "", "https://example.com:443/twilio"),
        ("https://example.com:443/twilio", "", "https://example.com/twilio"),
        ("https://example.com:8443/twilio", "", "https://example.com:8443/twilio"),
        ("https://example.com:8443/twilio", "", "https://example.com/twilio"),
        ("http://example.com/twilio", "", "http://example.com:80/twilio"),
        ("https://user:pw@example.com/twilio", "", "https://user:pw@example.com/twilio"),
        ("https://user:pw@example.com/twilio", "", "https://user:pw@example.com:443/twilio"),
        ("https://[2001:db8::1]/twilio", "", "https://[2001:db8::1]:443/twilio"),
        ("https://[2001:db8::1]:8443/twilio", "", "https://[2001:db8::1]/twilio"),
        (URL, "?a=1&b=%2F", f"{URL}?a=1&b=%2F"),
        (URL, "?a=it's", f"{URL}?a=it's"),
        (URL, "?a=it's", f"{URL}?a=it%27s"),
        (URL, "?a=b%20c", f"{URL}?a=b+c"),
        (URL, "?a=%c3%a9%20c", f"{URL}?a=%C3%A9+c"),
        (f"{URL}?old=1", "?old=1&new=2", f"{URL}?old=1&new=2"),
    ],
)
async def test_spellings(registered: str, asked: str, signed: str, tmp_path: Path) -> None:
    """The address counts as it was registered, with and without its port, with the query of the request in the forms known."""
    gate = await twilio(tmp_path, registered)
    made = request(b"A=1", [FORM, signature(signed, b"A1")], target=b"/hook" + asked.encode())
    assert (await gate.judge(made)).reason is OK


@pytest.mark.parametrize(
    "signed",
    [
        "http://example.com/twilio",
        "https://example.com/twilio/",
        "https://example.com/Twilio",
        "https://example.com:80/twilio",
        "https://example.org/twilio",
        "https://bot.example.com/hook",
        "https://example.com/hook",
        "https://example.com/twilio?",
        "",
    ],
)
async def test_other_addresses(signed: str, tmp_path: Path) -> None:
    """Another scheme, host, port or path is another address, whatever Host says."""
    gate = await twilio(tmp_path)
    made = request(b"A=1", [FORM, (b"Host", b"bot.example.com"), signature(signed, b"A1")])
    assert (await gate.judge(made)).reason is MISMATCH


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"B=2&A=1", b"A1B2"),
        (b"A=2&A=1", b"A1A2"),
        (b"A=1&A=1", b"A1"),
        (b"a=1&A=2&B=3", b"A2B3a1"),
        (b"A=&B=1", b"AB1"),
        (b"A&B=1", b"AB1"),
        (b"&&A=1&", b"A1"),
        (b"A=1+%2B%3D%26", b"A1 +=&"),
        ("Body=" + "%F0%9F%91%8B", "Body👋".encode()),
        (b"A=%FF%00", b"A\xff\x00"),
        (b"A=%zz", b"A%zz"),
        (b"A=1=2", b"A1=2"),
        (b"", b""),
    ],
)
async def test_fields(body: bytes | str, fields: bytes, tmp_path: Path) -> None:
    """Fields are decoded, sorted by name and value, each distinct pair once, nothing between them."""
    gate = await twilio(tmp_path)
    raw = body.encode() if isinstance(body, str) else body
    assert (await gate.judge(request(raw, [FORM, signature(URL, fields)]))).reason is OK
    assert (await gate.judge(request(raw + b"&Z=1", [FORM, signature(URL, fields)]))).reason is MISMATCH


async def test_too_many_fields(tmp_path: Path) -> None:
    """A thousand fields are judged, one more is not looked at: nothing is proved yet."""
    gate = await twilio(tmp_path)
    for count, reason in ((1000, OK), (1001, MALFORMED)):
        pairs = [(f"f{number:04}", "x") for number in range(count)]
        fields = "".join(name + value for name, value in pairs).encode()
        made = request(urlencode(pairs).encode(), [FORM, signature(URL, fields)])
        assert (await gate.judge(made)).reason is reason


def bound(body: bytes, *, digest: str | None = None) -> tuple[bytes, Field]:
    """Target and signature of a body that is bound by its hash in the query."""
    query = f"bodySHA256={digest or hashlib.sha256(body).hexdigest()}"
    return f"/hook?{query}".encode(), signature(f"{URL}?{query}")


async def test_bodies(tmp_path: Path) -> None:
    """A body that is no form counts with its own hash in the signed query, in either case of letters, and with no other."""
    gate = await twilio(tmp_path)
    body = b'{"a":1}\r\n\0\xff'
    target, signed = bound(body)
    assert (await gate.judge(request(body, [JSON, signed], target=target))).reason is OK
    assert (await gate.judge(request(body + b" ", [JSON, signed], target=target))).reason is MISMATCH
    target, signed = bound(body, digest=hashlib.sha256(body).hexdigest().upper())
    assert (await gate.judge(request(body, [JSON, signed], target=target))).reason is OK
    target, signed = bound(body, digest=hashlib.sha256(b"other").hexdigest())
    assert (await gate.judge(request(body, [JSON, signed], target=target))).reason is MISMATCH


@pytest.mark.parametrize("query", ["", "bodySHA256=", "bodySHA256", "bodysha256={}", "bodySHA256={}&bodySHA256={}"])
async def test_unbound_bodies(query: str, tmp_path: Path) -> None:
    """Without exactly one hash in the query a signature over the address says nothing about a body: refused."""
    gate = await twilio(tmp_path)
    query = query.replace("{}", hashlib.sha256(b"{}").hexdigest())
    asked = f"?{query}" if query else ""
    for fields in ([JSON], [], [(b"Content-Type", b"multipart/form-data")]):
        made = request(b"{}", [*fields, signature(URL + asked)], target=b"/hook" + asked.encode())
        assert (await gate.judge(made)).reason is MISMATCH


async def test_a_form_is_not_bound_by_a_hash(tmp_path: Path) -> None:
    """What is called a form is signed as one: its fields cannot be left out because a hash stands in the query."""
    gate = await twilio(tmp_path)
    target, signed = bound(b"A=1")
    assert (await gate.judge(request(b"A=2", [FORM, signed], target=target))).reason is MISMATCH
    assert (await gate.judge(request(b"A=1", [JSON, signed], target=target))).reason is OK
    assert (await gate.judge(request(b"A=2", [JSON, signed], target=target))).reason is MISMATCH


async def test_no_body(tmp_path: Path) -> None:
    """A GET is signed by its address alone."""
    gate = await twilio(tmp_path)
    made = request(b"", [signature(f"{URL}?CallSid=1")], target=b"/hook?CallSid=1")
    assert (await gate.judge(Request(made.head._replace(method="GET"), b""))).reason is OK
    assert (await gate.judge(request(b"", [signature(f"{URL}?CallSid=1")], target=b"/hook?CallSid=2"))).reason is MISMATCH


async def test_signatures(tmp_path: Path) -> None:
    """Missing, doubled, of another form or length, of another secret: each gets its own reason; either active secret is right."""
    gate = await twilio(tmp_path)
    good = signature(URL, b"A1")
    assert (await gate.judge(request(b"A=1", [FORM]))).reason is MISSING
    assert (await gate.judge(request(b"A=1", [FORM, (good[0], b"")]))).reason is MISSING
    assert (await gate.judge(request(b"A=1", [FORM, good, good]))).reason is MALFORMED
    assert (await gate.judge(request(b"A=1", [FORM, (good[0], b"not base64")]))).reason is MALFORMED
    assert (await gate.judge(request(b"A=1", [FORM, (good[0], base64.b64encode(b"x" * 32))]))).reason is MISMATCH
    assert (await gate.judge(request(b"A=1", [FORM, signature(URL, b"A1", SECRET[1:])]))).reason is MISMATCH
    found = await gate.judge(request(b"A=1", [FORM, signature(URL, b"A1", SECRET[::-1])]))
    assert (found.reason, found.judgement.secret) == (OK, "s1")


@pytest.mark.parametrize("query", [b"a=%ff%fe", b"a=%20\xff", b"a=+\xff", b"%C3=%A9&%", b"a=%00&&=&%zz", b"a=%ed%a0%80"])
async def test_odd_queries(query: bytes, tmp_path: Path) -> None:
    """A query that is no UTF-8 breaks nothing: it is signed as it came, and unsigned it is refused like any other."""
    gate = await twilio(tmp_path)
    target = b"/hook?" + query
    signed = base64.b64encode(hmac.digest(SECRET.encode(), f"{URL}?".encode() + query + b"A1", "sha1"))
    assert (await gate.judge(request(b"A=1", [FORM, signature(URL, b"A1")], target=target))).reason is MISMATCH
    assert (await gate.judge(request(b"A=1", [FORM, (b"X-Twilio-Signature", signed)], target=target))).reason is OK


async def test_sha256(tmp_path: Path) -> None:
    """SHA-256 (a SharedKey) counts where the policy says so, and SHA-1 no more; a header that asks for it changes nothing."""
    asks = (b"X-Twilio-Webhooks-Signature-Settings", b"key=webhooks_sharedkey_1,algorithm=HMAC_SHA256")
    new = (b"X-Twilio-Signature", base64.b64encode(hmac.digest(SECRET.encode(), URL.encode() + b"A1", "sha256")))
    old = signature(URL, b"A1")
    for rules, signed, reason in (
        ({"signature": {"algorithm": "sha256"}}, new, OK),
        ({"signature": {"algorithm": "sha256"}}, old, MISMATCH),
        ({}, new, MISMATCH),
        ({}, old, OK),
    ):
        gate = await twilio(tmp_path, rules=rules)
        assert (await gate.judge(request(b"A=1", [FORM, asks, signed]))).reason is reason


async def test_missing_may_pass(tmp_path: Path) -> None:
    """Where a missing signature is neutral, a wrong one is still refused."""
    gate = await twilio(tmp_path, rules={"signature": {"when_missing": "pass"}})
    assert (await gate.judge(request(b"A=1", [FORM]))).reason is OK
    assert (await gate.judge(request(b"A=1", [FORM, signature(URL, b"A2")]))).reason is MISMATCH
