"""The senders' own numbers: what their pages and libraries print as a request, and the answer that they wait for."""

import json
from pathlib import Path
from typing import Any

import pytest

from proxy.policy.model import Route
from proxy.verdict import Reason, Refusal
from tests.handshakes.judged import asked, gate_for, judge
from tests.pipeline.judging import NOW

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "vectors.json").read_text())["vectors"]


def secret_of(vector: dict[str, Any]) -> dict[str, Any]:
    """One text, or several values."""
    secret = vector["secret"]
    if isinstance(secret, dict):
        return {"values": {name: {"value": value} for name, value in secret.items()}}
    return {"value": secret or "nothing-of-this-request-is-signed"}


@pytest.mark.parametrize("vector", VECTORS, ids=[f"{one['provider']}: {one['note']}" for one in VECTORS])
async def test_vector(vector: dict[str, Any], tmp_path: Path) -> None:
    """A sender's own example gets the answer that its page shows; what is no check, or a wrong one, its verdict."""
    answers = vector["expect"] is not None and vector["valid"]
    gate = await gate_for(tmp_path, vector["provider"], secret_of(vector), handshake="answer" if answers else "forward")
    request = asked(vector["method"], vector["query"], vector["headers"], vector["body"].encode(), at=float(vector["now"] or NOW))
    judged = await judge(gate, request)
    assert judged is not None
    if not answers:
        assert (judged.reason is Reason.NONE) == vector["valid"]
        assert vector["expect"] is None or judged.status == vector["expect"]["status"]
        return
    assert isinstance(judged.ended, Refusal) and judged.ended.said is not None, judged.reason
    assert judged.reason is Reason.HANDSHAKE
    expected = vector["expect"]
    assert judged.status == expected["status"]
    assert judged.ended.said.body == expected["body"].encode()
    fields = {name.decode(): value.decode() for name, value in judged.ended.said.fields}
    assert fields.get("Content-Type", "").startswith(expected.get("content_type", ""))
    assert expected.get("headers", {}).items() <= fields.items()


def test_a_route_without_handshakes_pays_nothing() -> None:
    """Forwarding is the default, and a route of a sender that checks no address has none."""
    route = Route.model_validate({"name": "a", "path": "/a"})
    assert route.handshake.mode == "forward"
    assert route.handshakes == () and route.pinned == () and route.decrypt is None
