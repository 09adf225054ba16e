"""Why a gate would not start: each time one sentence that says what to do, an exit code, and nothing left behind."""

import socket
from pathlib import Path

import pytest
import trustme

from tests.cli.commands import ENVIRON, POLICY, run


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A sound policy."""
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY)
    return file


def with_line(policy: Path, line: str) -> None:
    """Add a top-level line to a policy."""
    policy.write_text(f"{line}\n{policy.read_text()}")


@pytest.mark.parametrize("section", ["listen", "observe"])
def test_port_in_use(policy: Path, section: str) -> None:
    """A port that another process has."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        policy.write_text(POLICY.replace(f"{section}: {{address: 127.0.0.1:0", f"{section}: {{address: 127.0.0.1:{port}"))
        ran = run("serve", "policy.yaml", cwd=policy.parent)
    assert ran.code == 1
    assert ran.sentence() == (
        f"hookgate: cannot listen on 127.0.0.1:{port}: another process listens there: end it or choose another address"
    )


def test_foreign_address(policy: Path) -> None:
    """An address that no interface has (TEST-NET-1 of RFC 5737)."""
    policy.write_text(POLICY.replace("listen: {address: 127.0.0.1:0", "listen: {address: 192.0.2.1:8443"))
    ran = run("serve", "policy.yaml", cwd=policy.parent)
    assert ran.code == 1
    assert "no interface of this machine has this address: use 0.0.0.0" in ran.sentence()


def test_admin_socket_in_use(policy: Path) -> None:
    """An admin socket on which another process answers: it is left alone."""
    (policy.parent / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(policy.parent / "run" / "admin.sock"))
        other.listen()
        ran = run("serve", "policy.yaml", cwd=policy.parent)
        assert (policy.parent / "run" / "admin.sock").is_socket()
    assert ran.code == 1
    assert "admin.sock: another process listens there: end it or choose another address" in ran.sentence()


def test_file_where_the_admin_socket_should_be(policy: Path) -> None:
    """Somebody's file under the admin socket's name is not removed."""
    (policy.parent / "run").mkdir()
    (policy.parent / "run" / "admin.sock").write_text("precious")
    ran = run("serve", "policy.yaml", cwd=policy.parent)
    assert ran.code == 1
    assert ran.sentence().endswith("admin.sock: a file that is no socket has this name: move it away")
    assert (policy.parent / "run" / "admin.sock").read_text() == "precious"


def test_file_where_the_sockets_folder_should_be(policy: Path) -> None:
    """A file under the name of the admin socket's folder."""
    (policy.parent / "run").write_text("")
    ran = run("serve", "policy.yaml", cwd=policy.parent)
    assert ran.code == 1
    assert f"make {policy.parent}/run a folder that this user may write to, or choose another address" in ran.sentence()


def test_unwritable_state_folder(policy: Path) -> None:
    """A state folder in which this user may not write."""
    (policy.parent / "state").mkdir(mode=0o500)
    ran = run("serve", "policy.yaml", cwd=policy.parent, ordinary=True)
    assert ran.code == 1
    assert ran.sentence() == (
        f"hookgate: the state folder {policy.parent}/state cannot be written (permission denied):"
        " make it writable for this user, or name another with state_directory"
    )


def test_store_is_no_database(policy: Path) -> None:
    """A store file that holds something else: it is left as it was."""
    (policy.parent / "state").mkdir()
    (policy.parent / "state" / "hookgate.db").write_text("a diary, not a database; " * 10)
    ran = run("serve", "policy.yaml", cwd=policy.parent)
    assert ran.code == 1
    assert "hookgate.db: file is not a database; move the file away" in ran.sentence()
    assert (policy.parent / "state" / "hookgate.db").read_text().startswith("a diary")


def test_store_out_of_reach(policy: Path) -> None:
    """A store in a folder where this user may not write."""
    (policy.parent / "closed").mkdir(mode=0o500)
    with_line(policy, 'store: {url: "sqlite:closed/claims.db"}')
    ran = run("serve", "policy.yaml", cwd=policy.parent, ordinary=True)
    assert ran.code == 1
    assert f"make {policy.parent}/closed a folder that Hookgate's user may write to" in ran.sentence()


def test_missing_secret(policy: Path) -> None:
    """A secret whose environment variable is not set."""
    ran = run("serve", "policy.yaml", cwd=policy.parent, environ={**ENVIRON, "TELEGRAM_SECRET": ""})
    assert ran.code == 78
    assert ran.sentence().startswith("policy.yaml:9:15: routes[0].secrets[0]: secret 'first' of route 'telegram' is empty")
    environ = {name: value for name, value in ENVIRON.items() if name != "TELEGRAM_SECRET"}
    ran = run("serve", "policy.yaml", cwd=policy.parent, environ=environ)
    assert ran.code == 78
    assert ran.sentence().endswith("environment variable TELEGRAM_SECRET is not set")


@pytest.mark.parametrize("verb", ["check", "healthcheck"])
def test_missing_policy(tmp_path: Path, verb: str) -> None:
    """A policy file that is not there."""
    ran = run(verb, "nowhere.yaml", cwd=tmp_path)
    assert ran.code == 78
    assert ran.sentence() == "nowhere.yaml: cannot be read: no such file or directory"


@pytest.mark.parametrize("verb", ["serve", "mode"])
def test_unreadable_policy(policy: Path, verb: str) -> None:
    """A policy file that this user may not read."""
    policy.chmod(0)
    ran = run(verb, "policy.yaml", cwd=policy.parent, ordinary=True)
    assert ran.code == 78
    assert ran.sentence() == "policy.yaml: cannot be read: permission denied"


@pytest.mark.parametrize("trouble", ["unreadable", "missing", "another's"])
def test_unusable_key(policy: Path, trouble: str) -> None:
    """A private key that cannot be read, is not there, or belongs to another certificate."""
    authority = trustme.CA()
    (policy.parent / "tls.crt").write_bytes(authority.issue_cert("bot.example.com").cert_chain_pems[0].bytes())
    key = policy.parent / "tls.key"
    if trouble != "missing":
        key.write_bytes(authority.issue_cert("bot.example.com").private_key_pem.bytes())
    if trouble == "unreadable":
        key.chmod(0)
    policy.write_text(POLICY.replace("127.0.0.1:0}", "127.0.0.1:0, tls: {certificate: tls.crt, key: tls.key}}", 1))
    ran = run("serve", "policy.yaml", cwd=policy.parent, ordinary=True)
    assert ran.code == 78
    said = ran.sentence()
    assert said.startswith("policy.yaml:2:")
    expected = {"unreadable": "Permission denied", "missing": "no such file", "another's": "does not belong to the certificate"}
    assert "listen.tls.key: " in said
    assert expected[trouble] in said


def test_every_fault_at_once(policy: Path) -> None:
    """An unsound policy prints all its faults and nothing starts."""
    policy.write_text(POLICY.replace("version: 1", "version: 2").replace("/telegram", "telegram").replace("http:", "ftp:"))
    ran = run("serve", "policy.yaml", cwd=policy.parent)
    assert ran.code == 78
    assert [line.split(": ")[1] for line in ran.err.splitlines()] == ["version", "upstream.url", "routes[0].path"]
    assert not ran.out
    assert [file.name for file in policy.parent.iterdir()] == ["policy.yaml"]
