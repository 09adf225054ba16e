"""A gate in front of a scripted bot: ``/w`` is guarded by a token, ``/open`` by nothing, ``/telegram`` by its preset."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.edge.lines import request
from tests.gates import Gate, serving
from tests.policies import policy_text
from tests.upstream.bots import Script, ScriptedBot, scripted

_SECRETS = [{"id": "first", "value": "a-secret-of-thirty-two-bytes-0123"}]
_TOKEN = {"scheme": "token", "header": "X-Telegram-Bot-Api-Secret-Token"}
_EVERY = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_numbers = itertools.count(1)


class Stage(NamedTuple):
    """A gate, and the bot behind it."""

    gate: Gate
    bot: ScriptedBot


def policy(
    upstream: str, *, limits: dict[str, Any] | None = None, timeout: str = "10s", largest: str = "1MiB", **top: Any
) -> str:
    """The policy in front of a bot at this URL, as JSON, which is YAML too; ``top`` stands at its top."""
    size = {"size": {"max": largest}}
    routes = top.pop(
        "routes",
        [
            {"name": "hook", "path": "/w", "secrets": _SECRETS, "rules": {**size, "signature": _TOKEN}},
            {"name": "open", "path": "/open", "query": "pass", "methods": _EVERY, "insecure": True},
            {"name": "telegram", "path": "/telegram", "provider": "telegram", "secrets": _SECRETS, "rules": size},
        ],
    )
    return policy_text(routes, **{"upstream": {"url": upstream, "timeout": timeout}, "limits": limits or {}, **top})


def update(number: int = 0, fields: bytes = b"") -> bytes:
    """A genuine update that no other call makes; a ``number`` given makes the same again."""
    body = b'{"update_id":%d,"message":{"message_id":1,"date":1700000000,"chat":{"id":1,"type":"private"},"text":"x"}}'
    return request(
        body % (number or 1000 + next(_numbers)), path=b"/telegram", fields=b"Content-Type: application/json\r\n" + fields
    )


@contextmanager
def staged(folder: Path, script: Script, **options: Any) -> Iterator[Stage]:
    """Both, until the end of the block."""
    file = folder / "policy.yaml"
    with scripted(script) as bot:
        file.write_text(policy(f"http://127.0.0.1:{bot.port}", **options))
        with serving(file) as gate:
            yield Stage(gate, bot)
