"""Requests that real senders make, and near misses, each with the verdict that it must get from a compiled gate."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from proxy.verdict import Reason
from tests.pipeline.judging import NOW, compiled, request

FILES = sorted((Path(__file__).parent / "vectors").glob("*.json"))
VECTORS = [(file.stem, vector) for file in FILES for vector in json.loads(file.read_text())["vectors"]]
ROUTES: dict[str, dict[str, Any]] = {file.stem: json.loads(file.read_text())["route"] for file in FILES}


def body_of(vector: dict[str, Any]) -> bytes:
    """The body, byte for byte."""
    if "body_base64" in vector:
        return base64.b64decode(vector["body_base64"])
    text: str = vector["body"]
    return text.encode()


def secret_of(vector: dict[str, Any]) -> dict[str, Any]:
    """The one secret of a vector, or its several values."""
    secret = vector["secret"]
    if not isinstance(secret, dict):
        return {"id": "s", "value": secret, "allow_weak": True}
    return {"id": "s", "values": {name: {"value": value} for name, value in secret.items()}, "allow_weak": True}


def target_of(vector: dict[str, Any]) -> bytes:
    """The path, and the query that the request came with."""
    return b"/hook?" + vector["query"].encode() if "query" in vector else b"/hook"


def test_none_was_lost() -> None:
    """Every sender's file is there, each with a public source and at least one request that must pass."""
    assert len(FILES) >= 52
    for file in FILES:
        found = json.loads(file.read_text())
        assert found["source"], file
        assert any(vector["reason"] == "none" for vector in found["vectors"]), file


@pytest.mark.parametrize(("sender", "vector"), VECTORS, ids=[f"{sender}: {vector['note']}" for sender, vector in VECTORS])
async def test_vector(sender: str, vector: dict[str, Any], tmp_path: Path) -> None:
    """A request of this sender gets the verdict that its own documentation gives it."""
    route = {**ROUTES[sender], "secrets": [secret_of(vector)]}
    if "public_url" in vector:
        route["public_url"] = vector["public_url"]
    gate = await compiled(tmp_path, route)
    fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in vector["headers"]]
    asked = request(body_of(vector), fields, target=target_of(vector), arrived=float(vector.get("now", NOW)))
    judged = await gate.judge(asked)
    assert judged.reason is Reason(vector["reason"])
    if judged.reason is Reason.NONE:
        assert judged.judgement.secret == "s"  # noqa: S105 - an id
