"""One of several ways to sign: the first that a request is made for decides alone, so that no newer one is bypassed."""

import hashlib
import hmac
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import PolicyError
from proxy.messages import Field
from proxy.verdict import Reason
from tests.pipeline.judging import SECRET, Compiled, compiled, request, secrets

OK, MISSING, MALFORMED, MISMATCH = (
    Reason.NONE,
    Reason.SIGNATURE_MISSING,
    Reason.SIGNATURE_MALFORMED,
    Reason.SIGNATURE_MISMATCH,
)
BODY = b"body"
NEW = hmac.digest(SECRET.encode(), BODY, "sha256").hex().encode()
OLD = hashlib.sha256(SECRET.encode() + BODY).hexdigest().encode()
OLDER = hashlib.sha256(BODY + SECRET.encode()).hexdigest().encode()
WAYS: list[dict[str, Any]] = [
    {"signature": {"scheme": "hmac", "header": "X-New", "template": "{body}"}},
    {"when": ["header:X-Version=2"], "signature": {"scheme": "hash", "header": "X-Old", "template": "{secret}{body}"}},
    {"signature": {"scheme": "hash", "header": "X-Old", "template": "{body}{secret}"}},
]


async def either(folder: Path, **settings: Any) -> Compiled:
    """A gate with three ways to sign."""
    rules = {"signature": {"scheme": "any", "of": WAYS, **settings}}
    return await compiled(folder, {"secrets": secrets(SECRET), "rules": rules})


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ([(b"X-New", NEW)], OK),
        ([(b"X-Old", OLD), (b"X-Version", b"2")], OK),
        ([(b"X-Old", OLDER)], OK),
        ([(b"X-Old", OLDER), (b"X-Version", b"1")], OK),
        ([(b"X-New", NEW), (b"X-Old", b"rubbish")], OK),
        ([(b"X-New", OLD), (b"X-Old", OLDER)], MISMATCH),
        ([(b"X-New", b"rubbish"), (b"X-Old", OLDER)], MALFORMED),
        ([(b"X-New", NEW), (b"X-New", NEW), (b"X-Old", OLDER)], MALFORMED),
        ([(b"X-Old", OLDER), (b"X-Version", b"2")], MISMATCH),
        ([(b"X-Old", OLD), (b"X-Version", b"1")], MISMATCH),
        ([(b"X-Old", OLD)], MISMATCH),
        ([(b"X-Old", OLD), (b"X-Version", b"2"), (b"X-Version", b"2")], MISMATCH),
        ([(b"X-New", b""), (b"X-Old", OLDER)], OK),
        ([(b"X-Version", b"2")], MISSING),
        ([], MISSING),
    ],
)
async def test_which(fields: list[Field], reason: Reason, tmp_path: Path) -> None:
    """A wrong signature of a newer way is not saved by a right one of an older; what a way needs to stand decides whose it is."""
    gate = await either(tmp_path)
    assert (await gate.judge(request(BODY, fields))).reason is reason


async def test_changed_body(tmp_path: Path) -> None:
    """Each way covers the body."""
    gate = await either(tmp_path)
    for fields in ([(b"X-New", NEW)], [(b"X-Old", OLD), (b"X-Version", b"2")], [(b"X-Old", OLDER)]):
        assert (await gate.judge(request(BODY + b" ", fields))).reason is MISMATCH


async def test_missing_may_pass(tmp_path: Path) -> None:
    """Where none at all is neutral, a wrong one is still refused."""
    gate = await either(tmp_path, when_missing="pass")
    assert (await gate.judge(request(BODY))).reason is OK
    assert (await gate.judge(request(BODY, [(b"X-New", OLD)]))).reason is MISMATCH


@pytest.mark.parametrize(
    "ways",
    [
        WAYS[:1],
        [],
        [*WAYS[:1], {"signature": {"scheme": "any", "of": WAYS}}],
        [*WAYS[:1], {"signature": {"scheme": "twilio", "header": "X-Twilio-Signature"}}],
        [*WAYS[:1], {"when": ["header:X-Version"], "signature": WAYS[0]["signature"]}],
        [*WAYS[:1], {"when": ["nowhere:a=b"], "signature": WAYS[0]["signature"]}],
        [*WAYS[:1], {"signature": {"scheme": "hmac", "header": "X-Old"}}],
        [*WAYS[:1], {"signature": {**WAYS[2]["signature"], "when_missing": "pass"}}],
    ],
    ids=["one", "none", "nested", "no plain scheme", "no value", "no place", "no template", "one that may be missing"],
)
async def test_faults(ways: list[dict[str, Any]], tmp_path: Path) -> None:
    """What is no choice among plain schemes is a fault of the policy."""
    with pytest.raises(PolicyError) as caught:
        await either(tmp_path, of=ways)
    assert all(fault.path.startswith("routes[0].rules.signature.of") for fault in caught.value.faults)
