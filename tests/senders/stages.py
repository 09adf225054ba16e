"""A sender's gate beside the sender's own library: what each makes is judged by the other."""

import base64
import random
import time
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from proxy.messages import Field
from proxy.policy.reader import Loaded, read_policy
from proxy.rules.signing import Genuine, genuine
from proxy.verdict import Reason
from tests.pipeline.judging import Compiled, compiled, request, step
from tests.rules.made_keys import MadeKey, made_key
from tests.senders.libraries import Worker

URL = "https://bot.example.com/hook"
SECRET = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"  # noqa: S105 - of tests alone
WHSEC = "whsec_" + base64.b64encode(bytes.fromhex(SECRET)).decode()
KEYS: dict[str, MadeKey] = {"discord-interactions": made_key("ed25519"), "sendgrid": made_key("ecdsa")}
KEYS["discord-webhook-events"] = KEYS["discord-interactions"]
FORMS = {"discord-interactions": "hex", "discord-webhook-events": "hex", "sendgrid": "spki"}


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
    by: str = ""
    """What the library is called, where not as the sender."""
    given: tuple[Field, ...] = ()
    """Headers that the sender signs and makes up as it likes."""

    @property
    def name(self) -> str:
        """What it is called in tests and by its worker."""
        return self.by or self.sender


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
        return self._asked.ask("sign", self.sdk.name, self.secret, body, **asked)

    def made(self, body: bytes, given: tuple[Field, ...] = (), key: object = None) -> Genuine:
        """What is made for a body here."""
        (route,) = self._loaded.policy.routes
        if key is None and self.sdk.sender in KEYS:
            key = KEYS[self.sdk.sender].key
        wanted = (*self.sdk.given, *given)
        secrets = self._loaded.secrets["bot"]
        return genuine(route, secrets, body, host=b"bot.example.com", at=time.time(), given=wanted, key=key)

    def judged_made(self, made: Genuine) -> Reason:
        """What the gate makes of a whole request that was made here, or changed since."""
        whole = request(made.body, made.fields, target=made.target, arrived=time.time())
        return step(self._gate.judge(whole)).reason

    def takes(self, body: bytes, made: Genuine, **more: Any) -> bool:
        """Whether the library takes what was made here, perhaps with another body."""
        fields = {name.decode(): value.decode() for name, value in made.fields}
        return self._asked.takes(self.sdk.name, self.secret, body, fields, **{"url": URL, **more})


def secret_of(library: Library) -> str:
    """The secret, or the public key."""
    key = KEYS.get(library.sender)
    return key.public(FORMS[library.sender]) if key else library.secret


async def staged(folder: Path, library: Library, asked: Worker, **held: Any) -> Stage:
    """The preset of a sender, without memory: the same body comes twice. ``held`` is said of the route besides."""
    secret = {"id": "s", "value": secret_of(library)}
    route = {"provider": library.sender, "public_url": URL, "secrets": [secret], "rules": {"replay": {"mode": "off"}}, **held}
    gate = await compiled(folder, route)
    return Stage(library, asked, gate, read_policy(folder / "policy.yaml", {}))


def flipped(body: bytes, chance: random.Random) -> bytes:
    """One bit turned over that leaves text text; a byte more where there is none to turn."""
    places = [index for index in range(min(len(body), 4096)) if 0x20 < body[index] < 0x7E]
    if not places:
        return b"0" + body
    at = chance.choice(places)
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
