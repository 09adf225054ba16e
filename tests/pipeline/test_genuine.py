"""No false refusal: whatever Telegram may send, of the genuine none is refused, and each repeat of it is answered 200."""

import os
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from proxy.messages import Field
from proxy.store.memory import MemoryStore
from proxy.verdict import Reason
from tests.pipeline.judging import JSON, NOW, SECRET, TOKEN, Clock, Compiled, address, compiled, request, secrets
from tests.pipeline.updates import types, updates

NUMBER = 20_000
LONG_NUMBER = int(os.environ.get("HOOKGATE_GENUINE", "1000000"))

ROUTE: dict[str, Any] = {
    "provider": "telegram",
    "secrets": secrets("the-former-secret-in-its-last-days", SECRET),
    "rules": {
        "ip": {"allow": ["telegram"]},
        "rate": {"limit": "1000000/s", "burst": 1000},
        "schema": {"file": "builtin:telegram-update"},
    },
}

CHARSETS = (b"application/json", b"application/json; charset=utf-8", b"Application/JSON")
CLIENTS = [address(text) for text in ("149.154.160.0", "149.154.167.220", "149.154.175.255", "91.108.4.0", "::ffff:91.108.7.255")]


async def strict(folder: Path) -> Compiled:
    """A gate with every rule enforced that Telegram's preset has or offers."""
    clock = Clock()
    return await compiled(folder, ROUTE, store=MemoryStore(clock, max_entries=LONG_NUMBER + NUMBER))


async def refusals(gate: Compiled, seed: int, number: int) -> tuple[Counter[str], Counter[str], int]:
    """Send so many, repeat some; what was refused, which types went through, and how many bytes."""
    chance = random.Random(seed)  # noqa: S311 - of a test
    refused: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    size = 0
    for index, body in enumerate(updates(seed, number)):
        fields: list[Field] = [(b"Content-Type", chance.choice(CHARSETS)), (TOKEN, SECRET.encode())]
        one = request(
            body,
            fields,
            client=chance.choice(CLIENTS),
            arrived=NOW + index / 100,
            started=index / 100,
            length=len(body) if chance.random() < 0.9 else None,
        )
        judged = await gate.judge(one)
        size += len(body)
        if judged.reason is not Reason.NONE or judged.findings:
            refused[f"{judged.reason}: {body[:300]!r}"] += 1
            continue
        seen[gate.gate.event(one)] += 1
        if judged.permit.request.body is not body:
            refused["another body"] += 1
        # Most are delivered; a bot that failed gets the very same update again, and again at once.
        delivered = chance.random() < 0.95
        await gate.gate.settle(judged.permit.reserved, delivered=delivered)
        if not delivered or chance.random() < 0.05:
            again = await gate.deliver(
                request(body, [*fields, (b"X-Retry", b"1")], client=chance.choice(CLIENTS), started=index / 100)
            )
            if again.reason is not (Reason.REPLAY_DUPLICATE if delivered else Reason.NONE) or again.status != 200:
                refused[f"again: {again.reason}"] += 1
    return refused, seen, size


async def test_no_genuine_update_is_refused(tmp_path: Path) -> None:
    """Twenty thousand genuine updates of every type, script, escape and size pass, repeats are answered 200."""
    gate = await strict(tmp_path)
    refused, seen, size = await refusals(gate, 1, NUMBER)
    assert refused == Counter()
    assert set(seen) == {*types(), "other"}
    assert size > 10_000_000
    assert gate.failed == []


@pytest.mark.long
@pytest.mark.timeout(0)
async def test_no_genuine_update_is_refused_of_a_million(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A million genuine updates pass."""
    if os.environ.get("HOOKGATE_LONG") != "1":
        pytest.fail("the long form is asked for with HOOKGATE_LONG=1")
    gate = await strict(tmp_path)
    before = time.monotonic()
    refused, seen, size = await refusals(gate, 2, LONG_NUMBER)
    seconds = time.monotonic() - before
    with capsys.disabled():
        sys.stderr.write(
            f"\n{sum(seen.values()):,} genuine updates of {len(seen)} types, {size:,} bytes, in {seconds:.0f} s:"
            f" {sum(refused.values())} refused\n"
        )
    assert refused == Counter()
    assert sum(seen.values()) > LONG_NUMBER * 0.99


@pytest.mark.parametrize("size", [0, 1, 100_000, 512 * 1024 - 40])
@pytest.mark.parametrize("character", ["x", "é", "🚀", '"', "\\", "\x00"])
async def test_sizes(size: int, character: str, tmp_path: Path) -> None:
    """An update as large as Telegram sends passes, whatever it is filled with."""
    gate = await strict(tmp_path)
    for kind in ("message", "callback_query"):
        filled = character.encode("unicode_escape") if character not in '"\\\x00' else b"\\u%04x" % ord(character)
        if filled.startswith((b"\\x", b"\\U")):
            filled = character.encode()
        body = b'{"update_id":%d,\n"%b":{"message_id":1,"date":1,"chat":{"id":1},"text":"%b"}}' % (
            len(kind),
            kind.encode(),
            filled * (size // len(filled)),
        )
        judged = await gate.judge(request(body, [JSON, (TOKEN, SECRET.encode())], client="149.154.160.1"))
        assert (judged.reason, judged.findings) == (Reason.NONE, [])
