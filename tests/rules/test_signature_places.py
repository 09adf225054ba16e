"""The plain token wherever it may stand: query, JSON, each element of a list, a form, basic credentials; under two names."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from proxy.messages import Field
from proxy.verdict import Reason
from tests.pipeline.judging import NOW, SECRET, Compiled, compiled, request, secrets

OK, MISSING, MALFORMED, MISMATCH = (
    Reason.NONE,
    Reason.SIGNATURE_MISSING,
    Reason.SIGNATURE_MALFORMED,
    Reason.SIGNATURE_MISMATCH,
)
OTHER = "another-secret-of-thirty-two-byte"


def told(body: object) -> bytes:
    """JSON."""
    return json.dumps(body).encode()


async def token_gate(folder: Path, *values: str, **settings: Any) -> Compiled:
    """A gate whose only rule is a token with these settings."""
    rules = {"signature": {"scheme": "token", **settings}}
    return await compiled(folder, {"query": "pass", "secrets": secrets(*(values or (SECRET,))), "rules": rules})


def basic(text: str) -> Field:
    """Basic credentials (RFC 7617)."""
    return b"Authorization", b"Basic " + base64.b64encode(text.encode())


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (f"/hook?a=1&token={SECRET}", OK),
        (f"/hook?token={SECRET.replace('-', '%2D')}", OK),
        (f"/hook?tok%65n={SECRET}", OK),
        (f"/hook?token={OTHER}", MISMATCH),
        (f"/hook?token={SECRET}x", MISMATCH),
        (f"/hook?token={SECRET}&token={SECRET}", MISSING),
        ("/hook?token=", MISSING),
        (f"/hook?Token={SECRET}", MISSING),
        ("/hook?token", MISSING),
        ("/hook?" + "a=1&" * 1000 + f"token={SECRET}", MISSING),
    ],
)
async def test_query(target: str, reason: Reason, tmp_path: Path) -> None:
    """A token in the query counts once, decoded, under its exact name; among a thousand fields it is not looked for."""
    gate = await token_gate(tmp_path, source="query:token")
    assert (await gate.judge(request(target=target.encode()))).reason is reason


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (told({"a": {"token": SECRET}}), OK),
        (told({"a": {"token": OTHER}}), MISMATCH),
        (told({"a": {"token": SECRET.upper()}}), MISMATCH),
        (told({"a": {"token": [SECRET]}}), MISSING),
        (told({"a": {"token": None}}), MISSING),
        (told({"a": {"token": ""}}), MISSING),
        (told({"token": SECRET}), MISSING),
        (told([{"token": SECRET}]), MISSING),
        (b"{", MISSING),
        (b"", MISSING),
    ],
)
async def test_json(body: bytes, reason: Reason, tmp_path: Path) -> None:
    """A token at a JSON pointer is compared as text; of another type, or elsewhere, it is none."""
    gate = await token_gate(tmp_path, source="json:/a/token")
    assert (await gate.judge(request(body))).reason is reason


@pytest.mark.parametrize(
    ("states", "reason"),
    [
        ([SECRET], OK),
        ([SECRET, SECRET, SECRET], OK),
        ([SECRET, OTHER], MISMATCH),
        ([OTHER, SECRET], MISMATCH),
        ([SECRET, None], MISMATCH),
        ([SECRET, ""], MISMATCH),
        ([SECRET, 7], MISMATCH),
        ([], MISSING),
    ],
)
async def test_every_element(states: list[Any], reason: Reason, tmp_path: Path) -> None:
    """With ``*`` each element of the list must hold the token, and there must be one."""
    gate = await token_gate(tmp_path, source="json:/value/*/state")
    body = told({"value": [{"state": one} for one in states]})
    assert (await gate.judge(request(body))).reason is reason


async def test_elements_of_one_secret(tmp_path: Path) -> None:
    """All elements must hold one and the same secret: half of the old one and half of the new one is none."""
    gate = await token_gate(tmp_path, SECRET, OTHER, source="json:/value/*/state")
    for one in (SECRET, OTHER):
        judged = await gate.judge(request(told({"value": [{"state": one}, {"state": one}]})))
        assert judged.reason is OK
    mixed = told({"value": [{"state": SECRET}, {"state": OTHER}]})
    assert (await gate.judge(request(mixed))).reason is MISMATCH


async def test_nested_lists(tmp_path: Path) -> None:
    """Two ``*`` mean each element of each list."""
    gate = await token_gate(tmp_path, source="json:/a/*/b/*/t")
    good = {"a": [{"b": [{"t": SECRET}]}, {"b": [{"t": SECRET}, {"t": SECRET}]}]}
    assert (await gate.judge(request(told(good)))).reason is OK
    bad = {"a": [{"b": [{"t": SECRET}]}, {"b": [{"t": SECRET}, {"t": OTHER}]}]}
    assert (await gate.judge(request(told(bad)))).reason is MISMATCH


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (f"a=1&token={SECRET}", OK),
        (f"token={SECRET}&token={SECRET}", MISSING),
        (f"token={OTHER}", MISMATCH),
        ("a=1", MISSING),
    ],
)
async def test_form(body: str, reason: Reason, tmp_path: Path) -> None:
    """A token in a form field counts once."""
    gate = await token_gate(tmp_path, source="form:token")
    assert (await gate.judge(request(body.encode()))).reason is reason


@pytest.mark.parametrize(
    ("part", "given", "reason"),
    [
        ("password", basic(f"anybody:{SECRET}"), OK),
        ("password", basic(f":{SECRET}"), OK),
        ("password", basic(f"{SECRET}:{OTHER}"), MISMATCH),
        ("password", basic(SECRET), MISSING),
        ("password", (b"Authorization", b"basic " + base64.b64encode(f"a:{SECRET}".encode())), OK),
        ("password", (b"Authorization", b"Basic not base64!"), MISSING),
        ("password", (b"Authorization", b"Bearer " + SECRET.encode()), MISSING),
        ("password", (b"Authorization", b""), MISSING),
        ("credentials", basic(SECRET.replace("secret", "secret:", 1)), MISMATCH),
    ],
)
async def test_basic(part: str, given: Field, reason: Reason, tmp_path: Path) -> None:
    """Basic credentials are compared by their password, or whole; whatever cannot be read is none."""
    gate = await token_gate(tmp_path, source=f"basic:{part}")
    assert (await gate.judge(request(fields=[given]))).reason is reason


async def test_whole_credentials(tmp_path: Path) -> None:
    """Name and password together are the secret where the policy says so."""
    gate = await token_gate(tmp_path, f"adyen:{SECRET}", source="basic:credentials")
    assert (await gate.judge(request(fields=[basic(f"adyen:{SECRET}")]))).reason is OK
    assert (await gate.judge(request(fields=[basic(f"other:{SECRET}")]))).reason is MISMATCH
    assert (await gate.judge(request(fields=[basic(f"adyen:{SECRET}")] * 2))).reason is MISSING


@pytest.mark.parametrize(
    ("fields", "target", "reason"),
    [
        ([(b"Authorization", b"Bearer " + SECRET.encode())], "/hook", OK),
        ([], f"/hook?access_token={SECRET}", OK),
        ([(b"Authorization", b"Bearer " + OTHER.encode())], f"/hook?access_token={SECRET}", MISMATCH),
        ([(b"Authorization", b"Bearer " + SECRET.encode())], f"/hook?access_token={OTHER}", OK),
        ([(b"Authorization", b"Digest x")], f"/hook?access_token={SECRET}", OK),
        ([(b"Authorization", SECRET.encode())], "/hook", MISSING),
        ([(b"Authorization", b"Bearer " + SECRET.encode())] * 2, "/hook", MALFORMED),
        ([], f"/hook?access_token=Bearer%20{SECRET}", MISMATCH),
    ],
)
async def test_bearer_or_query(fields: list[Field], target: str, reason: Reason, tmp_path: Path) -> None:
    """The first place that has a token decides alone: a wrong one there is not saved by a right one in the second."""
    gate = await token_gate(tmp_path, header="Authorization", prefix="Bearer ", otherwise="query:access_token")
    assert (await gate.judge(request(fields=fields, target=target.encode()))).reason is reason


@pytest.mark.parametrize("place", ["query:t", "basic:password"])
async def test_at_the_door(place: str, tmp_path: Path) -> None:
    """A token that the head shows is judged before a byte of the body is read."""
    gate = await token_gate(tmp_path, source=place)
    asked = request(b"x" * 100).head._replace(length=10**9)
    refusal = gate.gate.door(asked, gate.gate.open())
    assert refusal is not None
    assert refusal.reason is MISSING


async def test_missing_may_pass(tmp_path: Path) -> None:
    """Where a missing token is neutral, a wrong one is still refused."""
    gate = await token_gate(tmp_path, source="json:/t", when_missing="pass")
    assert (await gate.judge(request(told({})))).reason is OK
    assert (await gate.judge(request(told({"t": OTHER})))).reason is MISMATCH


async def test_only_active_secrets(tmp_path: Path) -> None:
    """A secret counts until its end, wherever it stands."""
    ends = [{"id": "a", "value": SECRET, "not_after": "2026-01-02T00:00:00Z"}]
    rules = {"signature": {"scheme": "token", "source": "json:/t"}}
    gate = await compiled(tmp_path, {"secrets": ends, "rules": rules})
    body = told({"t": SECRET})
    assert (await gate.judge(request(body, arrived=NOW + 86399))).reason is OK
    assert (await gate.judge(request(body, arrived=NOW + 86400))).reason is MISMATCH


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ([(b"X-New", SECRET.encode())], OK),
        ([(b"x-old", SECRET.encode())], OK),
        ([(b"X-New", SECRET.encode()), (b"X-Old", SECRET.encode())], MISSING),
        ([(b"X-New", OTHER.encode())], MISMATCH),
        ([], MISSING),
    ],
)
async def test_either_name(fields: list[Field], reason: Reason, tmp_path: Path) -> None:
    """Of two names a request has exactly one: with both, nobody can tell which is meant."""
    gate = await token_gate(tmp_path, header="X-New|X-Old")
    assert (await gate.judge(request(fields=fields))).reason is reason
