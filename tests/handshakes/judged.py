"""A check of the address judged in process as the edge does it, at any moment: which gate, what it says, what it lets through."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proxy.messages import Request
from tests.pipeline.judging import NOW, Compiled, Judged, compiled, head

NO_BODY = b""


def asked(
    method: str, query: str, fields: Mapping[str, str], body: bytes = NO_BODY, *, at: float = NOW, chunked: bool = False
) -> Request:
    """A request to the one route of a compiled policy."""
    wire = [(name.encode(), value.encode("latin-1")) for name, value in fields.items()]
    target = b"/hook" + (b"?" + query.encode("latin-1") if query else b"")
    found = head(wire, target=target, arrived=at, length=None if chunked else len(body))
    return Request(found._replace(method=method), body)


async def gate_for(folder: Path, provider: str, secret: Mapping[str, Any], **route: Any) -> Compiled:
    """The compiled gate of a provider; the handshakes are answered here unless ``handshake`` says otherwise."""
    given = {"provider": provider, "secrets": [{"id": "s", "allow_weak": True, **secret}], "handshake": "answer", **route}
    return await compiled(folder, given)


async def judge(gate: Compiled, request: Request) -> Judged | None:
    """What becomes of it; ``None`` where a wall (method, query) stops it."""
    chosen = gate.gate.gate_of(request.head)
    if request.head.method not in chosen.methods or (request.head.query is not None and not chosen.query):
        return None
    return await Compiled(chosen, gate.store, gate.clock, gate.failed).judge(request)
