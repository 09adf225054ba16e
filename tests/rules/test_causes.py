"""Why a signature was wrong: each known change is found in what came, and a forgery stays unknown."""

import base64
import gzip
import hashlib
import hmac
import json
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.cli.inprocess import hookgate, policy

NOW = 1_800_000_000
SECRET, OLD, OTHER = "the-present-secret-01", "the-secret-of-yesterday", "the-neighbours-secret"
BODY = b'{"id": 7, "text": "gr\xc3\xbc\xc3\x9fe / <b>", "list": [1, 2.50, null]}'
REST: dict[str, Any] = {"name": "rest", "path": "/rest", "secrets": [{"id": "neighbour", "value": OTHER}], "rules": {}}
SECRETS = [{"id": "old", "value": OLD, "not_after": "2020-01-01T00:00:00Z"}, {"id": "now", "value": SECRET}]


def digest(body: bytes, key: str = SECRET, at: int | str = NOW) -> bytes:
    """What a sender signs with."""
    return hmac.digest(key.encode(), f"{at}.".encode() + body, "sha256")


def raw(body: bytes, fields: Mapping[str, str | bytes]) -> bytes:
    """A request as it was saved."""
    given = {"Host": "bot.example.com", "Content-Length": str(len(body)), **fields}
    lines = [name.encode() + b": " + (value.encode() if isinstance(value, str) else value) for name, value in given.items()]
    return b"\r\n".join([b"POST /secret-path HTTP/1.1", *lines, b"", b""]) + body


def explained(folder: Path, signature: Mapping[str, Any], request: bytes, **route: Any) -> dict[str, Any]:
    """What ``explain`` tells of a request to a route with this signature rule."""
    rules = {"signature": signature, **route.pop("rules", {})}
    rest = {**REST, "rules": {"signature": {"scheme": "token", "header": "X-Token"}}}
    file = policy(folder, {"secrets": SECRETS, **route, "rules": rules}, rest)
    ran = hookgate("explain", file, "-", "--at", str(NOW), "--format", "json", stdin=request)
    assert SECRET.encode() not in ran.out
    return ran.tree


HMAC = {"scheme": "hmac", "header": "X-Signature", "prefix": "v1=", "template": "{timestamp}.{body}"}
STAMPED = {"timestamp": {"header": "X-Timestamp"}}


def signed(body: bytes, made: bytes, name: str = "X-Signature", at: int = NOW) -> bytes:
    """A request with this signature, in hex."""
    return raw(body, {"X-Timestamp": str(at), name: b"v1=" + made.hex().encode()})


Case = tuple[str, Callable[[], bytes]]

COMPACT = json.dumps(json.loads(BODY), separators=(",", ":")).encode()
CASES: list[Case] = [
    ("previous_secret", lambda: signed(BODY, digest(BODY, OLD))),
    ("secret_whitespace", lambda: signed(BODY, digest(BODY, SECRET + "\n"))),
    ("secret_whitespace", lambda: signed(BODY, digest(BODY, SECRET + "\r\n"))),
    ("secret_whitespace", lambda: signed(BODY, digest(BODY, SECRET + " "))),
    ("other_route_secret", lambda: signed(BODY, digest(BODY, OTHER))),
    ("hex_case", lambda: raw(BODY, {"X-Timestamp": str(NOW), "X-Signature": "v1=" + digest(BODY).hex().upper()})),
    ("base64_for_hex", lambda: raw(BODY, {"X-Timestamp": str(NOW), "X-Signature": b"v1=" + base64.b64encode(digest(BODY))})),
    (
        "base64_for_hex",
        lambda: raw(BODY, {"X-Timestamp": str(NOW), "X-Signature": b"v1=" + base64.urlsafe_b64encode(digest(BODY))}),
    ),
    ("body_decoded", lambda: signed(gzip.compress(BODY), digest(BODY))),
    ("body_decoded", lambda: signed(zlib.compress(BODY), digest(BODY))),
    ("body_decoded", lambda: signed(BODY, digest(gzip.compress(BODY, mtime=0)))),
    ("body_reserialised", lambda: signed(COMPACT, digest(json.dumps(json.loads(BODY)).encode()))),
    ("body_reserialised", lambda: signed(BODY, digest(COMPACT))),
    ("body_reserialised", lambda: signed(BODY, digest(COMPACT.replace(b"/", b"\\/")))),
    ("body_reserialised", lambda: signed(BODY, digest(json.dumps(json.loads(BODY), indent=2, ensure_ascii=False).encode()))),
    ("body_reserialised", lambda: signed(b'{"update_id":1,"message":{"a":1}}', digest(b'{"update_id":1,\n"message":{"a":1}}'))),
    ("body_reserialised", lambda: signed(b'{"b": 1, "a": 2}', digest(b'{"a":2,"b":1}'))),
    ("line_ending", lambda: signed(b'{"a":1,\r\n"b":2}', digest(b'{"a":1,\n"b":2}'))),
    ("line_ending", lambda: signed(b"one\ntwo\n.", digest(b"one\r\ntwo\r\n."))),
    ("trailing_newline", lambda: signed(BODY + b"\n", digest(BODY))),
    ("trailing_newline", lambda: signed(BODY, digest(BODY + b"\n"))),
    ("trailing_newline", lambda: signed(BODY + b"\r\n", digest(BODY))),
    ("wrong_header", lambda: signed(BODY, digest(BODY), "X-Hub-Signature")),
    ("wrong_header", lambda: raw(BODY, {"X-Timestamp": str(NOW), "X-Sig": digest(BODY).hex()})),
    (
        "wrong_header",
        lambda: raw(BODY, {"X-Timestamp": str(NOW), "X-Sig": "sha256=" + digest(BODY).hex(), "X-Signature": "v1=ab"}),
    ),
    ("stale_timestamp", lambda: signed(BODY, digest(BODY, at=NOW - 90))),
    ("stale_timestamp", lambda: signed(BODY, digest(BODY, at=NOW * 1000))),
    ("stale_timestamp", lambda: signed(BODY, digest(BODY, at=NOW - 900), at=NOW - 900)),
    ("unknown", lambda: signed(BODY, digest(BODY + b"x"))),
    ("unknown", lambda: signed(b"\x00\xff[" * 10, digest(BODY))),
    ("", lambda: signed(BODY, digest(BODY))),
]


@pytest.mark.parametrize(("cause", "request_"), CASES, ids=[f"{number}-{cause}" for number, (cause, _) in enumerate(CASES)])
def test_hmac(cause: str, request_: Callable[[], bytes], tmp_path: Path) -> None:
    """Each change that breaks an HMAC is named; a forgery is unknown, a genuine request has no cause."""
    told = explained(tmp_path, HMAC, request_(), rules=STAMPED)
    assert told["cause"] == cause
    assert (told["outcome"] == "forwarded") is (cause == "")


def test_hex_for_base64(tmp_path: Path) -> None:
    """Hex where base64 is expected is named."""
    settings = {"scheme": "hmac", "header": "X-Signature", "encoding": "base64", "template": "{body}"}
    made = hmac.digest(SECRET.encode(), BODY, "sha256").hex()
    assert explained(tmp_path, settings, raw(BODY, {"X-Signature": made}))["cause"] == "hex_for_base64"


def test_list(tmp_path: Path) -> None:
    """It is found among a list's items, and the time where it stands in the list."""
    settings = {**HMAC, "prefix": "", "list": {"separator": ",", "pair": "=", "key": "v1"}}
    rules = {"timestamp": {"source": "list:t"}}
    for cause, made in (
        ("previous_secret", digest(BODY, OLD)),
        ("stale_timestamp", digest(BODY, at=NOW - 7)),
        ("body_reserialised", digest(COMPACT)),
    ):
        header = f"t={NOW},v1={'0' * 64},v1={made.hex()}"
        assert explained(tmp_path, settings, raw(BODY, {"X-Signature": header}), rules=rules)["cause"] == cause


def test_plain_hash(tmp_path: Path) -> None:
    """A plain hash is searched like an HMAC."""
    settings = {"scheme": "hash", "header": "X-Signature", "template": "{secret}{body}"}
    for cause, text in (("previous_secret", OLD.encode() + BODY), ("trailing_newline", SECRET.encode() + BODY + b"\n")):
        request = raw(BODY, {"X-Signature": hashlib.sha256(text).hexdigest()})
        assert explained(tmp_path, settings, request)["cause"] == cause


@pytest.mark.parametrize(
    ("cause", "fields"),
    [
        ("previous_secret", {"X-Key": f"key {OLD}"}),
        ("other_route_secret", {"X-Key": f"key {OTHER}"}),
        ("wrong_header", {"X-Other": f"key {SECRET}"}),
        ("wrong_header", {"X-Other": SECRET, "X-Key": "key wrong"}),
        ("unknown", {"X-Key": f"key {SECRET}x"}),
        ("", {"X-Other": "key wrong"}),
    ],
)
def test_token(cause: str, fields: dict[str, str], tmp_path: Path) -> None:
    """For a token: an old one, a neighbour's, one in another header; nothing is guessed."""
    settings = {"scheme": "token", "header": "X-Key", "prefix": "key "}
    assert explained(tmp_path, settings, raw(BODY, fields))["cause"] == cause


def test_token_with_white_space_around_it(tmp_path: Path) -> None:
    """A policy's secret with a newline pasted along, which no header can hold, is named."""
    secrets = [{"id": "now", "value": f"{SECRET}\n\n"}]
    settings = {"scheme": "token", "header": "X-Key"}
    assert explained(tmp_path, settings, raw(BODY, {"X-Key": SECRET}), secrets=secrets)["cause"] == "secret_whitespace"


def test_token_in_the_body(tmp_path: Path) -> None:
    """A token that stands in the body is searched too."""
    settings = {"scheme": "token", "source": "json:/key"}
    assert explained(tmp_path, settings, raw(b'{"key": "%b"}' % OLD.encode(), {}))["cause"] == "previous_secret"


def test_public_key(tmp_path: Path) -> None:
    """A public key's signature is searched over the bodies that may have been signed."""
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    settings = {"scheme": "ed25519", "header": "X-Signature", "template": "{body}"}
    secrets = [{"id": "now", "value": public}]
    for cause, body in (("trailing_newline", BODY + b"\n"), ("body_reserialised", COMPACT), ("unknown", b"x")):
        request = raw(BODY, {"X-Signature": key.sign(body).hex()})
        assert explained(tmp_path, settings, request, secrets=secrets)["cause"] == cause


def test_bomb(tmp_path: Path) -> None:
    """A packed body that unpacks to more than a mebibyte is given up, though what is in it would explain the signature."""
    for size, cause in ((1 << 20, "body_decoded"), (8 << 20, "unknown")):
        bomb = gzip.compress(bytes(size))
        assert explained(tmp_path, HMAC, signed(bomb, digest(bytes(size))), rules=STAMPED)["cause"] == cause


def test_large_body(tmp_path: Path) -> None:
    """Bodies above the bound are not looked into."""
    body = json.dumps(["x" * 1000] * 300).encode()
    request = signed(body, digest(json.dumps(json.loads(body), separators=(",", ":")).encode()))
    assert explained(tmp_path, HMAC, request, rules=STAMPED)["cause"] == "unknown"
