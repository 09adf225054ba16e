"""Requests made by hand, and a gate compiled from a real policy over a real store: no socket, no clock, no mock.

A request is judged in the order in which the handler does it: door, body, desk.
"""

from collections.abc import Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from proxy.keyring.base import Keyring
from proxy.messages import Field, Head, Request
from proxy.networks import Address, parse_address
from proxy.pipeline.build import build
from proxy.pipeline.gate import Gate, Judgement, Permit
from proxy.pipeline.modes import Switch
from proxy.policy.reader import read_policy
from proxy.store.base import Store
from proxy.store.memory import MemoryStore
from proxy.verdict import Finding, Reason, Refusal
from tests.policies import policy_text

T = TypeVar("T")

NOW = 1_767_225_600.0
"""2026-01-01T00:00:00Z."""

SECRET = "a-secret-of-thirty-two-bytes-0123"  # noqa: S105 - of tests alone
TOKEN = b"X-Telegram-Bot-Api-Secret-Token"
SIGNATURE = b"X-Signature"
JSON = (b"Content-Type", b"application/json")
HMAC: dict[str, Any] = {"scheme": "hmac", "header": SIGNATURE.decode(), "template": "{body}"}


def address(text: str) -> Address:
    """The address behind a text that is one."""
    found = parse_address(text)
    assert found is not None, text
    return found


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def head(
    fields: Iterable[Field] = (),
    *,
    target: bytes = b"/hook",
    client: str | Address = "198.51.100.7",
    https: bool = False,
    certificate: bytes | None = None,
    length: int | None = None,
    arrived: float = NOW,
    started: float = 1000.0,
) -> Head:
    """A head as intake makes it; ``length`` None is a chunked body."""
    wire = tuple(fields)
    names = [name.lower() for name, _ in wire]
    who = client if isinstance(client, Address) else address(client)
    path, mark, query = target.partition(b"?")
    return Head(
        method="POST",
        target=target,
        path=path,
        query=query if mark else None,
        fields=wire,
        names=names,
        named={name.lower(): value for name, value in reversed(wire)},
        repeated=frozenset(name for name in names if names.count(name) > 1),
        peer=who,
        client=who,
        trusted=False,
        https=https,
        certificate=certificate,
        length=length,
        chunked=length is None,
        arrived=arrived,
        started=started,
        request_id=b"0123456789abcdef",
    )


def request(body: bytes = b"{}", fields: Iterable[Field] = (), **facts: Any) -> Request:
    """A head and its body."""
    return Request(head(fields, **{"length": len(body), **facts}), body)


class Judged(NamedTuple):
    """What a gate made of one request."""

    ended: Permit | Refusal
    judgement: Judgement

    @property
    def reason(self) -> Reason:
        """``none`` for a permit."""
        return self.ended.reason if isinstance(self.ended, Refusal) else Reason.NONE

    @property
    def status(self) -> int:
        """What the sender is told; 200 stands for whatever the bot says."""
        return self.ended.status if isinstance(self.ended, Refusal) else 200

    @property
    def findings(self) -> list[Finding]:
        """Everything that was found, in the order in which it was."""
        return self.judgement.findings

    @property
    def permit(self) -> Permit:
        """The permit; fails where there is none."""
        assert isinstance(self.ended, Permit), self.ended
        return self.ended


class Compiled:
    """A gate and the store behind it. ``failed`` holds the store operations that failed."""

    def __init__(self, gate: Gate, store: Store, clock: Clock, failed: list[str]) -> None:
        self.gate = gate
        self.store = store
        self.clock = clock
        self.failed = failed

    async def judge(self, request: Request) -> Judged:
        """Door, body, desk."""
        judgement = self.gate.open()
        gate, head = self.gate, request.head
        refusal = await gate.asking_door(head, judgement) if gate.asks else gate.door(head, judgement)
        if refusal is not None:
            return Judged(refusal, judgement)
        if len(request.body) > self.gate.body_limit(judgement):
            return Judged(self.gate.oversize(judgement), judgement)
        return Judged(await self.gate.desk(request, judgement), judgement)

    async def deliver(self, request: Request, *, delivered: bool = True) -> Judged:
        """Judge, and settle what was reserved as the bot's answer would."""
        judged = await self.judge(request)
        if isinstance(judged.ended, Permit):
            await self.gate.settle(judged.ended.reserved, delivered=delivered)
        return judged


async def compiled(
    folder: Path,
    route: Mapping[str, Any],
    *,
    store: Store | None = None,
    switch: Switch | None = None,
    keyring: Keyring | None = None,
    **top: Any,
) -> Compiled:
    """The gate of a policy with this one route, read and built as a start does it."""
    clock = Clock()
    if store is None:
        store = MemoryStore(clock)
    await store.open()
    failed: list[str] = []
    file = folder / "policy.yaml"
    file.write_text(policy_text([{"name": "bot", "path": "/hook", **route}], **top))
    loaded = read_policy(file, {}, now=NOW)
    routes = build(loaded.policy, loaded.secrets, loaded.schemas, store, switch or Switch(), failed.append, keyring)
    return Compiled(routes.gates[b"/hook"], store, clock, failed)


def secrets(*values: str) -> list[dict[str, Any]]:
    """References to secrets that stand in the policy; their ids are s0, s1, ..."""
    return [{"id": f"s{index}", "value": value, "allow_weak": True} for index, value in enumerate(values)]


def step(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits; fails when it does."""
    try:
        waited = coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise AssertionError(f"waited for {waited!r}")
