"""JSON Web Tokens: whose they must be, for whom, when, and with which key; and what no token can choose about itself."""

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from proxy.errors import PolicyError
from proxy.messages import Field
from proxy.verdict import Reason
from tests.pipeline.judging import NOW, Compiled, compiled, request

OK, MISSING, MALFORMED, MISMATCH = Reason.NONE, Reason.SIGNATURE_MISSING, Reason.SIGNATURE_MALFORMED, Reason.SIGNATURE_MISMATCH

RSA, OTHER = rsa.generate_private_key(65537, 2048), rsa.generate_private_key(65537, 2048)
EC, ED = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
BODY = b'{"type":"message","serviceUrl":"https://smba.example.com/","channelId":"msteams"}'
CLAIMS = {"iss": "https://issuer.example.com", "aud": "app-1", "exp": NOW + 600, "nbf": NOW - 60, "iat": NOW - 60}


def jwk(key: Any, kid: str | None = "k1", **members: Any) -> dict[str, Any]:
    """A private key's public half, as identity providers publish it."""
    kinds: dict[type, Any] = {rsa.RSAPrivateKey: RSAAlgorithm, ec.EllipticCurvePrivateKey: ECAlgorithm}
    kind = next((one for of, one in kinds.items() if isinstance(key, of)), OKPAlgorithm)
    return {**kind.to_jwk(key.public_key(), as_dict=True), **({"kid": kid} if kid else {}), **members}


def jwks(*keys: dict[str, Any]) -> str:
    """A JWK set."""
    return json.dumps({"keys": keys or (jwk(RSA),)})


def token(
    key: Any = RSA, algorithm: str = "RS256", kid: str | None = "k1", header: dict[str, Any] | None = None, **claims: Any
) -> str:
    """A token; a claim that is ``None`` is left out."""
    held = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    return jwt.encode(held, key, algorithm, headers={**({"kid": kid} if kid else {}), **(header or {})})


def bearer(text: str) -> list[Field]:
    """The header that a token stands in."""
    return [(b"Authorization", b"Bearer " + text.encode())]


async def gate(folder: Path, keys: str | None = None, app: str = "app-1", **settings: Any) -> Compiled:
    """A gate that asks for a token of this issuer for this app, signed with one of these keys."""
    rule = {"scheme": "jwt", "issuers": ["https://issuer.example.com"], "audience_from": "app_id", **settings}
    values = {"app_id": {"value": app}, "jwks": {"value": keys or jwks()}}
    return await compiled(folder, {"secrets": [{"id": "s", "values": values}], "rules": {"signature": rule}})


async def reason(made: Compiled, text: str, body: bytes = BODY, **facts: Any) -> Reason:
    """What becomes of a request with this token."""
    return (await made.judge(request(body, bearer(text), **facts))).reason


TOKENS: list[tuple[str, dict[str, Any], Reason]] = [
    ("as it should be", {}, OK),
    ("for several, us among them", {"aud": ["other", "app-1"]}, OK),
    ("without nbf and iat", {"nbf": None, "iat": None}, OK),
    ("a claim that nobody asks for", {"extra": {"a": [1]}}, OK),
    ("for another app", {"aud": "app-2"}, MISMATCH),
    ("for several others", {"aud": ["app-2", "app-3"]}, MISMATCH),
    ("for nobody", {"aud": None}, MISMATCH),
    ("for a number", {"aud": 1}, MISMATCH),
    ("for a list of numbers", {"aud": [1]}, MISMATCH),
    ("for part of our name", {"aud": "app"}, MISMATCH),
    ("from another issuer", {"iss": "https://evil.example.com"}, MISMATCH),
    ("from an issuer that begins as ours", {"iss": "https://issuer.example.com.evil.org"}, MISMATCH),
    ("from nobody", {"iss": None}, MISMATCH),
    ("without an end", {"exp": None}, MISMATCH),
    ("ended, within the leeway", {"exp": NOW - 59}, OK),
    ("ended, beyond the leeway", {"exp": NOW - 60}, MISMATCH),
    ("not begun, within the leeway", {"nbf": NOW + 60}, OK),
    ("not begun, beyond the leeway", {"nbf": NOW + 61}, MISMATCH),
    ("made in the future", {"iat": NOW + 61}, MISMATCH),
    ("signed by another", {"key": OTHER}, MISMATCH),
    ("with a key that nobody knows", {"kid": "k2"}, MISMATCH),
    ("without a key's name, where there is one key", {"kid": None}, OK),
    ("signed with another hash", {"algorithm": "RS512"}, MISMATCH),
    ("signed with another padding", {"algorithm": "PS256"}, MISMATCH),
    ("with an extension that must be understood", {"header": {"crit": ["x"], "x": 1}}, MISMATCH),
    ("with a body that stands elsewhere", {"header": {"b64": False}}, MISMATCH),
    ("with keys of its own", {"key": OTHER, "header": {"jwk": jwk(OTHER)}}, MISMATCH),
    ("with an address of keys", {"key": OTHER, "header": {"jku": "https://evil.example.com/keys"}}, MISMATCH),
    ("with a certificate of its own", {"key": OTHER, "header": {"x5c": ["AAAA"], "x5u": "https://evil.example.com"}}, MISMATCH),
]


@pytest.mark.parametrize(("changes", "expected"), [row[1:] for row in TOKENS], ids=[row[0] for row in TOKENS])
async def test_tokens(changes: dict[str, Any], expected: Reason, tmp_path: Path) -> None:
    """A token passes when issuer, app, times, key and algorithm are those of the policy, whatever else it says about itself."""
    assert await reason(await gate(tmp_path), token(**changes)) is expected


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


async def test_none_and_its_like(tmp_path: Path) -> None:
    """A token that says that it needs no signature, in whatever case, is refused, with a signature and without."""
    made = await gate(tmp_path)
    signature = token().rpartition(".")[2]
    for algorithm in ("none", "None", "NONE", "nOnE", "", None, 0, ["RS256"]):
        for end in ("", signature):
            forged = f"{_part({'alg': algorithm, 'kid': 'k1'})}.{_part(CLAIMS)}.{end}"
            assert await reason(made, forged) is MISMATCH, algorithm


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_a_public_key_is_no_shared_secret(algorithm: str, tmp_path: Path) -> None:
    """Whoever knows the public key cannot sign with it as if it were a shared secret, however it is written."""
    made = await gate(tmp_path)
    public = RSA.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    hash_ = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}[algorithm]
    for key in (
        pem,
        pem.strip(),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        jwks().encode(),
        b"",
        b"k1",
    ):
        message = f"{_part({'alg': algorithm, 'kid': 'k1'})}.{_part(CLAIMS)}"
        signature = base64.urlsafe_b64encode(hmac.new(key, message.encode(), hash_).digest()).rstrip(b"=").decode()
        assert await reason(made, f"{message}.{signature}") is MISMATCH


WRITTEN: list[tuple[str, list[Field], Reason]] = [
    ("no header", [], MISSING),
    ("an empty header", [(b"Authorization", b"")], MISSING),
    ("the header twice", bearer(token()) * 2, MALFORMED),
    ("in small letters", [(b"authorization", b"bearer " + token().encode())], OK),
    ("another way to authenticate", [(b"Authorization", b"Basic dXNlcjpwYXNz")], MALFORMED),
    ("no word before it", [(b"Authorization", token().encode())], MALFORMED),
    ("nothing behind the word", [(b"Authorization", b"Bearer ")], MALFORMED),
    ("two parts", bearer("a.b"), MALFORMED),
    ("four parts", bearer(token() + ".x"), MALFORMED),
    ("five parts, as what is encrypted", bearer("a.b.c.d.e"), MALFORMED),
    ("no base64", bearer("!!!.???.###"), MALFORMED),
    ("no JSON", bearer("YQ.YQ.YQ"), MALFORMED),
    ("JSON that is no object", bearer(f"{_part([1])}.{_part(CLAIMS)}.YQ"), MALFORMED),
    ("a key's name that is a number", bearer(f"{_part({'alg': 'RS256', 'kid': 1})}.{_part(CLAIMS)}.YQ"), MALFORMED),
    ("claims that are no object", bearer(jwt.PyJWS().encode(b"[1]", RSA, "RS256", {"kid": "k1"})), MISMATCH),
    ("claims that are no JSON", bearer(jwt.PyJWS().encode(b"\xff", RSA, "RS256", {"kid": "k1"})), MISMATCH),
    ("two tokens", bearer(f"{token()}, {token()}"), MALFORMED),
    ("no text", [(b"Authorization", b"Bearer \xff\xfe.\xff.\xff")], MALFORMED),
    ("very long", bearer("a" * 20_000), MALFORMED),
    ("no times but words", bearer(token(exp="2030")), MISMATCH),
]


@pytest.mark.parametrize(("fields", "expected"), [row[1:] for row in WRITTEN], ids=[row[0] for row in WRITTEN])
async def test_written(fields: list[Field], expected: Reason, tmp_path: Path) -> None:
    """What is no token is malformed; nothing that stands in the header breaks the rule."""
    assert (await (await gate(tmp_path)).judge(request(BODY, fields))).reason is expected


async def test_every_byte(tmp_path: Path) -> None:
    """One character of the token changed, and it passes no more; the body is not covered, as the documentation says."""
    made = await gate(tmp_path)
    text = token()
    for index, character in enumerate(text):
        changed = text[:index] + ("A" if character != "A" else "B") + text[index + 1 :]
        assert await reason(made, changed) in {MALFORMED, MISMATCH}, index
    assert await reason(made, text, b"another body") is OK


KEYS: list[tuple[str, list[dict[str, Any]], dict[str, Any], Reason]] = [
    ("two keys, ours named", [jwk(OTHER, "a"), jwk(RSA, "b")], {"kid": "b"}, OK),
    ("two keys, the other named", [jwk(OTHER, "a"), jwk(RSA, "b")], {"kid": "a"}, MISMATCH),
    ("two keys, none named", [jwk(OTHER, "a"), jwk(RSA, "b")], {"kid": None}, MISMATCH),
    ("one key without a name", [jwk(RSA, None)], {"kid": "k1"}, OK),
    ("a key for what is encrypted", [jwk(RSA, use="enc"), jwk(OTHER, "a")], {}, MISMATCH),
    ("a key that may not verify", [jwk(RSA, key_ops=["encrypt"]), jwk(OTHER, "a")], {}, MISMATCH),
    ("a key for another algorithm", [jwk(RSA, alg="RS512"), jwk(OTHER, "a")], {}, MISMATCH),
    ("a shared secret of that name", [{"kty": "oct", "k": "YWJj", "kid": "k1"}, jwk(OTHER, "a")], {}, MISMATCH),
    ("garbage beside it", [{"kty": "RSA"}, {"kty": "new"}, jwk(RSA)], {}, OK),
]


@pytest.mark.parametrize(("keys", "changes", "expected"), [row[1:] for row in KEYS], ids=[row[0] for row in KEYS])
async def test_keys(keys: list[dict[str, Any]], changes: dict[str, Any], expected: Reason, tmp_path: Path) -> None:
    """Of several keys the one that the token names counts, for what it is meant for."""
    assert await reason(await gate(tmp_path, jwks(*keys)), token(**changes)) is expected


@pytest.mark.parametrize(("key", "algorithm"), [(EC, "ES256"), (ED, "EdDSA"), (RSA, "PS256"), (RSA, "RS512")])
async def test_algorithms(key: Any, algorithm: str, tmp_path: Path) -> None:
    """Each algorithm that the policy allows passes with a key that is made for it, and no other algorithm does."""
    made = await gate(tmp_path, jwks(jwk(key)), algorithms=[algorithm])
    assert await reason(made, token(key, algorithm)) is OK
    assert await reason(made, token()) is MISMATCH


async def test_a_shared_secret(tmp_path: Path) -> None:
    """With HS256 the secret is the key; it must be long enough, and every active one is tried."""
    keys = ["first-shared-secret-of-32-bytes-0", "second-shared-secret-of-32-bytes-"]
    rule = {"scheme": "jwt", "algorithms": ["HS256"], "issuers": ["https://issuer.example.com"]}
    listed = [{"id": f"s{index}", "value": key} for index, key in enumerate(keys)]
    made = await compiled(tmp_path, {"secrets": listed, "rules": {"signature": rule}})
    for index, key in enumerate(keys):
        judged = await made.judge(request(BODY, bearer(token(key, "HS256", None))))
        assert (judged.reason, judged.judgement.secret) == (OK, f"s{index}")
    assert await reason(made, token("third--shared-secret-of-32-bytes-", "HS256")) is MISMATCH
    assert await reason(made, token()) is MISMATCH
    with pytest.raises(PolicyError, match="is shorter than the 32 bytes that HS256 needs"):
        await compiled(tmp_path, {"secrets": [{"id": "s", "value": "only-twenty-bytes-0123"}], "rules": {"signature": rule}})


SAME: list[tuple[str, bytes, dict[str, Any], Reason]] = [
    ("the same", BODY, {}, OK),
    ("written with escapes", BODY.replace(b"https://smba", b"https:\\/\\/smba"), {}, OK),
    ("another in the body", BODY.replace(b"smba", b"evil"), {}, MISMATCH),
    ("another in the token", BODY, {"serviceurl": "https://evil.example.com/"}, MISMATCH),
    ("none in the token", BODY, {"serviceurl": None}, MISMATCH),
    ("none in the body", b'{"channelId":"msteams"}', {}, MISMATCH),
    ("none in either", b'{"channelId":"msteams"}', {"serviceurl": None}, MISMATCH),
    ("null in both", b'{"channelId":"msteams","serviceUrl":null}', {"serviceurl": None}, MISMATCH),
    ("twice in the body", BODY[:-1] + b',"serviceUrl":"https://smba.example.com/"}', {}, MISMATCH),
    ("twice, once with an escape", b'{"service\\u0055rl":"https://evil.example.com/",' + BODY[1:], {}, MISMATCH),
    ("a body that is no JSON", b"serviceUrl", {}, MISMATCH),
    ("a channel that the key is not for", BODY.replace(b"msteams", b"slack"), {}, MISMATCH),
    ("no channel", BODY.replace(b"channelId", b"channel"), {}, MISMATCH),
    ("two channels", BODY[:-1] + b',"channelId":"slack"}', {}, MISMATCH),
]


@pytest.mark.parametrize(("body", "changes", "expected"), [row[1:] for row in SAME], ids=[row[0] for row in SAME])
async def test_bound_to_the_body(body: bytes, changes: dict[str, Any], expected: Reason, tmp_path: Path) -> None:
    """What a token or its key repeats of the body must stand there, once."""
    settings: dict[str, Any] = {"same": {"serviceurl": "json:/serviceUrl"}, "key_lists": {"endorsements": "json:/channelId"}}
    made = await gate(tmp_path, jwks(jwk(RSA, endorsements=["msteams", "webchat"])), **settings)
    assert await reason(made, token(**{"serviceurl": "https://smba.example.com/", **changes}), body) is expected


async def test_a_key_without_a_list(tmp_path: Path) -> None:
    """A key that names no channels is good for all of them."""
    made = await gate(tmp_path, key_lists={"endorsements": "json:/channelId"})
    assert await reason(made, token()) is OK


async def test_exact_claims(tmp_path: Path) -> None:
    """A claim that must be exactly something is; that it is true, or longer, does not do."""
    made = await gate(tmp_path, claims={"email": "chat@example.com"})
    assert await reason(made, token(email="chat@example.com")) is OK
    for other in (None, "chat@example.com.evil.org", "CHAT@example.com", True, ["chat@example.com"]):
        assert await reason(made, token(email=other)) is MISMATCH


async def test_several_apps(tmp_path: Path) -> None:
    """Each secret has its own app, keys, issuer and time; the one whose app is meant is told."""
    rule = {"scheme": "jwt", "issuers": ["https://issuer.example.com"], "audience_from": "app_id"}
    listed = [
        {"id": "one", "values": {"app_id": {"value": "app-1"}, "jwks": {"value": jwks()}}},
        {"id": "two", "values": {"app_id": {"value": "app-2"}, "jwks": {"value": jwks(jwk(OTHER))}, "iss": {"value": "other"}}},
        {"id": "old", "values": {"app_id": {"value": "app-3"}, "jwks": {"value": jwks()}}, "not_after": "2026-01-01T00:00:01Z"},
    ]
    made = await compiled(tmp_path, {"secrets": listed, "rules": {"signature": rule}})
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "one"),
        ({"key": OTHER, "aud": "app-2", "iss": "other"}, "two"),
        ({"key": OTHER, "aud": "app-2"}, ""),
        ({"aud": "app-2", "iss": "other"}, ""),
        ({"key": OTHER}, ""),
        ({"aud": "app-3"}, "old"),
    ]
    for changes, secret in cases:
        judged = await made.judge(request(BODY, bearer(token(**changes))))
        assert (judged.reason, judged.judgement.secret) == (OK if secret else MISMATCH, secret), changes
    assert await reason(made, token(aud="app-3"), arrived=NOW + 1) is MISMATCH


FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("they cannot stand side by side", {"algorithms": ["RS256", "HS256"]}),
    ("keys are fetched over https", {"jwks_url": "http://keys.example.com/jwks"}),
    ("keys are fetched over https", {"openid_url": "http://127.0.0.1.example.com/"}),
    ("only one of jwks_url, openid_url", {"jwks_url": "https://a.example.com/", "openid_url": "https://a.example.com/"}),
    ("serviceurl can only be compared with json:/POINTER", {"same": {"serviceurl": "header:X-Service"}}),
]


@pytest.mark.parametrize(("message", "settings"), FAULTS, ids=[row[0] for row in FAULTS])
async def test_faults(message: str, settings: dict[str, Any], tmp_path: Path) -> None:
    """Settings that would let strangers in are faults of the policy."""
    with pytest.raises(PolicyError) as caught:
        await gate(tmp_path, **settings)
    assert message in str(caught.value)


async def test_for_anybody(tmp_path: Path) -> None:
    """A policy that does not say for whom a token must be is at fault: its issuer signs for others too."""
    rule = {"scheme": "jwt", "jwks_url": "https://keys.example.com/jwks"}
    with pytest.raises(PolicyError, match="whatever its issuer signs for others would pass"):
        await compiled(tmp_path, {"rules": {"signature": rule}})


@pytest.mark.parametrize("keys", ["no JSON", "{}", '{"keys":[]}', json.dumps({"keys": [{"kty": "oct", "k": "c2VjcmV0"}]})])
async def test_keys_that_are_none(keys: str, tmp_path: Path) -> None:
    """Keys that are of no use are a fault that shows nothing of them."""
    with pytest.raises(PolicyError, match="jwks is not a JWK set") as caught:
        await gate(tmp_path, keys)
    assert "c2VjcmV0" not in str(caught.value)
