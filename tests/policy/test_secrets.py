"""Secrets cannot be printed, copied or pickled, and are read with care."""

import copy
import pickle
from pathlib import Path

import pytest

from proxy.policy.references import SecretReference, SecretSource
from proxy.policy.secrets import Secret, read_secret

CANARY = b"CANARY-CANARY-CANARY"


def test_unprintable() -> None:
    """However a secret is formatted, its id alone comes out."""
    secret = Secret("2026-11", CANARY)
    shown = f"{secret} {secret!r} {[secret]} {secret!s:>40} " + "%s" % secret  # noqa: UP031 - every way of formatting
    assert "CANARY" not in shown
    assert "2026-11" in shown
    assert not hasattr(secret, "__dict__")
    assert secret.reveal() == CANARY


def test_neither_copied_nor_pickled() -> None:
    """A secret does not leave by a copy or a pickle."""
    secret = Secret("a", CANARY)
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="neither copied nor pickled"):
            leave(secret)


@pytest.mark.parametrize(
    ("not_before", "not_after", "active"),
    [(None, None, True), (100, None, True), (101, None, False), (None, 100, False), (None, 101, True), (99, 101, True)],
)
def test_active(not_before: float | None, not_after: float | None, active: bool) -> None:
    """A secret holds from not_before on, and until just before not_after."""
    assert Secret("a", CANARY, not_before=not_before, not_after=not_after).active(100) is active


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"abc\n", b"abc"),
        (b"abc\r\n", b"abc"),
        (b"abc", b"abc"),
        (b"abc\n\n", b"abc\n"),
        (b" abc \n", b" abc "),
        (b"\xff\n", b"\xff"),
    ],
)
def test_one_newline_of_a_file(tmp_path: Path, content: bytes, secret: bytes) -> None:
    """One newline at the end of a file is not part of the secret; everything else is."""
    (tmp_path / "secret").write_bytes(content)
    assert read_secret(SecretSource(from_file="secret"), tmp_path, {})[0] == secret


def test_sources(tmp_path: Path) -> None:
    """A secret comes from the environment that is handed in, from a file, or from the policy."""
    assert read_secret(SecretSource(from_env="A"), tmp_path, {"A": "x\n"}) == (b"x\n", None)
    assert read_secret(SecretReference(id="a", value="é"), tmp_path, {}) == ("é".encode(), None)
    assert "CANARY" not in repr(SecretReference(id="a", value=CANARY.decode()))
    with pytest.raises(ValueError, match="HOME is not set"):
        read_secret(SecretSource(from_env="HOME"), tmp_path, {})
    (tmp_path / "large").write_bytes(b"x" * 70_000)
    with pytest.raises(ValueError, match="larger than 64 KiB"):
        read_secret(SecretSource(from_file="large"), tmp_path, {})
    with pytest.raises(ValueError, match="exactly one of from_env or from_file"):
        read_secret(SecretSource(), tmp_path, {})
