"""HTTP Message Signatures: what a signature must cover, which one counts, when it holds, and what no message can choose."""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from proxy.errors import PolicyError
from proxy.messages import Field
from proxy.verdict import Reason
from tests.pipeline.judging import NOW, Compiled, Judged, compiled, request

OK, MISSING, MALFORMED, MISMATCH = Reason.NONE, Reason.SIGNATURE_MISSING, Reason.SIGNATURE_MALFORMED, Reason.SIGNATURE_MISMATCH

KEY = bytes(range(32))
SHARED = base64.b64encode(KEY).decode()
BODY = b'{"update":1}'
URL = "https://bot.example.com/hook"
ALL = ("@method", "@authority", "@path", "content-digest")

Sign = Callable[[bytes], bytes]


def shared(base: bytes) -> bytes:
    """HMAC-SHA256 with the key of these tests."""
    return hmac.digest(KEY, base, "sha256")


def digest(body: bytes = BODY) -> str:
    """A Content-Digest."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


PARTS = {
    '"@method"': "POST",
    '"@authority"': "bot.example.com",
    '"@path"': "/hook",
    '"@scheme"': "https",
    '"@target-uri"': "https://bot.example.com/hook?a=1&b=x%20y&c",
    '"@request-target"': "/hook?a=1&b=x%20y&c",
    '"@query"': "?a=1&b=x%20y&c",
    '"@query-param";name="a"': "1",
    '"@query-param";name="b"': "x%20y",
    '"@query-param";name="c"': "",
    '"content-digest"': digest(),
    '"content-digest";key="sha-256"': digest().partition("=")[2],
    '"x-twice"': "one, two",
    '"x-twice";bs': ":b25l:, :dHdv:",
    '"x-empty"': "",
}
"""What each part of the request of these tests is worth, written by hand."""
FIELDS: list[Field] = [
    (b"Host", b"BOT.example.com:443"),
    (b"Content-Digest", digest().encode()),
    (b"X-Twice", b" one "),
    (b"x-twice", b"two\t"),
    (b"X-Empty", b""),
]


def signed(
    parts: tuple[str, ...] = ALL,
    parameters: str = f";created={NOW:.0f}",
    sign: Sign = shared,
    label: str = "sig",
    worth: Mapping[str, str] | None = None,
) -> list[Field]:
    """The two headers of a signature over these parts."""
    names = [part if part.startswith('"') else f'"{part}"' for part in parts]
    covered = f"({' '.join(names)}){parameters}"
    values = {**PARTS, **(worth or {})}
    lines = "".join(f"{name}: {values.get(name, '')}\n" for name in names)
    base = f'{lines}"@signature-params": {covered}'
    value = base64.b64encode(sign(base.encode())).decode()
    return [(b"Signature-Input", f"{label}={covered}".encode()), (b"Signature", f"{label}=:{value}:".encode())]


async def gate(folder: Path, *secrets: str, **settings: Any) -> Compiled:
    """A gate with this scheme."""
    listed = [{"id": f"s{index}", "value": value} for index, value in enumerate(secrets or (SHARED,))]
    rule = {"scheme": "http-message-signatures", **settings}
    return await compiled(folder, {"query": "pass", "public_url": URL, "secrets": listed, "rules": {"signature": rule}})


async def judged(made: Compiled, fields: list[Field], body: bytes = BODY, **facts: Any) -> Judged:
    """What becomes of a request."""
    return await made.judge(request(body, [*FIELDS, *fields], target=b"/hook?a=1&b=x%20y&c", **facts))


@pytest.mark.parametrize("part", PARTS)
async def test_every_part(part: str, tmp_path: Path) -> None:
    """Every part of a request can be covered: its value is what RFC 9421 section 2 says, and one change to it is seen."""
    made = await gate(tmp_path)
    covered = (*ALL, part) if part.strip('"') not in ALL else ALL
    assert (await judged(made, signed(covered))).reason is OK
    assert (await judged(made, signed(covered, worth={part: PARTS[part] + "x"}))).reason is MISMATCH


BAD_PARTS: list[tuple[str, tuple[str, ...]]] = [
    ("a header that is not there", (*ALL, "x-absent")),
    ("the same part twice", (*ALL, "@method")),
    ("the status, which requests do not have", (*ALL, "@status")),
    ("a derived part that nobody knows", (*ALL, "@nothing")),
    ("a parameter of the query that is not there", (*ALL, '"@query-param";name="z"')),
    ("a parameter of the query without a name", (*ALL, "@query-param")),
    ("a parameter that nobody knows", (*ALL, '"x-twice";sf')),
    ("something of the request that an answer repeats", (*ALL, '"@method";req')),
    ("a trailer", (*ALL, '"x-twice";tr')),
    ("a member that is not there", (*ALL, '"content-digest";key="sha-1"')),
    ("a member of what is no dictionary", (*ALL, '"x-twice";key="a"')),
    ("a capital letter", (*ALL, "X-Twice")),
]


@pytest.mark.parametrize("parts", [row[1] for row in BAD_PARTS], ids=[row[0] for row in BAD_PARTS])
async def test_a_part_that_cannot_be(parts: tuple[str, ...], tmp_path: Path) -> None:
    """A signature over something that a request does not have, or has in two ways, proves nothing."""
    assert (await judged(await gate(tmp_path), signed(parts))).reason is MALFORMED


COVERS: list[tuple[tuple[str, ...], Reason]] = [
    (ALL, OK),
    ((*ALL, "x-twice"), OK),
    (("@method", "@target-uri", "content-digest"), OK),
    (("@method", "@authority", "@path"), MALFORMED),
    (("@authority", "@path", "content-digest"), MALFORMED),
    (("@method", "@path", "content-digest"), MALFORMED),
    (("@method", "@authority", "@path", '"content-digest";key="sha-256"'), MALFORMED),
    ((), MALFORMED),
]


@pytest.mark.parametrize(("parts", "reason"), COVERS)
async def test_what_must_be_covered(parts: tuple[str, ...], reason: Reason, tmp_path: Path) -> None:
    """Without further words a signature must cover method, authority, path and body; a whole target counts for its parts."""
    assert (await judged(await gate(tmp_path), signed(parts))).reason is reason


async def test_every_byte(tmp_path: Path) -> None:
    """One bit changed anywhere in body, covered header, target or signature, and the request passes no more."""
    made = await gate(tmp_path)
    parts = (*ALL, "@query", "x-twice")
    fields = signed(parts)
    assert (await judged(made, fields)).reason is OK
    for index in range(len(BODY)):
        body = BODY[:index] + bytes([BODY[index] ^ 1]) + BODY[index + 1 :]
        assert (await judged(made, fields, body)).reason is MISMATCH
    for name, value in (*fields, *FIELDS[1:3]):
        for index in range(len(value)):
            changed = value[:index] + bytes([value[index] ^ 1]) + value[index + 1 :]
            if name == b"X-Twice" and changed.strip() == value.strip():
                continue
            others = [(one, changed if (one, old) == (name, value) else old) for one, old in (*FIELDS, *fields)]
            found = await made.judge(request(BODY, others, target=b"/hook?a=1&b=x%20y&c"))
            assert found.reason in {MALFORMED, MISMATCH}, (name, changed)
    assert (await made.judge(request(BODY, [*FIELDS, *fields], target=b"/hook?a=1&b=x%20y&d"))).reason is MISMATCH
    assert (await made.judge(request(BODY, [*FIELDS, *fields], target=b"/hook"))).reason is MISMATCH


DIGESTS: list[tuple[str, str, Reason]] = [
    ("sha-512", f"sha-512=:{base64.b64encode(hashlib.sha512(BODY).digest()).decode()}:", OK),
    ("two that are right", f"{digest()}, sha-512=:{base64.b64encode(hashlib.sha512(BODY).digest()).decode()}:", OK),
    ("one right, one unknown", f"{digest()}, md5=:AAAA:", OK),
    ("one right, one wrong", f"{digest()}, sha-512=:AAAA:", MISMATCH),
    ("unknown alone", "md5=:AAAA:", MISMATCH),
    ("of another body", digest(b"other"), MISMATCH),
    ("no bytes", 'sha-256="text"', MISMATCH),
    ("no dictionary", "(((", MISMATCH),
    ("empty", "", MISMATCH),
]


@pytest.mark.parametrize(("value", "reason"), [row[1:] for row in DIGESTS], ids=[row[0] for row in DIGESTS])
async def test_digest(value: str, reason: Reason, tmp_path: Path) -> None:
    """Every digest that is known must be that of the body, and one must be known."""
    fields = [(b"Host", b"bot.example.com"), (b"Content-Digest", value.encode()), *signed(worth={'"content-digest"': value})]
    assert (await (await gate(tmp_path)).judge(request(BODY, fields))).reason is reason


async def test_a_digest_that_is_not_signed_is_checked(tmp_path: Path) -> None:
    """A digest that stands in the request is checked even where nobody asked for it."""
    made = await gate(tmp_path, components=[])
    assert (await judged(made, signed(("@method",)))).reason is OK
    assert (await judged(made, signed(("@method",)), b"other")).reason is MISMATCH


TIMES: list[tuple[str, str, Reason]] = [
    ("just made", f";created={NOW:.0f}", OK),
    ("as old as may be", f";created={NOW - 300:.0f}", OK),
    ("too old", f";created={NOW - 301:.0f}", MISMATCH),
    ("as far ahead as may be", f";created={NOW + 300:.0f}", OK),
    ("too far ahead", f";created={NOW + 301:.0f}", MISMATCH),
    ("no time", "", MISMATCH),
    ("a time in quotes", f';created="{NOW:.0f}"', MISMATCH),
    ("a time that is true", ";created", MISMATCH),
    ("not ended", f";created={NOW:.0f};expires={NOW + 1:.0f}", OK),
    ("ended", f";created={NOW:.0f};expires={NOW:.0f}", MISMATCH),
    ("an end that is no number", f";created={NOW:.0f};expires=never", MISMATCH),
]


@pytest.mark.parametrize(("parameters", "reason"), [row[1:] for row in TIMES], ids=[row[0] for row in TIMES])
async def test_times(parameters: str, reason: Reason, tmp_path: Path) -> None:
    """When it was made and when it ends is judged by the moment of arrival."""
    assert (await judged(await gate(tmp_path), signed(parameters=parameters))).reason is reason


async def test_without_a_time(tmp_path: Path) -> None:
    """Where the policy says so, a signature may keep silent about when it was made, but what it says still counts."""
    made = await gate(tmp_path, created="optional")
    assert (await judged(made, signed(parameters=""))).reason is OK
    assert (await judged(made, signed(parameters=";created=1"))).reason is MISMATCH


def _joined(*pairs: list[Field]) -> list[Field]:
    return [(name, b", ".join(pair[index][1] for pair in pairs)) for index, name in enumerate((b"Signature-Input", b"Signature"))]


STAMP = f";created={NOW:.0f}"
FORGED = signed(sign=lambda base: b"x" * 32, label="other")
CHOICES: list[tuple[str, list[Field], dict[str, str], Reason]] = [
    ("one of any name", signed(label="whatever"), {}, OK),
    ("two of which none is named", _joined(signed(), FORGED), {}, MALFORMED),
    ("the one that is named", _joined(FORGED, signed()), {"label": "sig"}, OK),
    ("a forged one of that name", _joined(FORGED, signed()), {"label": "other"}, MISMATCH),
    ("none of that name", signed(), {"label": "other"}, MALFORMED),
    ("the one with the tag", _joined(FORGED, signed(parameters=STAMP + ';tag="app"')), {"tag": "app"}, OK),
    ("no tag", signed(), {"tag": "app"}, MALFORMED),
    ("another tag", signed(parameters=STAMP + ';tag="other"'), {"tag": "app"}, MALFORMED),
    ("a tag that is a token", signed(parameters=STAMP + ";tag=app"), {"tag": "app"}, OK),
    (
        "two with the tag",
        _joined(signed(parameters=STAMP + ';tag="app"'), signed(parameters=STAMP + ';tag="app"', label="b")),
        {"tag": "app"},
        MALFORMED,
    ),
    (
        "the tag on what is no list, too",
        _joined(signed(parameters=STAMP + ';tag="app"'), [(b"Signature-Input", b'b=1;tag="app"'), (b"Signature", b"b=:YWJj:")]),
        {"tag": "app"},
        MALFORMED,
    ),
    ("the same name twice", _joined(signed(), signed()), {}, MALFORMED),
    ("no signature for what is covered", signed()[:1], {}, MALFORMED),
    ("nothing covered for the signature", signed()[1:], {}, MALFORMED),
    ("two that do not belong together", [signed()[0], signed(label="other")[1]], {}, MALFORMED),
    ("no list", [(b"Signature-Input", b"sig=1"), signed()[1]], {}, MALFORMED),
    ("no bytes", [signed()[0], (b"Signature", b'sig="abc"')], {}, MALFORMED),
    ("a list of bytes", [signed()[0], (b"Signature", b"sig=(:YWJj:)")], {}, MALFORMED),
    ("two lines", [*signed(), *FORGED], {"label": "sig"}, OK),
    ("nothing", [], {}, MISSING),
    ("empty", [(b"Signature-Input", b""), (b"Signature", b"")], {}, MALFORMED),
    ("no text", [(b"Signature-Input", b"\xff"), (b"Signature", b"\xff")], {}, MALFORMED),
]


@pytest.mark.parametrize(("fields", "settings", "reason"), [row[1:] for row in CHOICES], ids=[row[0] for row in CHOICES])
async def test_which_one_counts(fields: list[Field], settings: dict[str, str], reason: Reason, tmp_path: Path) -> None:
    """Exactly one signature is judged: the only one, or the one with the name or the tag that the policy says."""
    assert (await judged(await gate(tmp_path, **settings), fields)).reason is reason


async def test_one_after_another(tmp_path: Path) -> None:
    """Each request is judged by the list that stands in it, whatever stood in those before."""
    made = await gate(tmp_path)
    short, other = tuple(part for part in ALL if part != "content-digest"), (*reversed(ALL), '"x-twice"')
    for _ in range(2):
        for parts, reason in ((ALL, OK), (short, MALFORMED), (other, OK), (("@status", *ALL), MALFORMED)):
            assert (await judged(made, signed(parts))).reason is reason
            stolen = [signed(parts)[0], signed((*parts, "@scheme"))[1]]
            assert (await judged(made, stolen)).reason is (MISMATCH if reason is OK else reason)


ED = ed25519.Ed25519PrivateKey.generate()
P256, P384 = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
RSA = rsa.generate_private_key(65537, 2048)


def pem(key: Any) -> str:
    """A private key's public half."""
    text: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return text.decode()


def _raw(signature: bytes, size: int) -> bytes:
    r, s = decode_dss_signature(signature)
    return r.to_bytes(size) + s.to_bytes(size)


PSS = padding.PSS(padding.MGF1(SHA512()), 64)
SIGNERS: dict[str, tuple[str, Sign]] = {
    "hmac-sha256": (SHARED, shared),
    "ed25519": (pem(ED), ED.sign),
    "ecdsa-p256-sha256": (pem(P256), lambda base: _raw(P256.sign(base, ec.ECDSA(SHA256())), 32)),
    "ecdsa-p384-sha384": (pem(P384), lambda base: _raw(P384.sign(base, ec.ECDSA(SHA384())), 48)),
    "rsa-pss-sha512": (pem(RSA), lambda base: RSA.sign(base, PSS, SHA512())),
    "rsa-v1_5-sha256": (pem(RSA), lambda base: RSA.sign(base, padding.PKCS1v15(), SHA256())),
}


@pytest.mark.parametrize("name", SIGNERS)
async def test_algorithms(name: str, tmp_path: Path) -> None:
    """Each algorithm passes with its own key; what another algorithm makes, and a name that is not the key's, does not."""
    secret, sign = SIGNERS[name]
    made = await gate(tmp_path, secret, **({"algorithm": name} if name.startswith("rsa-v1") else {}))
    assert (await judged(made, signed(sign=sign))).reason is OK
    assert (await judged(made, signed(parameters=f'{STAMP};alg="{name}"', sign=sign))).reason is OK
    for other, (_, another) in SIGNERS.items():
        if other != name:
            assert (await judged(made, signed(sign=another))).reason is MISMATCH
            assert (await judged(made, signed(parameters=f'{STAMP};alg="{other}"', sign=sign))).reason is MISMATCH
    assert (await judged(made, signed(sign=lambda base: b""))).reason is MISMATCH


async def test_a_public_key_is_no_shared_secret(tmp_path: Path) -> None:
    """Whoever knows the public key cannot sign with it as if it were a shared secret."""
    made = await gate(tmp_path, pem(RSA))
    for key in (pem(RSA).encode(), pem(RSA).strip().encode(), RSA.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)):

        def forge(base: bytes, key: bytes = key) -> bytes:
            return hmac.digest(key, base, "sha256")

        for parameters in (STAMP, STAMP + ';alg="hmac-sha256"'):
            assert (await judged(made, signed(parameters=parameters, sign=forge))).reason is MISMATCH


async def test_signature_in_der(tmp_path: Path) -> None:
    """ECDSA is r and s side by side; the form that other senders use is refused."""
    made = await gate(tmp_path, pem(P256))
    assert (await judged(made, signed(sign=lambda base: P256.sign(base, ec.ECDSA(SHA256()))))).reason is MISMATCH


async def test_key_id(tmp_path: Path) -> None:
    """A signature that names one of the secrets counts for that one alone; a name that is none of ours says nothing."""
    made = await gate(tmp_path, base64.b64encode(b"x" * 31 + b"y").decode(), SHARED)
    for keyid, reason in (("s1", OK), ("s0", MISMATCH), ("elsewhere", OK)):
        found = await judged(made, signed(parameters=f'{STAMP};keyid="{keyid}"'))
        assert found.reason is reason
        assert found.judgement.secret == ("s1" if reason is OK else "")


async def test_address(tmp_path: Path) -> None:
    """Without a public address the Host field and the connection say where a request went."""
    rule = {"scheme": "http-message-signatures", "components": ["@target-uri"]}
    made = await compiled(tmp_path, {"secrets": [{"id": "s", "value": SHARED}], "rules": {"signature": rule}})
    fields = signed(("@target-uri",), worth={'"@target-uri"': "http://bot.example.com:443/hook"})
    assert (await made.judge(request(BODY, [FIELDS[0], *fields]))).reason is OK
    assert (await made.judge(request(BODY, [FIELDS[0], *fields], https=True))).reason is MISMATCH
    fields = signed(("@target-uri",), worth={'"@target-uri"': "https://bot.example.com/hook"})
    assert (await made.judge(request(BODY, [FIELDS[0], *fields], https=True))).reason is OK
    assert (await made.judge(request(BODY, [(b"Host", b"evil.example.com"), *fields], https=True))).reason is MISMATCH


BAD_KEYS: list[tuple[str, str, dict[str, str]]] = [
    ("is neither a public key as PEM", "not base64 at all, but long enough", {}),
    ("is not a public key or certificate as PEM", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", {}),
    ("is a key for ed25519, and signature.algorithm says hmac-sha256", pem(ED), {"algorithm": "hmac-sha256"}),
    ("is a key for rsa-pss-sha512 or rsa-v1_5-sha256, and", pem(RSA), {"algorithm": "ed25519"}),
    ("is a key of a kind or size", pem(rsa.generate_private_key(65537, 1024)), {}),  # noqa: S505 - to be refused
    ("is a key of a kind or size", pem(ec.generate_private_key(ec.SECP256K1())), {}),
    ("is shorter than 16 bytes", base64.b64encode(b"123456789012345").decode(), {}),
]


@pytest.mark.parametrize(("message", "secret", "settings"), BAD_KEYS, ids=[row[0] for row in BAD_KEYS])
async def test_a_secret_that_is_no_key(message: str, secret: str, settings: dict[str, str], tmp_path: Path) -> None:
    """A secret that cannot be a key for the policy's algorithm is a fault that shows what was expected and none of the secret."""
    with pytest.raises(PolicyError) as caught:
        await gate(tmp_path, secret, **settings)
    assert message in str(caught.value)
    assert secret[:20] not in str(caught.value)


async def test_repeated_parameters_of_the_query(tmp_path: Path) -> None:
    """A parameter that stands twice in the query cannot be covered, since the bot may read the other one."""
    made = await gate(tmp_path)
    fields = [*FIELDS, *signed((*ALL, '"@query-param";name="a"'))]
    assert (await made.judge(request(BODY, fields, target=b"/hook?a=1"))).reason is OK
    for query in (b"a=1&a=1", b"a=1&%61=2", b"a=1&" + b"&".join([b"x=1"] * 1000)):
        assert (await made.judge(request(BODY, fields, target=b"/hook?" + query))).reason is MALFORMED
