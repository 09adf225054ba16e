"""Certificates and JSON Schemas that a policy names are tried when it is read."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import jsonschema
import jsonschema_rs
import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from proxy.errors import PolicyError
from proxy.policy.file_checks import BUILTINS, read_builtin
from proxy.policy.reader import read_policy

from .samples import ENVIRON, NOW

POLICY = """\
version: 1
listen: {{address: "127.0.0.1:8443", tls: {{certificate: tls.crt, key: tls.key{more}}}}}
upstream: {{url: "https://127.0.0.1:8081", ca_file: ca.pem}}
routes:
  - name: a
    path: /a
    provider: telegram
    secrets: [{{id: s, from_env: SECRET}}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a certificate, its key, and its authority."""
    authority = trustme.CA()
    certificate = authority.issue_cert("bot.example.com")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    certificate.private_key_pem.write_to_path(tmp_path / "tls.key")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path


def messages(folder: Path, text: str) -> list[tuple[str, str]]:
    """The faults of a policy in the folder; none when it is sound."""
    (folder / "policy.yaml").write_text(text)
    try:
        read_policy(folder / "policy.yaml", ENVIRON, now=NOW)
    except PolicyError as error:
        return [(fault.path, fault.message) for fault in error.faults]
    return []


def test_pair_that_matches(folder: Path) -> None:
    """A certificate with its key and an authority are sound, and watched for changes."""
    (folder / "clients.pem").write_bytes((folder / "ca.pem").read_bytes())
    (folder / "token").write_text(ENVIRON["SECRET"])
    text = (
        POLICY.format(more=", client_ca: clients.pem") + "    rules: {transport: {tls: required, client_certificate: required}}\n"
    )
    text += "admin: {address: '127.0.0.1:9465', token: {from_file: token}}\n"
    (folder / "policy.yaml").write_text(text)
    loaded = read_policy(folder / "policy.yaml", ENVIRON, now=NOW)
    assert {path.name for path in loaded.watched} == {"policy.yaml", "tls.crt", "tls.key", "clients.pem", "ca.pem", "token"}
    assert loaded.admin_token is not None
    assert loaded.admin_token.reveal() == ENVIRON["SECRET"].encode()


def test_pair_that_does_not_match(folder: Path) -> None:
    """A key of another certificate is a fault."""
    trustme.CA().issue_cert("x.example.com").private_key_pem.write_to_path(folder / "tls.key")
    assert messages(folder, POLICY.format(more="")) == [("listen.tls.key", "does not belong to the certificate")]


def test_broken_files(folder: Path) -> None:
    """A certificate that is none, and authorities that are none, are faults; nobody is asked for a password."""
    (folder / "tls.crt").write_text("hello")
    (folder / "ca.pem").write_text("hello")
    assert messages(folder, POLICY.format(more=", client_ca: ca.pem")) == [
        ("listen.tls.key", "certificate and key are no usable PEM pair (unencrypted)"),
        ("listen.tls.client_ca", "holds no certificates in PEM"),
        ("upstream.ca_file", "holds no certificates in PEM"),
    ]


def test_encrypted_key(folder: Path) -> None:
    """A key that needs a password is a fault, and nobody is asked for one: there is no terminal to ask on."""
    key = serialization.load_pem_private_key((folder / "tls.key").read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"password")
    (folder / "tls.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
    (folder / "policy.yaml").write_text(POLICY.format(more=""))
    main, side = pty.openpty()
    command = [sys.executable, "-m", "proxy", "check", str(folder / "policy.yaml")]
    done = subprocess.run(  # noqa: S603 - our own command
        command, stdin=side, capture_output=True, start_new_session=True, timeout=30, env={**os.environ, **ENVIRON}
    )
    os.close(main)
    os.close(side)
    assert b"certificate and key are no usable PEM pair" in done.stdout
    assert b"pass phrase" not in done.stderr


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ('{"type": "object"}', None),
        ("true", None),
        ('{"$schema": "https://json-schema.org/draft/2020-12/schema", "prefixItems": [{}]}', None),
        ('{"type": "objekt"}', "is not a usable JSON Schema"),
        ('{"$ref": "https://example.com/schema.json"}', "is not a usable JSON Schema"),
        ('{"$ref": "file:///etc/hostname"}', "is not a usable JSON Schema"),
        ('{"pattern": "(?=a)b"}', "is not a usable JSON Schema"),
        ('{"pattern": "("}', "is not a usable JSON Schema"),
        ("[1]", "it must be an object"),
        ("{", "is not JSON: line 1"),
        ("", "is not JSON"),
        ("[" * 5000, "is not JSON"),
    ],
)
def test_schemas(folder: Path, schema: str, words: str | None) -> None:
    """A JSON Schema must compile without fetching anything and without patterns that take more than linear time."""
    (folder / "own.json").write_text(schema)
    found = messages(folder, POLICY.format(more="") + "    rules: {schema: {file: own.json}}\n")
    assert [path for path, _ in found] == ([] if words is None else ["routes[0].rules.schema.file"])
    assert not found or (words is not None and words in found[0][1])


def test_references_are_not_followed(folder: Path) -> None:
    """A reference to a file that could be read is refused all the same: what a policy names is all that is opened."""
    (folder / "other.json").write_text('{"type": "object"}')
    (folder / "own.json").write_text(f'{{"$ref": "{(folder / "other.json").as_uri()}"}}')
    found = messages(folder, POLICY.format(more="") + "    rules: {schema: {file: own.json}}\n")
    assert [path for path, _ in found] == ["routes[0].rules.schema.file"]


def test_shipped_schemas_compile() -> None:
    """Each shipped schema is a valid one."""
    assert "telegram-update" in BUILTINS
    for name in BUILTINS:
        document = read_builtin(f"builtin:{name}")
        assert isinstance(document, dict)
        jsonschema.Draft7Validator.check_schema(document)


@pytest.mark.parametrize(
    ("update", "passes"),
    [
        ({"update_id": 1}, True),
        ({"update_id": 1, "something_new": {"a": 1}}, True),
        (
            {"update_id": 1, "message": {"message_id": 2, "date": 3, "chat": {"id": -100, "type": "x"}, "text": "hi", "new": []}},
            True,
        ),
        ({"update_id": 1, "callback_query": {"id": "1"}}, True),
        ({}, False),
        ([], False),
        ({"update_id": "1"}, False),
        ({"update_id": -1}, False),
        ({"update_id": 1.5}, False),
        ({"update_id": 2**53 + 1}, False),
        ({"update_id": 1, "message": "hi"}, False),
        ({"update_id": 1, "message": {"message_id": 2, "date": 3}}, False),
        ({"update_id": 1, "message": {"message_id": 2, "date": 3, "chat": {"id": "x"}}}, False),
        ({"update_id": 1, "poll": []}, False),
    ],
)
def test_telegram_update(update: object, passes: bool) -> None:
    """What is certain about an update must hold; what is new passes."""
    document = read_builtin("builtin:telegram-update")
    assert isinstance(document, dict)
    assert jsonschema_rs.validator_for(document, offline=True).is_valid(update) is passes
