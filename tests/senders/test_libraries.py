"""The senders' own libraries as signers and as judges: what they sign passes, what ``sign`` makes is taken, one bit less is not.

Those for Python always run, with some fifty bodies each; those for Node.js, and thousands of bodies, are the long form.
"""

import base64
import hashlib
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from proxy.messages import Field
from proxy.policy.reader import Loaded, read_policy
from proxy.rules.schemes import hmac_digest
from proxy.rules.signing import Genuine, genuine
from proxy.verdict import Reason
from tests.pipeline.judging import Compiled, compiled, request, step
from tests.rules.made_keys import MadeKey, made_key
from tests.senders.libraries import HERE, NODE, PYTHON, Worker, bodies, worker

URL = "https://bot.example.com/hook"
SECRET = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"  # noqa: S105 - of tests alone
WHSEC = "whsec_" + base64.b64encode(bytes.fromhex(SECRET)).decode()
FORM = (b"Content-Type", b"application/x-www-form-urlencoded")
KEYS: dict[str, MadeKey] = {"discord-interactions": made_key("ed25519"), "sendgrid": made_key("ecdsa")}
FORMS = {"discord-interactions": "hex", "sendgrid": "spki"}


class Library(NamedTuple):
    """A sender's library, and what it can be asked."""

    sender: str
    signs: bool = True
    judges: bool = True
    utf8: bool = True
    """It decodes the body first, so that it can be asked about text alone."""
    empty: bool = True
    """It has an opinion about no body at all."""
    secret: str = SECRET


IN_PYTHON = [
    Library("adyen-platform", utf8=False),
    Library("discord-interactions", utf8=False),
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
]
IN_NODE = [
    Library("discord-interactions", signs=False, utf8=False),
    Library("github", empty=False),
    Library("line", signs=False, utf8=False),
    Library("shopify", signs=False, empty=False),
    Library("standard-webhooks", secret=WHSEC),
    Library("stripe", empty=False),
]


class Stage:
    """A sender's gate, its policy, and its library."""

    def __init__(self, library: Library, asked: Worker, gate: Compiled, loaded: Loaded) -> None:
        self.sdk = library
        self._asked = asked
        self._gate = gate
        self._loaded = loaded

    @property
    def secret(self) -> str:
        """The secret, or the public key."""
        return secret_of(self.sdk)

    def judged(self, body: bytes, fields: dict[str, str], *more: Field, query: str = "") -> Reason:
        """What the gate makes of a request, now."""
        wire = [*more, *((name.encode(), value.encode()) for name, value in fields.items())]
        target = b"/hook?" + query.encode() if query else b"/hook"
        return step(self._gate.judge(request(body, wire, target=target, arrived=time.time()))).reason

    def signed(self, body: bytes, **more: Any) -> dict[str, Any]:
        """What the library makes for a body."""
        key = KEYS.get(self.sdk.sender)
        private = {"private": key.key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()).hex()} if key else {}
        asked = {"at": int(time.time()), "url": URL, **private, **more}
        return self._asked.ask("sign", self.sdk.sender, self.secret, body, **asked)

    def made(self, body: bytes, given: tuple[Field, ...] = ()) -> Genuine:
        """What is made for a body here."""
        (route,) = self._loaded.policy.routes
        key = KEYS.get(self.sdk.sender)
        return genuine(
            route,
            self._loaded.secrets["bot"],
            body,
            host=b"bot.example.com",
            at=time.time(),
            given=given,
            key=key.private if key else None,
        )

    def takes(self, body: bytes, made: Genuine, **more: Any) -> bool:
        """Whether the library takes what was made here, perhaps with another body."""
        fields = {name.decode(): value.decode() for name, value in made.fields}
        return self._asked.takes(self.sdk.sender, self.secret, body, fields, **{"url": URL, **more})


def secret_of(library: Library) -> str:
    """The secret, or the public key."""
    key = KEYS.get(library.sender)
    return key.public(FORMS[library.sender]) if key else library.secret


async def staged(folder: Path, library: Library, asked: Worker) -> Stage:
    """The preset of a sender, without memory: the same body comes twice."""
    secret = {"id": "s", "value": secret_of(library)}
    rules = {"replay": {"mode": "off"}}
    gate = await compiled(folder, {"provider": library.sender, "public_url": URL, "secrets": [secret], "rules": rules})
    return Stage(library, asked, gate, read_policy(folder / "policy.yaml", {}))


@pytest.fixture(scope="module")
def python() -> Iterator[Worker]:
    """The libraries for Python."""
    assert PYTHON.exists(), f"the senders' libraries are not in {PYTHON.parent.parent}: make senders"
    with worker(PYTHON, HERE / "library_worker.py") as found:
        yield found


@pytest.fixture(scope="module")
def node() -> Iterator[Worker]:
    """The libraries for Node.js."""
    assert (NODE / "node_modules").exists(), "the senders' libraries for Node.js are not there: make senders"
    with worker("node", "--no-warnings", NODE / "worker.mjs") as found:
        yield found


def flipped(body: bytes, chance: random.Random) -> bytes:
    """One bit turned over that leaves text text; a byte more where there is none to turn."""
    places = [index for index in range(min(len(body), 4096)) if 0x20 < body[index] < 0x7E]
    if not places:
        return b"0" + body
    at = chance.choice(places)
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]


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


@pytest.mark.parametrize("library", IN_PYTHON, ids=[one.sender for one in IN_PYTHON])
async def test_python(library: Library, python: Worker, tmp_path: Path) -> None:
    """Fifty bodies: what the library signs passes the gate, what is made here passes the library; one bit turned, neither."""
    await both_ways(library, python, tmp_path, 50)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("library", IN_PYTHON, ids=[one.sender for one in IN_PYTHON])
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
