"""Gates of the senders' presets, and the requests that prove them: those of tests/rules/vectors, by sender."""

import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from proxy.messages import Request
from proxy.verdict import Reason
from tests.pipeline.judging import NOW, Compiled, compiled, request
from tests.rules.test_vectors import body_of, secret_of, target_of

VECTORS = Path(__file__).parents[1] / "rules" / "vectors"
SECRET = "a-secret-made-for-this-file-0001"  # noqa: S105 - of tests alone
URL = "https://bot.example.com/hook"
OK, DUPLICATE = Reason.NONE, Reason.REPLAY_DUPLICATE

FILES = {
    "adyen": ["adyen"],
    "adyen-platform": ["adyen-platform"],
    "bitbucket": ["bitbucket"],
    "cloudevents-webhook": ["cloudevents-query"],
    "dingtalk-robot": ["dingtalk-robot"],
    "discord-interactions": ["discord-interactions"],
    "discord-webhook-events": ["discord-webhook-events"],
    "dropbox": ["dropbox"],
    "gitea": ["gitea"],
    "gitlab": ["gitlab-token"],
    "gitlab-signing-token": ["gitlab-signing-token"],
    "hubspot": ["hubspot-versions", "hubspot"],
    "instagram": ["meta"],
    "intercom": ["intercom"],
    "kakao": ["kakao"],
    "kick": ["kick"],
    "line": ["line"],
    "linear": ["linear"],
    "mailgun": ["mailgun"],
    "mattermost": ["mattermost"],
    "messenger": ["meta"],
    "microsoft-graph": ["microsoft-graph"],
    "notion": ["notion"],
    "okta": ["okta"],
    "paddle": ["paddle"],
    "rocketchat": ["rocketchat"],
    "sendgrid": ["sendgrid"],
    "shopify": ["shopify"],
    "slack": ["slack"],
    "square": ["square"],
    "standard-webhooks": ["standard-webhooks", "gitlab-signing-token"],
    "standard-webhooks-v1a": ["standard-webhooks-v1a"],
    "stripe": ["stripe"],
    "svix": ["svix"],
    "teams-outgoing": ["teams-outgoing"],
    "twilio": ["twilio"],
    "twitch": ["twitch"],
    "viber": ["viber"],
    "vk": ["vk"],
    "webex": ["webex"],
    "whatsapp": ["meta"],
    "x": ["x"],
    "zalo-bot": ["zalo-bot"],
    "zalo-oa": ["zalo-oa"],
    "zendesk": ["zendesk"],
    "zendesk-old-doc": ["zendesk-body-first"],
    "zoom": ["zoom"],
}
"""The requests of each sender that this file proves."""

PATIENT = {"linear: a hundredth too old", "paddle: 61 seconds old", "zendesk: 301 seconds old"}
"""What is too old for the vectors' own rules, and not for these presets, which say why they wait longer."""


class Vector(NamedTuple):
    """A request, and what becomes of it."""

    sender: str
    note: str
    secret: dict[str, Any]
    public_url: str
    now: float
    fields: list[tuple[bytes, bytes]]
    body: bytes
    reason: Reason
    target: bytes
    covered: tuple[bytes, ...]
    """Texts of the body that are signed, or are the credential, where the scheme does not cover the whole body."""

    @property
    def request(self) -> Request:
        """As it arrives."""
        return request(self.body, self.fields, target=self.target, arrived=self.now)

    async def gate(self, folder: Path) -> Compiled:
        """The sender's preset with this request's secret, and nothing else."""
        return await sender(folder, self.sender, self.secret, self.public_url)


def vectors() -> Iterator[Vector]:
    """All requests of all senders."""
    for name, files in FILES.items():
        for file in files:
            content = json.loads((VECTORS / f"{file}.json").read_text())
            for one in content["vectors"]:
                fields = [(key.encode(), value.encode()) for key, value in one["headers"]]
                reason = OK if f"{file}: {one['note']}" in PATIENT else Reason(one["reason"])
                url = one.get("public_url", content["route"].get("public_url", URL))
                now = float(one.get("now", NOW))
                covered = tuple(text.encode() for text in one.get("covered", ()))
                secret = secret_of(one)
                yield Vector(name, one["note"], secret, url, now, fields, body_of(one), reason, target_of(one), covered)


ALL = list(vectors())
GENUINE = {one.sender: one for one in reversed(ALL) if one.reason is OK}
"""The first genuine request of each sender."""


async def sender(folder: Path, name: str, secret: str | dict[str, Any] = SECRET, url: str = URL) -> Compiled:
    """The gate of a preset."""
    given = secret if isinstance(secret, dict) else {"id": "s", "value": secret, "allow_weak": True}
    return await compiled(folder, {"provider": name, "public_url": url, "secrets": [given]})


def mac(message: bytes, algorithm: str = "sha256") -> bytes:
    """The digest that a sender makes with the secret of these tests."""
    return hmac.digest(SECRET.encode(), message, algorithm)
