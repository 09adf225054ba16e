"""A secret is rotated under a running bot: no request is refused, each secret counts its own, the old one ends in time."""

import base64
import hashlib
import hmac
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cli.inprocess import hookgate
from tests.conftest import Gates
from tests.gates import PATIENCE, TELEGRAM, TOKEN, TOKEN_FIELD, Gate, RecordingBot, post, status, until
from tests.policies import policy_text

NEW = "another-secret-of-thirty-two-byte"
CONNECTIONS = 4


class Sender:
    """Sends updates one after the other over kept connections, as Telegram does, with the secret that it was told last."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.secret = TOKEN
        self.sent = {TOKEN: 0, NEW: 0}
        self.refused: list[bytes] = []
        self._numbers = iter(range(1, 10**9))
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send) for _ in range(CONNECTIONS)]

    @contextmanager
    def sending(self) -> Iterator["Sender"]:
        """Send until the end of the block."""
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()

    def until(self, count: int) -> None:
        """Wait until so many more have been sent."""
        goal = sum(self.sent.values()) + count
        until(lambda: sum(self.sent.values()) >= goal or self.refused, f"{count} updates", 10 * PATIENCE)

    def _send(self) -> None:
        with socket.create_connection(("127.0.0.1", self._gate.port), timeout=PATIENCE) as sock:
            while not self._stop.is_set():
                with self._lock:
                    number, secret = next(self._numbers), self.secret
                raw = post("/telegram", b'{"update_id":%d}' % number, {TOKEN_FIELD: secret})
                sock.sendall(raw.replace(b"Connection: close\r\n", b""))
                answer = sock.recv(65536)
                with self._lock:
                    self.sent[secret] += 1
                    if not answer.startswith(b"HTTP/1.1 200"):
                        self.refused.append(answer)


def matches(gate: Gate, id: str) -> float:
    """What the metrics count for a secret."""
    return gate.metric("hookgate_secret_matches_total", route="telegram", secret=id)


def rotated(gate: Gate, each: int) -> None:
    """Rotate while updates come: ``each`` of them before, while both are told, and after."""
    text = gate.policy.read_text()
    first = "{id: first, value: a-secret-of-thirty-two-bytes-0123}"
    with Sender(gate).sending() as sender:
        sender.until(each)
        gate.policy.write_text(text.replace(first, f"{first}, {{id: second, value: {NEW}}}"))
        until(lambda: sum(line.get("message") == "policy taken" for line in gate.lines()) == 1, "the second secret")
        sender.until(each)
        sender.secret = NEW  # setWebhook: what is under way still carries the old one
        sender.until(each)
    assert sender.refused == []
    assert (matches(gate, "first"), matches(gate, "second")) == (sender.sent[TOKEN], sender.sent[NEW])
    assert sender.sent[NEW] >= each
    end = time.time() + 3
    ending = f"{first[:-1]}, not_after: {datetime.fromtimestamp(end, UTC).isoformat()}}}"
    gate.policy.write_text(text.replace(first, f"{ending}, {{id: second, value: {NEW}}}"))
    until(lambda: sum(line.get("message") == "policy taken" for line in gate.lines()) == 2, "the end of the first")
    wrong = 0
    while (now := time.time()) < end + 1:
        answered = status(gate.send(post("/telegram", b'{"update_id":%d}' % int(now * 1000), {TOKEN_FIELD: TOKEN})))
        after = time.time()
        # What began before the end and was answered after it may be judged on either side.
        wrong += (after < end and answered != 200) or (now >= end and answered != 401)
    assert wrong == 0
    assert status(gate.send(post("/telegram", b'{"update_id":1}', {TOKEN_FIELD: TOKEN}))) == 401
    assert status(gate.send(post("/telegram", b'{"update_id":1}', {TOKEN_FIELD: NEW}))) == 200


def test_rotation(gate: Gates, bot: RecordingBot) -> None:
    """1,500 updates over a rotation: none is refused, the counters are exact, and the old secret ends in time."""
    rotated(gate(TELEGRAM.format(bot=bot.port)), 500)


@pytest.mark.long
def test_rotation_of_many(gate: Gates, bot: RecordingBot) -> None:
    """The same over 10,000 updates."""
    rotated(gate(TELEGRAM.format(bot=bot.port)), 3400)


BODY = b'{"id": "evt_1", "event_type": "x", "event_id": "evt_1"}'
NOW = 1_800_000_000


def stripe(key: str) -> dict[str, str]:
    """A signature of this key between two others."""
    made = hmac.digest(key.encode(), b"%d." % NOW + BODY, "sha256").hex()
    return {"Stripe-Signature": f"t={NOW},v1={'0' * 64},v1={made},v0={'1' * 64}"}


def paddle(key: str) -> dict[str, str]:
    """The same for Paddle."""
    made = hmac.digest(key.encode(), b"%d:" % NOW + BODY, "sha256").hex()
    return {"Paddle-Signature": f"ts={NOW};h1={'0' * 64};h1={made}"}


def webhooks(key: str) -> dict[str, str]:
    """The same for Standard Webhooks."""
    digest = hmac.digest(base64.b64decode(key.removeprefix("whsec_")), b"msg_1.%d." % NOW + BODY, "sha256")
    other = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    signatures = f"v1,{other} v1,{base64.b64encode(digest).decode()} v1a,{other}"
    return {"webhook-id": "msg_1", "webhook-timestamp": str(NOW), "webhook-signature": signatures}


SENDERS = [("stripe", stripe, "whsec_"), ("paddle", paddle, "pdl_ntfset_"), ("standard-webhooks", webhooks, "whsec_")]


@pytest.mark.parametrize(("provider", "sign", "prefix"), SENDERS, ids=[provider for provider, _, _ in SENDERS])
def test_two_signatures_in_one_header(provider: str, sign: object, prefix: str, tmp_path: Path) -> None:
    """A sender in rotation signs twice: either of its secrets at the gate is enough, a third one is not."""
    assert callable(sign)
    old, new, third = (prefix + base64.b64encode(os.urandom(32)).decode() for _ in range(3))
    for key, outcome in ((old, "forwarded"), (new, "forwarded"), (third, "refused")):
        lines = [f"{name}: {value}" for name, value in sign(key).items()]
        lines += ["Host: b", "Content-Type: application/json", f"Content-Length: {len(BODY)}", "", ""]
        secrets = [{"id": "old", "value": old}, {"id": "new", "value": new}]
        route = {"name": "hook", "path": "/hook", "provider": provider, "secrets": secrets}
        (tmp_path / "policy.yaml").write_text(policy_text([route]))
        raw = "\r\n".join(["POST /hook HTTP/1.1", *lines]).encode() + BODY
        ran = hookgate("explain", tmp_path / "policy.yaml", "-", "--at", str(NOW), "--format", "json", stdin=raw)
        assert ran.tree["outcome"] == outcome, (ran.tree, key == third)
