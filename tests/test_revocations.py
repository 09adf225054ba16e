"""A revoked secret stays revoked: over restarts, reloads and power cuts; what cannot be read revives nothing."""

import json
import stat
from pathlib import Path

import pytest

from proxy.errors import StartError
from proxy.policy.secrets import Secret
from proxy.revocations import Revocations, secret_states

NOW = 1_800_000_000.0


def secrets() -> dict[str, tuple[Secret, ...]]:
    """Two routes, each with a secret of the same id."""
    return {
        "a": (Secret("old", b"x" * 8 + b"y" * 8, not_after=NOW + 60), Secret("new", b"z" * 8 + b"y" * 8)),
        "b": (Secret("old", b"x" * 8 + b"w" * 8),),
    }


def test_kept(tmp_path: Path) -> None:
    """What was revoked is revoked for the next process too: this id on this route alone; only we may read the file."""
    first = Revocations(tmp_path)
    first.read()
    first.add("a", "old", NOW)
    first.write()
    assert stat.S_IMODE(first.path.stat().st_mode) == 0o600
    second, known = Revocations(tmp_path), secrets()
    second.read()
    second.apply(known)
    assert [one.active(NOW) for listed in known.values() for one in listed] == [False, True, True]
    assert [path.name for path in tmp_path.iterdir()] == ["revoked.json"]


def test_twice(tmp_path: Path) -> None:
    """A second time changes nothing: the moment is that of the first."""
    file = Revocations(tmp_path)
    file.add("a", "old", NOW)
    file.add("a", "old", NOW + 5)
    assert file.all == {"a": {"old": NOW}}


def test_what_left_the_policy_stays_revoked(tmp_path: Path) -> None:
    """A policy that is rolled back does not bring a revoked secret back."""
    file = Revocations(tmp_path)
    file.add("gone", "old", NOW)
    file.apply(secrets())
    file.write()
    again = Revocations(tmp_path)
    again.read()
    assert again.all == {"gone": {"old": NOW}}


DAMAGED = [b"", b"{", b"null", b"[]", b'{"a": ["old"]}', b'{"a": {"old": "yes"}}', b'{"a": null}', b"\xff", b"[" * 100_000]


@pytest.mark.parametrize("content", DAMAGED, ids=[repr(content[:20]) for content in DAMAGED])
def test_damaged(content: bytes, tmp_path: Path) -> None:
    """A file that cannot be understood ends the start with a remedy: what is in doubt does not come back to life."""
    file = Revocations(tmp_path)
    file.path.write_bytes(content)
    with pytest.raises(StartError, match=r"revoked\.json .*backup"):
        file.read()


def test_unreadable(tmp_path: Path) -> None:
    """Neither does what cannot be read."""
    (tmp_path / "revoked.json").mkdir()
    with pytest.raises(StartError, match="cannot be read"):
        Revocations(tmp_path).read()


def test_warned(tmp_path: Path) -> None:
    """A revoked id that is still in the policy is told."""
    file, known = Revocations(tmp_path), secrets()
    file.add("b", "old", NOW)
    file.apply(known)
    assert [warning[:40] for warning in file.warnings(known)] == ["secret 'old' of route 'b' is revoked and"]


def test_states(tmp_path: Path) -> None:
    """Each secret is active, pending, expired or revoked, with its use; its value is never told."""
    known = {
        "a": (
            Secret("one", b"value-one-value1", created=NOW - 5),
            Secret("two", b"value-two-value2", not_before=NOW + 1),
            Secret("three", b"value-3-value-3-", not_after=NOW),
            Secret("four", b"value-4-value-4-"),
        )
    }
    file = Revocations(tmp_path)
    file.add("a", "four", NOW - 1)
    file.apply(known)
    told = secret_states(known, {("a", "one"): (3.0, NOW - 2)}, NOW)
    assert [one["state"] for one in told] == ["active", "pending", "expired", "revoked"]
    assert (told[0]["matches"], told[0]["last_match"], told[0]["created"]) == (3, NOW - 2, NOW - 5)
    assert (told[1]["matches"], told[1]["last_match"], told[3]["revoked"]) == (0, None, NOW - 1)
    assert "value" not in json.dumps(told)
