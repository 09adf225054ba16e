"""Type, coding and size as declared and as they are; nothing is decoded."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from proxy.messages import Field
from proxy.verdict import Mode, Reason, RuleName
from tests.pipeline.judging import NOW, compiled, request

OK, TYPE, CODING, LARGE = Reason.NONE, Reason.CONTENT_TYPE_REFUSED, Reason.CONTENT_ENCODING_REFUSED, Reason.BODY_TOO_LARGE

TYPES: list[tuple[list[bytes], Reason]] = [
    ([b"application/json"], OK),
    ([b"application/json; charset=utf-8"], OK),
    ([b"Application/JSON;charset=UTF-8"], OK),
    ([b" application/json ; x=y"], OK),
    ([], TYPE),
    ([b""], TYPE),
    ([b";application/json"], TYPE),
    ([b"application/json, text/plain"], TYPE),
    ([b"application/jsonp"], TYPE),
    ([b"application/json+x"], TYPE),
    ([b"text/plain"], TYPE),
    ([b"application"], TYPE),
    ([b"\xff"], TYPE),
    ([b"a" * 10_000], TYPE),
    ([b"application/json", b"text/plain"], TYPE),
    ([b"text/plain", b"application/json"], TYPE),
]


@pytest.mark.parametrize(("values", "reason"), TYPES)
async def test_types(values: list[bytes], reason: Reason, tmp_path: Path) -> None:
    """The media type is compared without its parameters and without case; a missing or doubled one is refused."""
    gate = await compiled(tmp_path, {"insecure": True, "rules": {"content": {"types": ["application/json"]}}})
    assert (await gate.judge(request(b"{}", [(b"content-TYPE", value) for value in values]))).reason is reason


CODINGS: list[tuple[list[str], list[bytes], Reason]] = [
    (["identity"], [], OK),
    (["identity"], [b""], OK),
    (["identity"], [b"identity"], OK),
    (["identity"], [b"IDENTITY "], OK),
    (["identity"], [b"gzip"], CODING),
    (["identity"], [b"gzip, identity"], CODING),
    (["identity"], [b"identity", b"identity"], CODING),
    (["identity"], [b"identity", b"gzip"], CODING),
    (["identity"], [b"x" * 10_000], CODING),
    (["gzip"], [b"GZip"], OK),
    (["gzip"], [], CODING),
    (["gzip"], [b"gzip", b"gzip"], CODING),
    (["identity", "gzip"], [b"gzip"], OK),
    (["identity", "gzip"], [b"br"], CODING),
    ([], [b"br"], OK),
]


@pytest.mark.parametrize(("allowed", "values", "reason"), CODINGS)
async def test_codings(allowed: list[str], values: list[bytes], reason: Reason, tmp_path: Path) -> None:
    """One coding, and one that is listed; none means identity, two are refused even when both are listed."""
    gate = await compiled(tmp_path, {"insecure": True, "rules": {"content": {"encodings": allowed}}})
    fields: list[Field] = [(b"Content-Encoding", value) for value in values]
    assert (await gate.judge(request(gzip.compress(b"{}"), fields))).reason is reason


SIZES: list[tuple[int, bool, str, Reason]] = [
    (0, True, "enforce", OK),
    (100, True, "enforce", OK),
    (101, True, "enforce", LARGE),
    (100, False, "enforce", OK),
    (101, False, "enforce", LARGE),
    (101, True, "report", OK),
    (101, False, "report", OK),
    (1001, False, "report", LARGE),
    (1001, False, "off", LARGE),
]


@pytest.mark.parametrize(("size", "declared", "mode", "reason"), SIZES)
async def test_sizes(size: int, declared: bool, mode: str, reason: Reason, tmp_path: Path) -> None:
    """The limit holds to the byte, declared or chunked, and the wall behind it holds in every mode."""
    route: dict[str, Any] = {"insecure": True, "rules": {"size": {"max": 100, "mode": mode}}}
    gate = await compiled(tmp_path, route, limits={"body_bytes": 1000})
    judged = await gate.judge(request(b"x" * size, length=size if declared else None))
    assert judged.reason is reason
    if reason is LARGE:
        assert judged.status == 413
    found = [(finding.rule, finding.mode) for finding in judged.findings]
    wall = size > 1000
    assert found == ([] if size <= 100 or mode == "off" or wall else [(RuleName.SIZE, Mode(mode))])


@pytest.mark.parametrize(
    ("tls", "https", "reason"), [("required", False, Reason.TLS_REQUIRED), ("required", True, OK), (None, False, OK)]
)
async def test_transport(tls: str | None, https: bool, reason: Reason, tmp_path: Path) -> None:
    """Without TLS a request is refused where TLS is required, whatever a header or the target says."""
    route = {"insecure": True, "query": "pass", "rules": {"transport": {"tls": tls} if tls else {}}}
    gate = await compiled(tmp_path, route, trusted_proxies=["unix"])
    fields = [(b"X-Forwarded-Proto", b"https"), (b"Forwarded", b"proto=https")]
    judged = await gate.judge(request(b"{}", fields, https=https, arrived=NOW, target=b"/hook?https://bot.example.com"))
    assert judged.reason is reason
