"""The senders' own libraries as signers and as judges: what they sign passes, what ``sign`` makes is taken, one bit less is not.

Those for Python always run, with some fifty bodies each; those for Node.js, and thousands of bodies, are the long form.

Most libraries are their sender's. Where it has none, one that many use stands in: gidgethub for GitHub in Python, pywa for
WhatsApp, Twurple for Twitch, WeChat's crypto for DingTalk; standardwebhooks for GitLab's signing tokens, which have its form.
None that signs or checks was found for Bitbucket, Dropbox, Gitea, Intercom, Kick, Meta's other services, Microsoft Graph,
Teams' outgoing webhooks, Webex, X, Zalo and Zendesk: recorded requests judge those (``test_known``). Where the secret itself is
sent (Telegram, GitLab's older token, VK, Kakao, Okta, Mattermost, Rocket.Chat, CloudEvents) there is nothing to sign. Left out:
Feishu's library for Node.js, which writes the JSON anew before it looks at the signature; and second ones for senders that have
one here (HubSpot, Square, Adyen and Viber for Node.js), for their size.
"""

import base64
import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from proxy.rules.schemes import hmac_digest
from proxy.verdict import Reason
from tests.pipeline.judging import compiled, request
from tests.senders.libraries import Worker, bodies
from tests.senders.stages import SECRET, URL, WHSEC, Library, flipped, staged

FORM = (b"Content-Type", b"application/x-www-form-urlencoded")
LARK = ((b"X-Lark-Request-Timestamp", b"1767225600"), (b"X-Lark-Request-Nonce", b"a nonce"))

IN_PYTHON = [
    Library("adyen-platform", utf8=False),
    Library("discord-interactions", utf8=False),
    Library("discord-webhook-events", utf8=False, by="discord-interactions"),
    Library("feishu-lark-card", signs=False, utf8=False, by="lark-card", given=LARK),
    Library("github", signs=False, utf8=False, by="gidgethub"),
    Library("gitlab-signing-token", secret=WHSEC, by="standard-webhooks"),
    Library("hubspot"),
    Library("line", signs=False),
    Library("paddle"),
    Library("sendgrid", signs=False),
    Library("slack"),
    Library("square", signs=False, empty=False),
    Library("standard-webhooks", secret=WHSEC),
    Library("stripe"),
    Library("svix", secret=WHSEC),
    Library("viber", utf8=False),
    Library("whatsapp", signs=False, utf8=False, by="pywa"),
]
SLOW = [Library("feishu-lark-event", signs=False, utf8=False, by="lark-event", given=LARK)]
"""It takes a minute to load."""
IN_NODE = [
    Library("discord-interactions", signs=False, utf8=False),
    Library("github", empty=False),
    Library("line", signs=False, utf8=False),
    Library("notion", utf8=False),
    Library("paddle", signs=False),
    Library("sendgrid", signs=False),
    Library("shopify", signs=False, empty=False),
    Library("slack", signs=False),
    Library("standard-webhooks", secret=WHSEC),
    Library("stripe", empty=False),
    Library("twitch", signs=False),
]


async def both_ways(library: Library, asked: Worker, folder: Path, count: int) -> None:
    """So many bodies from the library to the gate, and back."""
    stage = await staged(folder, library, asked)
    chance = random.Random(library.sender)  # noqa: S311 - the same each time
    for body in bodies(library.sender, count, utf8=library.utf8, empty=library.empty):
        other = flipped(body, chance)
        if library.signs:
            versions = [{"version": version} for version in ("v1", "v2", "v3")] if library.sender == "hubspot" else [{}]
            for more in versions:
                fields = stage.signed(body, **more)["fields"]
                assert stage.judged(body, fields) is Reason.NONE, body[:100]
                assert stage.judged(other, fields) is Reason.SIGNATURE_MISMATCH, body[:100]
        if library.judges:
            made = stage.made(body)
            assert stage.takes(body, made), body[:100]
            assert not stage.takes(other, made), body[:100]


@pytest.mark.parametrize("library", IN_PYTHON, ids=[f"{one.sender}-{one.name}" for one in IN_PYTHON])
async def test_python(library: Library, python: Worker, tmp_path: Path) -> None:
    """Fifty bodies: what the library signs passes the gate, what is made here passes the library; one bit turned, neither."""
    await both_ways(library, python, tmp_path, 50)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("library", IN_PYTHON + SLOW, ids=[f"{one.sender}-{one.name}" for one in IN_PYTHON + SLOW])
async def test_python_thousands(library: Library, python: Worker, tmp_path: Path) -> None:
    """Three thousand bodies."""
    await both_ways(library, python, tmp_path, 3000)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("library", IN_NODE, ids=[one.sender for one in IN_NODE])
async def test_node_thousands(library: Library, node: Worker, tmp_path: Path) -> None:
    """Three thousand bodies, with the libraries for Node.js."""
    await both_ways(library, node, tmp_path, 3000)


def forms(seed: str, count: int) -> Iterator[bytes]:
    """Forms as Twilio sends them: fields of all kinds of text, some of them more than once."""
    chance = random.Random(seed)  # noqa: S311 - the same each time
    texts = ["", "1", "+14158675309", "👋 grüße", "a&b=c", "it's", "%41", "line\r\nend", "\0", "*~.-_ ", "日本"]
    names = ["Body", "From", "To", "body", "Digits", "Media Url", "Ä", "a.b[]"]
    for _ in range(count):
        pairs = [(chance.choice(names), chance.choice(texts)) for _ in range(chance.randrange(8))]
        yield urlencode(pairs).encode()


async def twilio(asked: Worker, folder: Path, count: int) -> None:
    """Forms and bodies, from the library to the gate and back."""
    stage = await staged(folder, Library("twilio"), asked)
    for body in forms("twilio", count):
        assert stage.judged(body, stage.signed(body, form=True)["fields"], FORM) is Reason.NONE, body
        assert stage.judged(body + b"&Z=1", stage.signed(body, form=True)["fields"], FORM) is Reason.SIGNATURE_MISMATCH
        made = stage.made(body, (FORM,))
        assert stage.takes(body, made, form=True), body
        assert not stage.takes(body + b"&Z=1", made, form=True)
    for body in bodies("twilio", count, utf8=True, empty=False):
        signed = stage.signed(body)
        assert stage.judged(body, signed["fields"], query=signed["query"]) is Reason.NONE
        assert stage.judged(body + b" ", signed["fields"], query=signed["query"]) is Reason.SIGNATURE_MISMATCH
        made = stage.made(body)
        url = f"{URL}?{made.target.partition(b'?')[2].decode()}"
        assert stage.takes(body, made, url=url)
        assert not stage.takes(body + b" ", made, url=url)


async def test_twilio(python: Worker, tmp_path: Path) -> None:
    """Fifty forms and fifty other bodies, both ways."""
    await twilio(python, tmp_path, 50)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("language", ["python", "node"])
async def test_twilio_thousands(language: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Thousands of them, with both libraries."""
    found: Worker = request.getfixturevalue(language)
    await twilio(found, tmp_path, 2000)


def payments(seed: str, count: int) -> Iterator[dict[str, Any]]:
    """Deliveries of payments, with texts of all kinds; a field may be absent."""
    chance = random.Random(seed)  # noqa: S311 - the same each time
    texts = ["", "1", "a:b", "👋 grüße", '"quoted"', "back\\slash", "line\r\nend", "日本"]
    names = ["pspReference", "originalReference", "merchantAccountCode", "merchantReference", "eventCode", "success"]
    for _ in range(count):
        items = []
        for _ in range(chance.randrange(1, 4)):
            item: dict[str, Any] = {name: chance.choice(texts) for name in names if chance.random() < 0.9}
            items.append(item | {"amount": {"value": chance.randrange(-9, 10**12), "currency": "EUR"}})
        yield {"live": "false", "notificationItems": [{"NotificationRequestItem": item} for item in items]}


@pytest.mark.parametrize("count", [50, pytest.param(3000, marks=[pytest.mark.long, pytest.mark.timeout(1200)])])
async def test_adyen(count: int, python: Worker, tmp_path: Path) -> None:
    """Payments that the library signs item by item pass, and those that are signed here are taken."""
    stage = await staged(tmp_path, Library("adyen"), python)
    for delivery in payments("adyen", count):
        body = json.dumps(delivery).encode()
        signed = base64.b64decode(stage.signed(body)["body"])
        assert stage.judged(signed, {}) is Reason.NONE, signed
        assert stage.judged(signed.replace(b'"EUR"', b'"USD"'), {}) is Reason.SIGNATURE_MISMATCH
        made = stage.made(body)
        assert stage.takes(made.body, made)
        assert not stage.takes(made.body.replace(b'"EUR"', b'"USD"'), made)


def test_the_same_bytes(python: Worker) -> None:
    """Worker and test mean the same bytes, also those that are no text."""
    for body in bodies("bytes", 20, utf8=False):
        assert python.takes("bytes", "", body, {}, digest=hashlib.sha256(body).hexdigest())


async def test_invalid_utf8_passes_where_a_library_would_break(tmp_path: Path) -> None:
    """What a library that decodes first cannot even look at, is judged by its bytes."""
    body = b'{"a":"\xff\xfe"}'
    gate = await compiled(tmp_path, {"provider": "github", "secrets": [{"id": "s", "value": SECRET}]})
    fields = [
        (b"X-Hub-Signature-256", b"sha256=" + hmac_digest(SECRET.encode(), body, "sha256").hex().encode()),
        (b"X-GitHub-Delivery", b"1"),
    ]
    assert (await gate.judge(request(body, fields))).reason is Reason.NONE
