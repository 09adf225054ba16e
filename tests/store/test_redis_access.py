"""Who may use a Redis, and how: passwords, rights, TLS, and a server that is not there at the start."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from proxy.errors import StoreError
from proxy.redis_url import Kind, RedisAccess, RedisUrl, parse
from proxy.store.base import NEW
from proxy.store.redis import RedisStore
from tests.gates import ROOT, free_port
from tests.redises import LEASE, Server, server
from tests.store.outages import BODY, ask, until_taken

PASSWORD = "CANARY-change-me-0a1b2c3d"  # noqa: S105 - of tests alone


async def told_at_start(access: RedisAccess, caplog: pytest.LogCaptureFixture) -> str:
    """What a store without its server says in the log; it opens all the same, refuses, and closes."""
    store = RedisStore(access, LEASE, print)
    await store.open()
    with pytest.raises(StoreError) as caught:
        await store.claim(b"key", BODY, 60.0)
    await store.close()
    assert PASSWORD not in f"{caught.value}{caplog.text}{access!r}{access}"
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.endswith("; until it answers, requests are decided by on_store_error")
    return line.partition("; until")[0]


async def test_a_server_that_is_not_there_yet(caplog: pytest.LogCaptureFixture) -> None:
    """The gate comes up without its server, says so once, and serves as soon as the server is there."""
    port = free_port()
    store = RedisStore(RedisAccess(parse(f"redis://127.0.0.1:{port}")), LEASE, print)
    await store.open()
    assert not await ask(store)
    with server(port=port):
        await until_taken(store)
        await store.close()
    assert caplog.text.count("it cannot be reached: connection refused") == 1


async def test_a_name_that_nobody_knows(caplog: pytest.LogCaptureFixture) -> None:
    """A host that has no address is told as that."""
    told = await told_at_start(RedisAccess(parse("redis://redis.invalid:6379")), caplog)
    assert "its name is not known" in told or "it does not answer in time" in told


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Server]:
    """A server that knows the user of the shipped rights, and asks everybody for a password."""
    rights = (ROOT / "deploy" / "redis" / "hookgate.acl").read_text()
    users = tmp_path / "users.acl"
    users.write_text(f"user default on >{PASSWORD}-default ~* &* +@all\n" + rights)
    with server(f"aclfile {users}") as made:
        yield made


def shipped_password() -> str:
    """The password in the shipped file."""
    text = (ROOT / "deploy" / "redis" / "hookgate.acl").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("user ")]
    return next(word[1:] for word in line.split() if word.startswith(">"))


async def test_the_shipped_rights_are_enough(guarded: Server, caplog: pytest.LogCaptureFixture) -> None:
    """A user with no more rights than the shipped file grants can do all that a store does and the server denies nothing."""
    store = RedisStore(guarded.access(username="hookgate", password=shipped_password()), 1.0, print)
    await store.open()
    assert await store.claim(b"key", BODY, 60.0) == NEW
    await store.release(b"key")
    assert await store.claim(b"key", BODY, 60.0) == NEW
    assert await store.take(b"client", 1.0, 0.0) == 0.0
    other = RedisStore(guarded.access(username="hookgate", password=shipped_password()), 1.0, print)
    await other.open()
    await other.claim(b"key", BODY, 60.0)
    await store.close()
    assert await ask(other)
    await other.close()
    with guarded.client(password=f"{PASSWORD}-default") as client:
        assert client.acl_log() == []
    assert caplog.text == ""


async def test_the_shipped_rights_are_no_more_than_that(guarded: Server) -> None:
    """That user reads no keys of others, empties nothing and changes no setting."""
    with guarded.client(username="hookgate", password=shipped_password()) as client:
        for command in ("GET other", "SET other 1", "FLUSHALL", "KEYS *", "CONFIG GET *", "ACL LIST", "EVAL 'return 1' 0"):
            with pytest.raises(Exception, match=r"(?i)no permission"):
                client.execute_command(*command.split())


async def test_a_wrong_password(guarded: Server, caplog: pytest.LogCaptureFixture) -> None:
    """A wrong password, or none, is told with the settings to look at."""
    told = await told_at_start(guarded.access(password=PASSWORD), caplog)
    assert "it refuses the user or the password: check store.username and store.password" in told
    caplog.clear()
    told = await told_at_start(guarded.access(), caplog)
    assert "it asks for a password: set store.password" in told


async def test_a_lacking_right(guarded: Server, caplog: pytest.LogCaptureFixture) -> None:
    """A right that the user lacks is named, with the file that lists those that are needed."""
    with guarded.client(password=f"{PASSWORD}-default") as client:
        client.acl_setuser("hookgate", enabled=True, commands=["-set"])
    store = RedisStore(guarded.access(username="hookgate", password=shipped_password()), LEASE, print)
    await store.open()
    with pytest.raises(StoreError, match=r"its user lacks a right .*'set'.*: deploy/redis/hookgate\.acl lists those"):
        await store.claim(b"key", BODY, 60.0)
    await store.close()
    assert "its user lacks a right" in caplog.text


async def test_another_database(redis: Server, caplog: pytest.LogCaptureFixture) -> None:
    """The number at the end of the URL is the database; one that the server does not have is told."""
    store = RedisStore(redis.access(url=f"redis://127.0.0.1:{redis.port}/3"), LEASE, print)
    await store.open()
    assert await ask(store)
    await store.close()
    with redis.client(db=3) as client:
        assert client.dbsize() > 0
        client.flushall()
    told = await told_at_start(redis.access(url=f"redis://127.0.0.1:{redis.port}/99"), caplog)
    assert "DB index is out of range" in told


# -- TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """An authority of the tests' own."""
    return trustme.CA()


@pytest.fixture(scope="module")
def folder(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its certificate and one of its server's."""
    made = tmp_path_factory.mktemp("tls")
    issued = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(made / "ca.pem")
    issued.private_key_pem.write_to_path(made / "key.pem")
    issued.cert_chain_pems[0].write_to_path(made / "certificate.pem")
    trustme.CA().cert_pem.write_to_path(made / "other-ca.pem")
    return made


@pytest.fixture(scope="module")
def encrypted(folder: Path) -> Iterator[int]:
    """The TLS port of a server."""
    port = free_port()
    lines = (f"tls-port {port}", f"tls-cert-file {folder}/certificate.pem", f"tls-key-file {folder}/key.pem")
    with server(*lines, f"tls-ca-cert-file {folder}/ca.pem", "tls-auth-clients no"):
        yield port


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_tls(encrypted: int, folder: Path, host: str) -> None:
    """``rediss://`` speaks TLS and takes a certificate that the given authority vouches for, by name or address."""
    store = RedisStore(RedisAccess(parse(f"rediss://{host}:{encrypted}"), ca_file=f"{folder}/ca.pem"), LEASE, print)
    await store.open()
    assert all([await ask(store) for _ in range(20)])
    await store.close()


@pytest.mark.parametrize("ca_file", ["other-ca.pem", None])
async def test_an_authority_that_is_not_trusted(
    encrypted: int, folder: Path, ca_file: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """A certificate that nobody vouches for is refused, with the setting to look at."""
    access = RedisAccess(parse(f"rediss://127.0.0.1:{encrypted}"), ca_file=ca_file and f"{folder}/{ca_file}")
    assert "its certificate is not trusted" in await told_at_start(access, caplog)
    assert "is store.ca_file right?" in caplog.text


async def test_tls_at_one_end_only(redis: Server, encrypted: int, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """TLS to a port without it is an outage, and so is the other way round."""
    access = RedisAccess(parse(f"rediss://127.0.0.1:{redis.port}"), ca_file=f"{folder}/ca.pem")
    assert ": it " in await told_at_start(access, caplog)
    caplog.clear()
    assert ": it " in await told_at_start(RedisAccess(parse(f"redis://127.0.0.1:{encrypted}")), caplog)


# -- URLs


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("redis://h", RedisUrl(Kind.SERVER, False, (("h", 6379),))),
        ("valkeys://u:p%40w@h:1/2", RedisUrl(Kind.SERVER, True, (("h", 1),), "", 2, "u", "p@w")),
        ("redis://:pw@[2001:db8::1]:7000/", RedisUrl(Kind.SERVER, False, (("2001:db8::1", 7000),), password="pw")),  # noqa: S106 - of tests
        ("rediss+sentinel://a,b:1/bots/5", RedisUrl(Kind.SENTINEL, True, (("a", 26379), ("b", 1)), "bots", 5)),
        ("valkey+cluster://a:1,b:2", RedisUrl(Kind.CLUSTER, False, (("a", 1), ("b", 2)))),
    ],
)
def test_urls(text: str, expected: RedisUrl) -> None:
    """Each kind of URL says where, and as whom."""
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text",
    ["redis://", "redis:/h", "http://h", "redis://h/x", "redis://h/1/2", "redis://h:0", "redis://h:99999", "redis://h:x",
     "redis://a,b", "redis://h?x=1", "redis://h#f", "redis+sentinel://h", "redis+cluster://h/1", "redis://u:CANARY@/0"],
)  # fmt: skip
def test_bad_urls(text: str) -> None:
    """What is no such URL is refused, without a part of it in the message."""
    with pytest.raises(ValueError, match=r"\w") as caught:
        parse(text)
    assert "CANARY" not in str(caught.value)


def test_shown_without_secrets() -> None:
    """Neither URL nor access show user or password."""
    url = parse("redis+sentinel://user:CANARY@a,b:1/bots/5")
    shown = f"{url} {url!r} {RedisAccess(url, 'user', 'CANARY', sentinel_password='CANARY')!r}"  # noqa: S106 - of tests
    assert "CANARY" not in shown
    assert "user" not in shown
    assert str(url) == "redis+sentinel://a:26379,b:1/bots/5"


def test_loaded_for_those_who_ask() -> None:
    """A gate without a Redis loads nothing of one, and one with a single server nothing of redis-py."""
    code = "import sys, proxy.engine; print({'redis', 'proxy.store.redis'} & set(sys.modules)); "
    code += "import proxy.store.redis; print({'redis'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603 - our own code
    assert done.stdout.split() == ["set()", "set()"]


def test_redis_is_there() -> None:
    """The tests' own server is installed; without it these promises would not be kept."""
    assert shutil.which("redis-server"), "install redis-server"
