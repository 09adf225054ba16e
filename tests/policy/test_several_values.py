"""Secrets of several values: as one mapping, as a list while they change, and all that is wrong with them."""

import json
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import PolicyError
from proxy.policy.reader import read_policy
from proxy.policy.secrets import Secret

KEY = "a-key-of-more-than-sixteen-bytes"
ENVIRON = {"APP": "360", "KEY": KEY, "OLD": KEY[::-1], "SHORT": "short"}
APP = {"from_env": "APP"}


def read(folder: Path, secrets: Any, provider: str = "zalo-oa", **route: Any) -> tuple[Secret, ...]:
    """The secrets of a policy's one route."""
    whole = {"name": "bot", "path": "/hook", "provider": provider, "secrets": secrets, **route}
    policy = {"version": 1, "listen": {"address": "127.0.0.1:0"}, "upstream": {"url": "http://127.0.0.1:1"}, "routes": [whole]}
    (folder / "policy.yaml").write_text(json.dumps(policy))
    return read_policy(folder / "policy.yaml", ENVIRON).secrets["bot"]


def faults(folder: Path, secrets: Any, **more: Any) -> list[str]:
    """What is wrong."""
    with pytest.raises(PolicyError) as caught:
        read(folder, secrets, **more)
    text = str(caught.value)
    assert KEY not in text
    assert KEY[::-1] not in text
    return [fault.message for fault in caught.value.faults]


def test_a_mapping(tmp_path: Path) -> None:
    """A mapping of values is one secret, called main."""
    (tmp_path / "key").write_text(KEY + "\n")
    (secret,) = read(tmp_path, {"app_id": APP, "oa_secret": {"from_file": "key"}})
    assert (secret.id, secret.reveal("app_id"), secret.reveal("oa_secret")) == ("main", b"360", KEY.encode())
    assert secret.created is not None
    assert "360" not in repr(secret)
    with pytest.raises(KeyError):
        secret.reveal("other")


def test_a_list(tmp_path: Path) -> None:
    """A list has several such secrets, each with its own id and times; the values stand under values or beside the id."""
    written = [
        {"id": "new", "values": {"app_id": APP, "oa_secret": {"from_env": "KEY"}}},
        {"id": "old", "app_id": APP, "oa_secret": {"from_env": "OLD"}, "not_after": "2999-01-01T00:00:00Z"},
    ]
    new, old = read(tmp_path, written)
    assert (new.id, old.id, old.not_after) == ("new", "old", 32472144000.0)
    assert (new.reveal("oa_secret"), old.reveal("oa_secret")) == (KEY.encode(), KEY[::-1].encode())


@pytest.mark.parametrize(
    ("secrets", "says"),
    [
        ({"app_id": APP}, "lacks oa_secret"),
        ({"app_id": APP, "oa_secret": {"from_env": "KEY"}, "more": {"from_env": "KEY"}}, "no value is called 'more'"),
        ({"app_id": APP, "oa_secret": {"from_env": "NOWHERE"}}, "environment variable NOWHERE is not set"),
        ({"app_id": APP, "oa_secret": {"from_file": "nowhere"}}, "nowhere cannot be read"),
        ({"app_id": APP, "oa_secret": {"from_env": "SHORT"}}, "oa_secret is shorter than 16 bytes; allow_weak: true"),
        ({"app_id": APP, "oa_secret": {}}, "needs exactly one of"),
        ([{"id": "a", "from_env": "KEY"}], "has several values, each with a source of its own: app_id, oa_secret"),
    ],
)
def test_faults(secrets: Any, says: str, tmp_path: Path) -> None:
    """A value that lacks, that nobody knows, that cannot be had or is weak is named; none is shown."""
    assert any(says in message for message in faults(tmp_path, secrets)), faults(tmp_path, secrets)


@pytest.mark.parametrize(
    "secrets",
    [
        {"app_id": APP, "oa_secret": {"from_env": "SHORT", "allow_weak": True}},
        {"app_id": APP, "oa_secret": {"from_env": "SHORT"}, "allow_weak": True},
        [{"id": "a", "allow_weak": True, "values": {"app_id": APP, "oa_secret": {"from_env": "SHORT"}}}],
    ],
    ids=["beside the value", "for all", "in a list"],
)
def test_allow_weak(secrets: Any, tmp_path: Path) -> None:
    """What a sender dictates is allowed beside the value, or for all of them. An open value may be short anyway."""
    assert read(tmp_path, secrets)[0].reveal("oa_secret") == b"short"


def test_an_inline_value(tmp_path: Path) -> None:
    """A value in the policy itself needs what any secret there needs."""
    found = faults(tmp_path, {"app_id": APP, "oa_secret": {"value": KEY}})
    assert any("allow_inline_secrets" in message for message in found)


def test_values_for_a_scheme_of_one(tmp_path: Path) -> None:
    """A scheme whose secret is one value says so."""
    found = faults(tmp_path, {"a": APP, "b": {"from_env": "KEY"}}, provider="github")
    assert any("this scheme's secret is one value, not several" in message for message in found)


@pytest.mark.parametrize(
    ("signature", "says"),
    [
        ({"template": "{secret:nobody}{body}"}, "nobody"),
        ({"template": "{body}"}, "secret"),
    ],
)
def test_templates_and_values(signature: dict[str, Any], says: str, tmp_path: Path) -> None:
    """A template that names a value which no secret has, or a plain hash without any secret, is a fault."""
    rules = {"signature": {"scheme": "hash", "header": "X-Sig", "values": ["app_id", "key"], **signature}}
    secrets = {"app_id": {"from_env": "KEY"}, "key": {"from_env": "KEY"}}
    assert any(says in message for message in faults(tmp_path, secrets, provider="generic", rules=rules))
