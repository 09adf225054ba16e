"""Policies good and bad: what is read, and that every fault is told at its place."""

import hashlib
import os
import re
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.errors import PolicyError
from proxy.networks import parse_address
from proxy.policy.endpoints import Endpoint
from proxy.policy.paths import networks_of
from proxy.policy.reader import Loaded, read_policy
from proxy.policy.values import Target

from .samples import BAD, ENVIRON, GOOD, NOW, expected

SMALLEST = """\
version: 1
listen: {address: "127.0.0.1:8080"}
upstream: {url: "http://127.0.0.1:8081"}
routes:
  - name: a
    path: /a
    provider: telegram
    secrets: [{id: s, from_env: SECRET}]
"""


def read(folder: Path, text: str, *, now: float = NOW) -> Loaded:
    """Read a policy from a text."""
    file = folder / "policy.yaml"
    file.write_text(text, encoding="utf-8")
    return read_policy(file, ENVIRON, now=now)


def faults(folder: Path, text: str) -> list[str]:
    """What is wrong with a text, without the file's name."""
    with pytest.raises(PolicyError) as caught:
        read(folder, text)
    return [f"{fault.line}:{fault.column}: {fault.path}: {fault.message}" for fault in caught.value.faults]


@pytest.mark.parametrize("file", GOOD, ids=lambda file: file.stem)
def test_good(file: Path) -> None:
    """A sound policy is read, and says who it is."""
    loaded = read_policy(file, ENVIRON, now=NOW)
    assert loaded.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert loaded.watched[0] == file
    assert set(loaded.secrets) == {route.name for route in loaded.policy.routes}


@pytest.mark.parametrize("file", BAD, ids=lambda file: file.stem)
def test_bad(file: Path) -> None:
    """Each fault of an unsound policy is told, at its place, in the words that stand in its first lines; and no other."""
    with pytest.raises(PolicyError) as caught:
        read_policy(file, ENVIRON, now=NOW)
    found = [str(fault).removeprefix(f"{file}:").lstrip() for fault in caught.value.faults]
    assert found == expected(file)
    assert found


def test_words_are_for_operators() -> None:
    """No message speaks of inputs, instances, tags or values of a library."""
    said = "\n".join(line for file in BAD for line in expected(file))
    assert not re.search(r"Input|instance|discriminator|pydantic|validation|dictionary|tuple|NoneType|Errno", said)


def test_secrets_and_paths_are_never_told(tmp_path: Path) -> None:
    """No fault repeats an inline secret, a secret of the environment or the path of a route."""
    canary = "CANARY-7f3a-do-not-print"
    text = SMALLEST.replace("/a", f"/{canary}").replace("from_env: SECRET", f"value: {canary}")
    more = f"  - {{name: a, path: /{canary}, secrets: [{{id: s, value: '{canary} ', not_after: {canary[:0]}1}}]}}\n"
    worse = f"  - {{name: b, path: '/ {canary}', public_url: 'ftp://{canary}', secrets: [{{id: s, value: [{canary}]}}]}}\n"
    for policy in (text, text + more, text + worse, text.replace("id: s", "id: ' '"), text.replace("value: ", "value: !x ")):
        assert not [fault for fault in faults(tmp_path, policy) if canary in fault]
    with pytest.raises(PolicyError) as caught:
        read(tmp_path, text + worse)
    assert canary not in repr(caught.value)
    assert canary not in str(caught.value.__cause__) + str(caught.value.__context__)


def test_loaded_shows_no_secret(tmp_path: Path) -> None:
    """A loaded policy can be printed whole without a secret or a path in it."""
    text = SMALLEST.replace("path: /a", "path: /CANARY\n    public_url: https://x.example/CANARY").replace(
        "from_env: SECRET", "value: CANARY-CANARY-CANARY"
    )
    loaded = read(tmp_path, text + "allow_inline_secrets: true\n")
    assert loaded.secrets["a"][0].reveal() == b"CANARY-CANARY-CANARY"
    assert "CANARY" not in repr(loaded) + str(loaded)


def test_faults_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    """All faults of one run, first line first."""
    lines = [
        int(fault.partition(":")[0]) for fault in faults(tmp_path, "mode: x\nlisten: 1\nversion: 3\n" + "routes: [1, {}, 2]\n")
    ]
    assert lines == sorted(lines)
    assert len(lines) > 5


@pytest.mark.parametrize(("name", "words"), [("missing.yaml", "no such file or directory"), (".", "is a directory")])
def test_unreadable(tmp_path: Path, name: str, words: str) -> None:
    """A file that cannot be read is one fault, in a sentence."""
    with pytest.raises(PolicyError) as caught:
        read_policy(tmp_path / name, {})
    assert [fault.message for fault in caught.value.faults] == [f"cannot be read: {words}"]


def test_relative_paths_lie_beside_the_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the gate is started, relative paths mean the same files, and all of them are watched."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "secret").write_text(ENVIRON["SECRET"] + "\n")
    (tmp_path / "etc" / "update.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    text = SMALLEST.replace("from_env: SECRET", "from_file: secret").replace("http://127.0.0.1:8081", "unix:bot.sock")
    text += (
        "    rules: {schema: {file: update.json}}\nadmin: {address: 'unix:../admin.sock'}\nstore: {url: 'sqlite:var/claims.db'}\n"
    )
    (tmp_path / "etc" / "policy.yaml").write_text(text)
    loaded = read_policy(Path("etc/policy.yaml"), {}, now=NOW)
    folder = tmp_path / "etc"
    assert loaded.watched == (folder / "policy.yaml", folder / "secret", folder / "update.json")
    assert loaded.policy.admin.address == Endpoint("", 0, str(tmp_path / "admin.sock"))
    assert loaded.policy.store.url == f"sqlite:{folder}/var/claims.db"
    assert loaded.policy.state_directory == str(folder / "state")
    assert loaded.policy.upstream is not None
    assert loaded.policy.upstream.url == Target(False, "", 0, str(folder / "bot.sock"))
    assert loaded.policy.routes[0].secrets[0].from_file == str(folder / "secret")
    assert loaded.schemas == {str(folder / "update.json"): {}}
    assert loaded.secrets["a"][0].reveal() == ENVIRON["SECRET"].encode()
    assert loaded.secrets["a"][0].created == (folder / "secret").stat().st_mtime


def test_links_are_watched_not_followed(tmp_path: Path) -> None:
    """A mounted volume swaps files by changing a link: the link's own name is watched."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "secret").write_text(ENVIRON["SECRET"])
    (tmp_path / "secret").symlink_to("data/secret")
    loaded = read(tmp_path, SMALLEST.replace("from_env: SECRET", "from_file: secret"))
    assert tmp_path / "secret" in loaded.watched


def test_networks_of_a_preset(tmp_path: Path) -> None:
    """The name of a preset in an ip rule stands for its networks, and a route knows its sender's networks."""
    loaded = read(tmp_path, SMALLEST + "    rules: {ip: {allow: [telegram, 192.0.2.1]}}\n")
    route = loaded.policy.routes[0]
    assert route.rules.ip is not None
    assert route.rules.ip.allow == ("149.154.160.0/20", "91.108.4.0/22", "192.0.2.1")
    inside = parse_address("149.154.167.200")
    assert inside is not None
    assert inside in networks_of(route.rules.ip.allow)
    assert inside in route.senders


def test_secrets_keep_their_order(tmp_path: Path) -> None:
    """Secrets are tried in the order of the policy; each knows when it holds."""
    text = SMALLEST.replace(
        "[{id: s, from_env: SECRET}]",
        "[{id: new, from_env: SECRET, not_before: 2026-11-22T00:00:00Z},"
        " {id: old, from_env: SECRET_HEX, not_after: 2026-11-22T00:00:00Z}]",
    )
    new, old = read(tmp_path, text).secrets["a"]
    assert (new.id, old.id) == ("new", "old")
    assert (new.active(NOW - 1), new.active(NOW)) == (False, True)
    assert (old.active(NOW - 1), old.active(NOW)) == (True, False)


def test_no_active_secret_is_a_warning(tmp_path: Path) -> None:
    """A secret that holds only later is no fault, and is told."""
    text = SMALLEST.replace("from_env: SECRET", "from_env: SECRET, not_before: 2027-01-01T00:00:00Z")
    assert [warning.path for warning in read(tmp_path, text).warnings] == ["routes[0].secrets"]


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ("    rules: {ip: {allow: [telegram]}}\n", "routes[0].rules.ip"),
        ("    rules: {rate: {limit: 5/s, burst: 5}}\n", "routes[0].rules.rate"),
        ("    rules: {rate: {limit: 5/s, per: route}}\n", "routes[0].rules.rate"),
        ("    rules: {signature: {when_missing: pass}}\n", "routes[0].rules.signature.when_missing"),
        ("    rules: {signature: {scheme: hmac, header: X, template: a}}\n", "routes[0].rules.signature.template"),
        ("    rules: {timestamp: {header: X}}\n", "routes[0].rules.timestamp"),
        (
            "    rules: {signature: {scheme: hmac, header: X, template: '{body}'}, replay: {key: 'header:X-Id'}}\n",
            "routes[0].rules.replay.key",
        ),
        (
            "    rules: {signature: {scheme: hmac, header: X, template: '{timestamp}{body}'}, timestamp: {header: T},"
            " replay: {window: 5m}}\n",
            "routes[0].rules.replay.window",
        ),
        ("    insecure: true\n", "routes[0].insecure"),
        ("mode: off\n", "mode"),
        ("  - {name: b, path: /b, provider: github, secrets: [{id: s, from_env: PADDED}]}\n", "routes[1].secrets[0]"),
        ("  - {name: b, path: /b, provider: github, secrets: [{id: s, from_env: REPEATED}]}\n", "routes[1].secrets[0]"),
    ],
)
def test_warnings(tmp_path: Path, more: str, path: str) -> None:
    """What is sound and still worth a look is told, at its place."""
    assert path in [warning.path for warning in read(tmp_path, SMALLEST + more).warnings]


def test_signed_things_give_no_warning(tmp_path: Path) -> None:
    """A key or a timestamp that is signed, in whichever way, is nothing to warn of."""
    signature = "scheme: hmac, header: X, template: '{id}.{timestamp}.{body}', id: 'header:X-Id'"
    for key in ("header:X-Id", "header:x", "json:/id", "body:sha256"):
        rules = f"rules: {{signature: {{{signature}}}, timestamp: {{header: T}}, replay: {{key: '{key}', window: 1h}}}}"
        assert read(tmp_path, f"{SMALLEST}    {rules}\n").warnings == ()


def test_pipe_in_a_secrets_place(tmp_path: Path) -> None:
    """A pipe nobody writes to is refused at once, not waited for."""
    os.mkfifo(tmp_path / "secret")
    assert stat.S_ISFIFO((tmp_path / "secret").stat().st_mode)
    found = faults(tmp_path, SMALLEST.replace("from_env: SECRET", "from_file: secret"))
    assert found == ["8:15: routes[0].secrets[0]: secret 's': secret is not a regular file"]


def test_weak_secret_where_it_is_allowed(tmp_path: Path) -> None:
    """A provider that dictates a short secret can be had, an empty one never."""
    text = SMALLEST.replace("from_env: SECRET", "from_env: SHORT, allow_weak: true")
    assert read(tmp_path, text).secrets["a"][0].reveal() == ENVIRON["SHORT"].encode()
    assert "is empty" in faults(tmp_path, text.replace("SHORT", "EMPTY"))[0]


PIECES = (
    *SMALLEST.split(),
    "\n",
    "\t",
    ": ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "&a ",
    "*a",
    "!x ",
    "~",
    "null",
    "-1",
    "1e9",
    "'",
    '"',
    "0" * 30,
)
TEXTS = [file.read_text(encoding="utf-8") for file in (*GOOD, *BAD)]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(TEXTS), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 30), st.sampled_from(PIECES)), max_size=4))
def test_mutated_policies(tmp_path: Path, text: str, changes: list[tuple[float, int, str]]) -> None:
    """Whatever is cut out of a policy and put in, the answer is a policy or its faults, and nothing else."""
    for place, length, piece in changes:
        start = int(place * len(text))
        text = text[:start] + piece + text[start + length :]
    try:
        loaded = read(tmp_path, text)
    except PolicyError as error:
        assert error.faults
        assert not [fault for fault in error.faults if "Input should" in fault.message]
    else:
        assert loaded.policy.routes
