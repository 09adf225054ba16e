"""Every way to break a secret or a signature is refused, with the reason that says how; every genuine one passes."""

import asyncio
import base64
import binascii
import hmac
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.messages import Field
from proxy.verdict import Reason
from tests.pipeline.judging import HMAC, NOW, SECRET, SIGNATURE, TOKEN, Compiled, compiled, request, secrets, step

BODY = b'{"update_id":1,"message":{"text":"\\u0416 \xf0\x9f\x9a\x80"}}'
DIGEST = hmac.digest(SECRET.encode(), BODY, "sha256")
HEX = binascii.hexlify(DIGEST)
BASE64 = base64.b64encode(DIGEST)
URLSAFE = base64.urlsafe_b64encode(DIGEST)
OTHER = binascii.hexlify(hmac.digest(b"another secret of 32 bytes -----", BODY, "sha256"))
LISTED = {"separator": ",", "pair": "=", "key": "v1"}

TOKEN_ROUTE: dict[str, Any] = {"scheme": "token", "header": TOKEN.decode()}

OK, MISSING, MALFORMED, MISMATCH = Reason.NONE, Reason.SIGNATURE_MISSING, Reason.SIGNATURE_MALFORMED, Reason.SIGNATURE_MISMATCH


async def judged(folder: Path, signature: dict[str, Any], values: list[bytes], *keys: str, **facts: Any) -> Reason:
    """What a gate with this signature rule finds when its header has these values."""
    gate = await compiled(folder, {"secrets": secrets(*(keys or (SECRET,))), "rules": {"signature": signature}})
    name = signature["header"].encode()
    return (await gate.judge(request(BODY, [(name, value) for value in values], **facts))).reason


TOKENS: list[tuple[str, list[bytes], Reason]] = [
    ("the secret", [SECRET.encode()], OK),
    ("no header", [], MISSING),
    ("an empty header", [b""], MISSING),
    ("two empty headers", [b"", b""], MALFORMED),
    ("the secret twice", [SECRET.encode(), SECRET.encode()], MALFORMED),
    ("the secret, then another", [SECRET.encode(), b"x"], MALFORMED),
    ("an empty header, then the secret", [b"", SECRET.encode()], MALFORMED),
    ("twice in one header", [SECRET.encode() * 2], MISMATCH),
    ("joined by a comma", [SECRET.encode() + b"," + SECRET.encode()], MISMATCH),
    ("another case", [SECRET.upper().encode()], MISMATCH),
    ("hex of it", [binascii.hexlify(SECRET.encode())], MISMATCH),
    ("base64 of it", [base64.b64encode(SECRET.encode())], MISMATCH),
    ("white space before", [b" " + SECRET.encode()], MISMATCH),
    ("white space behind", [SECRET.encode() + b"\t"], MISMATCH),
    ("a NUL behind", [SECRET.encode() + b"\0"], MISMATCH),
    ("one byte longer", [SECRET.encode() + b"0"], MISMATCH),
    ("in quotes", [b'"' + SECRET.encode() + b'"'], MISMATCH),
    ("percent-encoded", [SECRET.encode().replace(b"-", b"%2D")], MISMATCH),
    ("beyond ASCII", ["é".encode()], MISMATCH),
    ("no text at all", [b"\xff\xfe"], MISMATCH),
    ("1 MiB long", [b"a" * 1024**2], MISMATCH),
    ("the secret and 1 MiB more", [SECRET.encode() + b"a" * 1024**2], MISMATCH),
    ("10,000 candidates", [b",".join([SECRET.encode()] * 10_000)], MISMATCH),
    ("bearer before it", [b"Bearer " + SECRET.encode()], MISMATCH),
]


@pytest.mark.parametrize(("values", "reason"), [row[1:] for row in TOKENS], ids=[row[0] for row in TOKENS])
async def test_token(values: list[bytes], reason: Reason, tmp_path: Path) -> None:
    """A token passes only as the one header that is the secret byte for byte."""
    assert await judged(tmp_path, TOKEN_ROUTE, values) is reason


HEXES: list[tuple[str, list[bytes], Reason]] = [
    ("the signature", [b"sha256=" + HEX], OK),
    ("no header", [], MISSING),
    ("an empty header", [b""], MISSING),
    ("the prefix alone", [b"sha256="], MALFORMED),
    ("no prefix", [HEX], MALFORMED),
    ("the prefix twice", [b"sha256=sha256=" + HEX], MALFORMED),
    ("the prefix in capitals", [b"SHA256=" + HEX], MALFORMED),
    ("another algorithm named", [b"sha1=" + HEX], MALFORMED),
    ("no algorithm named", [b"none=" + HEX], MALFORMED),
    ("the header twice", [b"sha256=" + HEX] * 2, MALFORMED),
    ("two in one header", [b"sha256=" + HEX + b",sha256=" + HEX], MALFORMED),
    ("10,000 in one header", [b",".join([b"sha256=" + HEX] * 10_000)], MALFORMED),
    ("capitals", [b"sha256=" + HEX.upper()], MALFORMED),
    ("base64", [b"sha256=" + BASE64], MALFORMED),
    ("hex of hex", [b"sha256=" + binascii.hexlify(HEX)], MALFORMED),
    ("the bare digest", [b"sha256=" + DIGEST], MALFORMED),
    ("white space behind", [b"sha256=" + HEX + b" "], MALFORMED),
    ("white space after the prefix", [b"sha256= " + HEX], MALFORMED),
    ("a line feed behind", [b"sha256=" + HEX + b"\n"], MALFORMED),
    ("one byte longer", [b"sha256=" + HEX + b"0"], MALFORMED),
    ("two bytes longer", [b"sha256=" + HEX + b"00"], MALFORMED),
    ("beyond ASCII", [b"sha256=" + "é".encode() * 32], MALFORMED),
    ("digits of another script", [b"sha256=" + "٣".encode() * 32], MALFORMED),
    ("1 MiB long", [b"sha256=" + b"a" * 1024**2], MALFORMED),
    ("of another secret", [b"sha256=" + OTHER], MISMATCH),
    ("all zeros", [b"sha256=" + b"0" * 64], MISMATCH),
    ("backwards", [b"sha256=" + HEX[::-1]], MISMATCH),
]


@pytest.mark.parametrize(("values", "reason"), [row[1:] for row in HEXES], ids=[row[0] for row in HEXES])
async def test_hex(values: list[bytes], reason: Reason, tmp_path: Path) -> None:
    """A hex signature passes only as its sender writes it: one header, its prefix, 64 small digits."""
    assert await judged(tmp_path, {**HMAC, "prefix": "sha256="}, values) is reason


def swapped(encoded: bytes, alphabet: bytes) -> bytes:
    """Other base64 text for the same bytes: the two bits that 32 bytes leave over in the last digit are set."""
    return encoded[:-2] + alphabet[alphabet.index(encoded[-2]) | 1 : (alphabet.index(encoded[-2]) | 1) + 1] + b"="


STANDARD = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

BASES: list[tuple[str, str, bytes, Reason]] = [
    ("the signature", "base64", BASE64, OK),
    ("without padding", "base64", BASE64.rstrip(b"="), MALFORMED),
    ("padded twice", "base64", BASE64 + b"=", MALFORMED),
    ("with the bits set that nobody reads", "base64", swapped(BASE64, STANDARD), MISMATCH),
    ("hex", "base64", HEX, MALFORMED),
    ("white space inside", "base64", BASE64[:20] + b" " + BASE64[21:], MALFORMED),
    ("of another secret", "base64", base64.b64encode(binascii.unhexlify(OTHER)), MISMATCH),
    ("urlsafe", "base64url", URLSAFE, OK),
    ("urlsafe without padding", "base64url", URLSAFE.rstrip(b"="), OK),
    ("urlsafe padded twice", "base64url", URLSAFE + b"=", MALFORMED),
    ("urlsafe padded without end", "base64url", URLSAFE + b"=" * 100, MALFORMED),
    ("urlsafe and padding inside", "base64url", URLSAFE[:10] + b"=" + URLSAFE[10:], MALFORMED),
    ("the plain alphabet", "base64url", base64.b64encode(b"\xff" * 32), MALFORMED),
    ("any case, small", "hex-any-case", HEX, OK),
    ("any case, capitals", "hex-any-case", HEX.upper(), OK),
    ("any case, both", "hex-any-case", HEX[:32] + HEX[32:].upper(), OK),
    ("any case, one digit more", "hex-any-case", HEX + b"A", MALFORMED),
]


@pytest.mark.parametrize(("encoding", "value", "reason"), [row[1:] for row in BASES], ids=[row[0] for row in BASES])
async def test_encodings(encoding: str, value: bytes, reason: Reason, tmp_path: Path) -> None:
    """Each encoding has one written form; padding may be left out of base64url, and case is free in hex-any-case."""
    assert await judged(tmp_path, {**HMAC, "encoding": encoding}, [value]) is reason


@pytest.mark.parametrize(("algorithm", "size"), [("sha1", 20), ("sha256", 32), ("sha384", 48), ("sha512", 64)])
@pytest.mark.parametrize("encoding", ["hex", "hex-any-case", "base64", "base64url"])
async def test_algorithms(algorithm: str, size: int, encoding: str, tmp_path: Path) -> None:
    """Each algorithm passes in each encoding, and a digest of another length does not."""
    digest = hmac.digest(SECRET.encode(), BODY, algorithm)
    assert len(digest) == size
    written = {"base64": base64.b64encode, "base64url": base64.urlsafe_b64encode}.get(encoding, binascii.hexlify)
    rule = {**HMAC, "algorithm": algorithm, "encoding": encoding}
    assert await judged(tmp_path, rule, [written(digest)]) is OK
    assert await judged(tmp_path, rule, [written(digest[:-3])]) is MALFORMED


LISTS: list[tuple[str, list[bytes], Reason]] = [
    ("one", [b"t=1,v1=" + HEX], OK),
    ("the good one last of five", [b",".join([b"v1=" + OTHER] * 4 + [b"v1=" + HEX])], OK),
    ("six", [b",".join([b"v1=" + HEX] * 6)], MALFORMED),
    ("10,000", [b",".join([b"v1=" + HEX] * 10_000)], MALFORMED),
    ("spaces around items", [b" t=1 , v1=" + HEX + b" "], OK),
    ("another name", [b"t=1,v0=" + HEX], MALFORMED),
    ("no name", [HEX], MALFORMED),
    ("a name in capitals", [b"V1=" + HEX], MALFORMED),
    ("a name with a space", [b"v1 =" + HEX], MALFORMED),
    ("an empty one", [b"v1="], MALFORMED),
    ("a malformed one beside a good one", [b"v1=zz,v1=" + HEX], OK),
    ("a wrong one beside a malformed one", [b"v1=zz,v1=" + OTHER], MISMATCH),
    ("commas alone", [b"," * 10_000], MALFORMED),
    ("the header twice", [b"v1=" + HEX, b"v1=" + HEX], MALFORMED),
]


@pytest.mark.parametrize(("values", "reason"), [row[1:] for row in LISTS], ids=[row[0] for row in LISTS])
async def test_lists(values: list[bytes], reason: Reason, tmp_path: Path) -> None:
    """Of a list at most five items are candidates, and one good one is enough."""
    assert await judged(tmp_path, {**HMAC, "list": LISTED}, values) is reason


@pytest.mark.parametrize(
    ("rule", "genuine"),
    [
        (TOKEN_ROUTE, SECRET.encode()),
        (HMAC, HEX),
        ({**HMAC, "encoding": "base64"}, BASE64),
        ({**HMAC, "prefix": "v0="}, b"v0=" + HEX),
    ],
    ids=["token", "hex", "base64", "prefixed"],
)
async def test_prefixes(rule: dict[str, Any], genuine: bytes, tmp_path: Path) -> None:
    """No beginning and no end of a genuine value passes."""
    gate = await compiled(tmp_path, {"secrets": secrets(SECRET), "rules": {"signature": rule}})
    name = rule["header"].encode()
    for length in range(len(genuine)):
        for part in (genuine[:length], genuine[length + 1 :]):
            judged = await gate.judge(request(BODY, [(name, part)]))
            assert judged.reason in {MISSING, MALFORMED, MISMATCH}, (length, part)
            assert (judged.reason is MISSING) == (not part)
    assert (await gate.judge(request(BODY, [(name, genuine)]))).reason is OK


async def test_every_refusal_looks_alike(tmp_path: Path) -> None:
    """Missing, malformed and wrong are one answer to the sender."""
    gate = await compiled(tmp_path, {"secrets": secrets(SECRET), "rules": {"signature": HMAC}})
    ended = [(await gate.judge(request(BODY, fields))).ended for fields in ([], [(SIGNATURE, b"x")], [(SIGNATURE, OTHER)])]
    assert len({one._replace(reason=OK) for one in ended if not hasattr(one, "request")}) == 1


@pytest.mark.parametrize("rule", [TOKEN_ROUTE, HMAC], ids=["token", "hmac"])
async def test_several_secrets(rule: dict[str, Any], tmp_path: Path) -> None:
    """Every active secret passes, and the one that matched is told by its id."""
    keys = [f"secret number {index}, long enough" for index in range(5)]
    gate = await compiled(tmp_path, {"secrets": secrets(*keys), "rules": {"signature": rule}})
    for index, key in enumerate(keys):
        value = key.encode() if rule is TOKEN_ROUTE else binascii.hexlify(hmac.digest(key.encode(), BODY, "sha256"))
        judged = await gate.judge(request(BODY, [(rule["header"].encode(), value)]))
        assert (judged.reason, judged.judgement.secret) == (OK, f"s{index}")
        assert not judged.findings


@pytest.mark.parametrize("rule", [TOKEN_ROUTE, HMAC], ids=["token", "hmac"])
@pytest.mark.parametrize(
    ("arrived", "reason"),
    [(NOW - 0.001, MISMATCH), (NOW, OK), (NOW + 9.999, OK), (NOW + 10, MISMATCH), (NOW + 1e6, MISMATCH), (0.0, MISMATCH)],
)
async def test_times_of_a_secret(rule: dict[str, Any], arrived: float, reason: Reason, tmp_path: Path) -> None:
    """A secret holds from not_before on and until just before not_after, by the moment at which the request arrived."""
    bounds = {"not_before": "2026-01-01T00:00:00Z", "not_after": "2026-01-01T00:00:10Z"}
    route = {
        "secrets": [{**secrets(SECRET)[0], **bounds}, {"id": "next", "value": "y1" * 16, "not_before": "2027-01-01T00:00:00Z"}],
        "rules": {"signature": rule},
    }
    gate = await compiled(tmp_path, route)
    value = SECRET.encode() if rule is TOKEN_ROUTE else HEX
    judged = await gate.judge(request(BODY, [(rule["header"].encode(), value)], arrived=arrived))
    assert judged.reason is reason


@pytest.mark.parametrize(
    ("values", "reason"), [([], OK), ([b""], OK), ([b"", b""], MALFORMED), ([b"x"], None), ([HEX, HEX], MALFORMED)]
)
@pytest.mark.parametrize("rule", [TOKEN_ROUTE, HMAC], ids=["token", "hmac"])
async def test_when_missing_pass(rule: dict[str, Any], values: list[bytes], reason: Reason | None, tmp_path: Path) -> None:
    """With when_missing: pass an absent header is neutral; a wrong, malformed or doubled one is refused as ever."""
    found = await judged(tmp_path, {**rule, "when_missing": "pass"}, values)
    assert found is (reason or (MISMATCH if rule is TOKEN_ROUTE else MALFORMED))


KEYS = [
    ("utf8", SECRET, SECRET.encode()),
    ("hex", "00112233445566778899AAbbccddeeff", bytes.fromhex("00112233445566778899aabbccddeeff")),
    ("base64", "/+8BAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4=", base64.b64decode("/+8BAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4=")),
    ("base64", "/+8BAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4", base64.b64decode("/+8BAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4=")),
    (
        "whsec",
        "whsec_" + "/+8BAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4",
        base64.b64decode("/+8BAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4="),
    ),
]


@pytest.mark.parametrize(("form", "text", "key"), KEYS)
async def test_keys(form: str, text: str, key: bytes, tmp_path: Path) -> None:
    """A secret that the policy takes is a key that the rule takes, unpadded base64 included."""
    value = binascii.hexlify(hmac.digest(key, BODY, "sha256"))
    assert await judged(tmp_path, {**HMAC, "key": form}, [value], text) is OK


TEMPLATES: list[tuple[str, bytes]] = [
    ("{body}", BODY),
    ("v0:{header:X-Time}:{body}", b"v0:17:" + BODY),
    ("{method}{path}?{query}{{}}{body}", b"POST/hook?a=b&f=%C3%A9{}" + BODY),
    ("{query:f}.{body}", "é.".encode() + BODY),
    ("{json:/update_id}/{json:/message/text}", "1/Ж 🚀".encode()),
    ("é{body}", "é".encode() + BODY),
    ("{secret}|{body}", SECRET.encode() + b"|" + BODY),
]


@pytest.mark.parametrize(("template", "message"), TEMPLATES)
async def test_templates(template: str, message: bytes, tmp_path: Path) -> None:
    """A template is put together as bytes: literals, the raw body, and places as they came or decoded once."""
    rule = {**HMAC, "template": template}
    gate = await compiled(
        tmp_path, {"query": "pass", "secrets": secrets("old secret, not in use", SECRET), "rules": {"signature": rule}}
    )
    value = binascii.hexlify(hmac.digest(SECRET.encode(), message, "sha256"))
    judged = await gate.judge(request(BODY, [(SIGNATURE, value), (b"x-time", b"17")], target=b"/hook?a=b&f=%C3%A9"))
    assert (judged.reason, judged.judgement.secret) == (OK, "s1")


@pytest.mark.parametrize(
    "fields",
    [[], [(b"X-Time", b"")], [(b"X-Time", b"17"), (b"x-time", b"17")]],
    ids=["absent", "empty", "doubled"],
)
async def test_a_part_that_is_not_there(fields: list[Field], tmp_path: Path) -> None:
    """Where a signed part is absent, empty or doubled nothing can be proved, not even by a signature over the rest."""
    rule = {**HMAC, "template": "{header:X-Time}{body}"}
    gate = await compiled(tmp_path, {"secrets": secrets(SECRET), "rules": {"signature": rule}})
    assert (await gate.judge(request(BODY, [(SIGNATURE, HEX), *fields]))).reason is MALFORMED


async def test_a_header_that_is_not_asked_for(tmp_path: Path) -> None:
    """A header of another scheme counts for nothing, even where it holds the secret."""
    gate = await compiled(tmp_path, {"secrets": secrets(SECRET), "rules": {"signature": TOKEN_ROUTE}})
    fields = [(b"X-Telegram-Bot-Api-Secret-Hash", HEX), (b"Authorization", SECRET.encode())]
    assert (await gate.judge(request(BODY, fields))).reason is MISSING


def _gate(folder: Path, rule: dict[str, Any]) -> Compiled:
    async def make() -> Compiled:
        return await compiled(folder, {"secrets": secrets(SECRET), "rules": {"signature": rule}})

    return asyncio.run(make())


def flipped(data: bytes, bit: int) -> bytes:
    """The same bytes but for one bit."""
    at, of = divmod(bit % (len(data) * 8), 8)
    return data[:at] + bytes([data[at] ^ 1 << of]) + data[at + 1 :]


@pytest.fixture(scope="module")
def hmac_gate(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """A gate that asks for an HMAC."""
    return _gate(tmp_path_factory.mktemp("hmac"), HMAC)


@pytest.fixture(scope="module")
def token_gate(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """A gate that asks for a token."""
    return _gate(tmp_path_factory.mktemp("token"), TOKEN_ROUTE)


@settings(max_examples=500, deadline=None)
@given(body=st.binary(max_size=300), bit=st.integers(0, 10**6), which=st.sampled_from(["body", "signature"]))
def test_no_flipped_bit_passes_an_hmac(hmac_gate: Compiled, body: bytes, bit: int, which: str) -> None:
    """One bit of body or signature flipped, and a request that passed passes no more."""
    value = binascii.hexlify(hmac.digest(SECRET.encode(), body, "sha256"))
    assert step(hmac_gate.judge(request(body, [(SIGNATURE, value)]))).reason is OK
    if which == "signature":
        value = flipped(value, bit)
    else:
        body = flipped(body, bit) if body else b"\0"
    assert step(hmac_gate.judge(request(body, [(SIGNATURE, value)]))).reason in {MALFORMED, MISMATCH}


@settings(max_examples=500, deadline=None)
@given(bit=st.integers(0, len(SECRET) * 8 - 1))
def test_no_flipped_bit_passes_a_token(token_gate: Compiled, bit: int) -> None:
    """One bit of the token flipped, and it passes no more."""
    assert step(token_gate.judge(request(BODY, [(TOKEN, flipped(SECRET.encode(), bit))]))).reason is MISMATCH


@settings(max_examples=1000, deadline=None)
@given(value=st.binary(max_size=200))
@pytest.mark.parametrize("which", ["token", "hmac"])
def test_no_invention_passes(token_gate: Compiled, hmac_gate: Compiled, which: str, value: bytes) -> None:
    """Whatever bytes stand in the header, nothing but the genuine value passes, and nothing breaks a rule."""
    gate, name, genuine = (token_gate, TOKEN, SECRET.encode()) if which == "token" else (hmac_gate, SIGNATURE, HEX)
    judged = step(gate.judge(request(BODY, [(name, value)])))
    assert (judged.reason is OK) == (value == genuine)
    assert judged.reason in {OK, MISSING, MALFORMED, MISMATCH}


def test_never_shown(token_gate: Compiled) -> None:
    """No part of a compiled gate shows a secret when it is printed."""
    seen: set[int] = set()

    def walk(thing: object) -> None:
        if id(thing) in seen or len(seen) > 20_000:
            return
        seen.add(id(thing))
        assert SECRET not in repr(thing) or isinstance(thing, bytes | str), type(thing)
        if type(thing).__module__.startswith("proxy"):
            slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
            for name in [*slots, *getattr(thing, "__dict__", {})]:
                walk(getattr(thing, name, None))
        if isinstance(thing, tuple | list):
            list(map(walk, thing))
        if isinstance(thing, dict):
            list(map(walk, thing.values()))

    walk(token_gate.gate)
