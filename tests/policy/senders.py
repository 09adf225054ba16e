"""Gates of the senders' presets, and the requests that prove them: those of tests/rules/vectors, by sender."""

import base64
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from proxy.messages import Request
from proxy.verdict import Reason
from tests.pipeline.judging import NOW, Compiled, compiled, request

VECTORS = Path(__file__).parents[1] / "rules" / "vectors"
SECRET = "a-secret-made-for-this-file-0001"  # noqa: S105 - of tests alone
URL = "https://bot.example.com/hook"
OK, DUPLICATE = Reason.NONE, Reason.REPLAY_DUPLICATE

FILES = {
    "adyen-platform": ["adyen-platform"],
    "bitbucket": ["bitbucket"],
    "dropbox": ["dropbox"],
    "gitea": ["gitea"],
    "gitlab": ["gitlab-token"],
    "instagram": ["meta"],
    "intercom": ["intercom"],
    "kakao": ["kakao"],
    "line": ["line"],
    "linear": ["linear"],
    "messenger": ["meta"],
    "notion": ["notion"],
    "okta": ["okta"],
    "paddle": ["paddle"],
    "shopify": ["shopify"],
    "slack": ["slack"],
    "square": ["square"],
    "standard-webhooks": ["standard-webhooks", "gitlab-signing-token"],
    "stripe": ["stripe"],
    "svix": ["svix"],
    "teams-outgoing": ["teams-outgoing"],
    "twitch": ["twitch"],
    "viber": ["viber"],
    "webex": ["webex"],
    "whatsapp": ["meta"],
    "x": ["x"],
    "zalo-bot": ["zalo-bot"],
    "zendesk": ["zendesk"],
    "zoom": ["zoom"],
}
"""The requests of each sender that this file proves."""

PATIENT = {"linear: a hundredth too old", "paddle: 61 seconds old", "zendesk: 301 seconds old"}
"""What is too old for the vectors' own rules, and not for these presets, which say why they wait longer."""


class Vector(NamedTuple):
    """A request, and what becomes of it."""

    sender: str
    note: str
    secret: str
    public_url: str
    now: float
    fields: list[tuple[bytes, bytes]]
    body: bytes
    reason: Reason

    @property
    def request(self) -> Request:
        """As it arrives."""
        return request(self.body, self.fields, arrived=self.now)

    async def gate(self, folder: Path) -> Compiled:
        """The sender's preset with this request's secret, and nothing else."""
        return await sender(folder, self.sender, self.secret, self.public_url)


def vectors() -> Iterator[Vector]:
    """All requests of all senders."""
    for name, files in FILES.items():
        for file in files:
            content = json.loads((VECTORS / f"{file}.json").read_text())
            for one in content["vectors"]:
                body = base64.b64decode(one["body_base64"]) if "body_base64" in one else one["body"].encode()
                fields = [(key.encode(), value.encode()) for key, value in one["headers"]]
                reason = OK if f"{file}: {one['note']}" in PATIENT else Reason(one["reason"])
                url = one.get("public_url", content["route"].get("public_url", URL))
                yield Vector(name, one["note"], one["secret"], url, float(one.get("now", NOW)), fields, body, reason)


ALL = list(vectors())
GENUINE = {one.sender: one for one in reversed(ALL) if one.reason is OK}
"""The first genuine request of each sender."""


async def sender(folder: Path, name: str, secret: str = SECRET, url: str = URL) -> Compiled:
    """The gate of a preset."""
    route = {"provider": name, "public_url": url, "secrets": [{"id": "s", "value": secret, "allow_weak": True}]}
    return await compiled(folder, route)


def mac(message: bytes, algorithm: str = "sha256") -> bytes:
    """The digest that a sender makes with the secret of these tests."""
    return hmac.digest(SECRET.encode(), message, algorithm)
