"""PayPal: whose certificate, from where, over what; and what a CRC-32 does not do."""

import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from proxy.messages import Field
from proxy.verdict import Reason
from tests.keyring.sources import KeySource, key_source
from tests.pipeline.judging import NOW, compiled, request
from tests.rules.certificates import AUTHORITY, Signer, fetching, flipped, trusted

OK, MISSING, MALFORMED, MISMATCH = Reason.NONE, Reason.SIGNATURE_MISSING, Reason.SIGNATURE_MALFORMED, Reason.SIGNATURE_MISMATCH
UNREACHABLE = Reason.KEYS_UNREACHABLE

NAME = "messageverificationcerts.paypal.com"
GENUINE = Signer(NAME)
BODY = b'{"id":"WH-1","event_type":"PAYMENT.SALE.COMPLETED","resource":{"amount":"6.01"}}'
WEBHOOK = "8PT597110X687430LKGECATA"


@pytest.fixture
def source() -> Iterator[KeySource]:
    """Where certificates are."""
    with key_source() as made:
        yield made


@pytest.fixture(autouse=True)
def authorities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system trusts our authority alone."""
    monkeypatch.setenv("SSL_CERT_FILE", trusted(tmp_path))


def delivery(url: str, body: bytes = BODY, signer: Signer = GENUINE, number: str = "t-1") -> list[Field]:
    """The headers of a delivery."""
    stamp = b"2026-01-01T00:00:00Z"
    message = b"|".join((number.encode(), stamp, WEBHOOK.encode(), b"%d" % zlib.crc32(body)))
    return [
        (b"PAYPAL-TRANSMISSION-ID", number.encode()),
        (b"PAYPAL-TRANSMISSION-TIME", stamp),
        (b"PAYPAL-TRANSMISSION-SIG", signer.sign(message)),
        (b"PAYPAL-CERT-URL", url.encode()),
        (b"PAYPAL-AUTH-ALGO", b"SHA256withRSA"),
    ]


def route(source: KeySource, **settings: Any) -> dict[str, Any]:
    """The preset, whose certificates are on a port of this machine."""
    values = {"webhook_id": {"value": WEBHOOK}}
    return {"provider": "paypal", "secrets": values, "rules": {"signature": {"hosts": [source.host], **settings}}}


async def test_fetched(source: KeySource, tmp_path: Path) -> None:
    """The certificate that a delivery names is fetched once and serves those that follow."""
    url = source.page("/v1/notifications/certs/CERT-1", GENUINE.pem)
    async with fetching(tmp_path, route(source)) as gate:
        for number in ("t-1", "t-2", "t-3"):
            judged = await gate.judge(request(BODY, delivery(url, number=number)))
            assert (judged.reason, judged.judgement.secret) == (OK, "main")
    assert len(source.asked) == 1


async def test_every_byte(source: KeySource, tmp_path: Path) -> None:
    """One bit of body, id, time or signature changed: refused."""
    fields = delivery(source.page("/cert", GENUINE.pem))
    async with fetching(tmp_path, route(source)) as gate:
        assert (await gate.deliver(request(BODY, fields), delivered=False)).reason is OK
        for body in flipped(BODY):
            assert (await gate.judge(request(body, fields))).reason is MISMATCH
        for index in range(3):
            for value in flipped(fields[index][1]):
                changed = [*fields[:index], (fields[index][0], value), *fields[index + 1 :]]
                assert (await gate.judge(request(BODY, changed))).reason in {MISMATCH, MALFORMED}
        assert gate.store.entries() == 0, "a forged request leaves no claim"


async def test_the_same_crc(source: KeySource, tmp_path: Path) -> None:
    """Another body with the same CRC-32 has the same signature: only the replay rule stands against it, with 409."""
    fields = delivery(source.page("/cert", GENUINE.pem))
    forged = _with_crc(BODY.replace(b"6.01", b"9999"), zlib.crc32(BODY))
    assert zlib.crc32(forged) == zlib.crc32(BODY)
    async with fetching(tmp_path, route(source)) as gate:
        assert (await gate.deliver(request(BODY, fields))).reason is OK
        assert (await gate.judge(request(forged, fields))).status == 409
        assert (await gate.judge(request(BODY, fields))).status == 200


def _with_crc(body: bytes, wanted: int) -> bytes:
    """The body with four bytes behind it that give it the wanted CRC-32."""
    register = wanted ^ 0xFFFFFFFF
    for _ in range(32):
        register = ((register ^ 0xEDB88320) << 1 | 1 if register >> 31 else register << 1) & 0xFFFFFFFF
    return body + (register ^ zlib.crc32(body) ^ 0xFFFFFFFF).to_bytes(4, "little")


CHAINS: list[tuple[str, Signer, bytes, Reason]] = [
    ("PayPal's", GENUINE, GENUINE.pem, OK),
    ("without what leads to the authority", GENUINE, GENUINE.leaf, MISMATCH),
    ("of somebody else, by the same authority", other := Signer("evil.example.com"), other.pem, MISMATCH),
    ("of a name that ends as PayPal's", other := Signer("evilpaypal.com"), other.pem, MISMATCH),
    ("of all names below PayPal's", other := Signer("*.paypal.com"), other.pem, MISMATCH),
    ("of an authority that nobody trusts", other := Signer(NAME, issuer=trustme.CA()), other.pem, MISMATCH),
    ("ended", other := Signer(NAME, end=datetime(2025, 12, 31, tzinfo=UTC)), other.pem, MISMATCH),
    ("not begun", other := Signer(NAME, begin=datetime(2026, 1, 2, tzinfo=UTC)), other.pem, MISMATCH),
    ("of another of PayPal's keys", Signer(NAME), GENUINE.pem, MISMATCH),
    ("straight from the authority", other := Signer(NAME, issuer=AUTHORITY), other.pem, OK),
    ("no certificate", GENUINE, b"hello", UNREACHABLE),
    ("nothing", GENUINE, b"", UNREACHABLE),
    ("without an RSA key", GENUINE, AUTHORITY.cert_pem.bytes(), UNREACHABLE),
    ("too many", GENUINE, GENUINE.pem * 10, UNREACHABLE),
]


@pytest.mark.parametrize(("signer", "page", "reason"), [row[1:] for row in CHAINS], ids=[row[0] for row in CHAINS])
async def test_certificates(signer: Signer, page: bytes, reason: Reason, source: KeySource, tmp_path: Path) -> None:
    """Only a certificate of PayPal's name, within its time, that leads to an authority of the system, proves anything."""
    fields = delivery(source.page("/cert", page), signer=signer)
    async with fetching(tmp_path, route(source)) as gate:
        assert (await gate.judge(request(BODY, fields))).reason is reason


async def test_a_certificate_that_ends(source: KeySource, tmp_path: Path) -> None:
    """That a certificate was good once does not make it good for ever."""
    signer = Signer(NAME, end=datetime(2026, 1, 2, tzinfo=UTC))
    fields = delivery(source.page("/cert", signer.pem), signer=signer)
    async with fetching(tmp_path, route(source)) as gate:
        assert (await gate.deliver(request(BODY, fields), delivered=False)).reason is OK
        assert (await gate.judge(request(BODY, fields, arrived=NOW + 86401))).reason is MISMATCH
        assert (await gate.judge(request(BODY, fields, arrived=NOW - 60))).reason is OK


ADDRESSES = [
    "https://api.paypal.com.evil.org/cert",
    "https://evil.org/api.paypal.com/cert",
    "https://api.paypal.com@evil.org/cert",
    "http://api.paypal.com/cert",
    "http://169.254.169.254/latest/meta-data/",
    "http://127.0.0.1:1/cert",
    "file:///etc/passwd",
    "//api.paypal.com/cert",
    "https://api.paypal.com:8443/cert",
    "https://api.paypal.com/cert#",
    "HTTPS://API.PAYPAL.COM/cert",
    "",
]


@pytest.mark.parametrize("url", ADDRESSES)
async def test_an_address_that_is_not_listed(url: str, source: KeySource, tmp_path: Path) -> None:
    """A delivery whose certificate stands elsewhere is refused before anything is asked, however well it is signed."""
    settings = {"hosts": ["api.paypal.com", "api.sandbox.paypal.com"]}
    async with fetching(tmp_path, route(source, **settings)) as gate:
        assert (await gate.judge(request(BODY, delivery(url)))).reason is MALFORMED


WRITTEN: list[tuple[str, int, bytes | None, Reason]] = [
    ("no signature", 2, None, MISSING),
    ("an empty signature", 2, b"", MISSING),
    ("a signature that is no base64", 2, b"???", MALFORMED),
    ("no id", 0, None, MALFORMED),
    ("an id with their separator", 0, b"t-1|2026-01-01T00:00:00Z", MALFORMED),
    ("no time", 1, None, MALFORMED),
    ("no address", 3, None, MALFORMED),
    ("another algorithm", 4, b"SHA1withRSA", MALFORMED),
    ("no algorithm", 4, None, OK),
]


@pytest.mark.parametrize(("index", "value", "reason"), [row[1:] for row in WRITTEN], ids=[row[0] for row in WRITTEN])
async def test_written(index: int, value: bytes | None, reason: Reason, source: KeySource, tmp_path: Path) -> None:
    """What lacks a part, or has it in another form, is malformed; without its signature it is missing."""
    fields = delivery(source.page("/cert", GENUINE.pem))
    fields[index : index + 1] = [(fields[index][0], value)] if value is not None else []
    async with fetching(tmp_path, route(source)) as gate:
        assert (await gate.judge(request(BODY, fields))).reason is reason
        for field in fields:
            assert (await gate.judge(request(BODY, [*fields, field]))).reason in {MALFORMED, MISSING}


async def test_strangers_cannot_make_us_hammer(source: KeySource, tmp_path: Path) -> None:
    """A thousand deliveries that name a thousand addresses on the right host make us ask there a few times, and harm no other."""
    url = source.page("/cert", GENUINE.pem)
    async with fetching(tmp_path, route(source)) as gate:
        assert (await gate.deliver(request(BODY, delivery(url)), delivered=False)).reason is OK
        for number in range(1000):
            fields = delivery(url)
            fields[3] = (b"PAYPAL-CERT-URL", f"http://{source.host}/{number}".encode())
            assert (await gate.judge(request(BODY, fields))).reason is UNREACHABLE
        assert (await gate.judge(request(BODY, delivery(url)))).reason is OK
    assert len(source.asked) <= 11


async def test_a_certificate_of_the_policy(tmp_path: Path) -> None:
    """A certificate that stands in the policy is taken as it is, whatever a delivery names; nothing is fetched."""
    values = {"webhook_id": {"value": WEBHOOK}, "cert_pem": {"value": GENUINE.leaf.decode()}}
    gate = await compiled(tmp_path, {"provider": "paypal", "secrets": values})
    assert (await gate.judge(request(BODY, delivery("https://evil.org/cert")))).reason is OK
    assert (await gate.judge(request(BODY, delivery("https://evil.org/cert", signer=Signer(NAME))))).reason is MISMATCH
