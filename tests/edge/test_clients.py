"""Who the client is: from trusted proxies alone, read from the right; the bot is told one address, and no other's word."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge.lines import Line, request
from tests.edge.stages import Stage, policy, staged
from tests.gates import serving
from tests.upstream.bots import OK, always, scripted

TRUSTED = ["127.0.0.1", "10.0.0.0/8", "2001:db8:ffff::/48"]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A gate that trusts the proxy on its own machine."""
    safe = {"name": "safe", "path": "/safe", "insecure": True, "rules": {"transport": {"tls": "required"}}}
    plain = {"name": "plain", "path": "/w", "insecure": True}
    folder = tmp_path_factory.mktemp("clients")
    with staged(folder, always(OK), trusted_proxies=TRUSTED, routes=[plain, safe]) as made:
        yield made


def told(stage: Stage, fields: bytes, path: bytes = b"/w") -> dict[bytes, list[bytes]]:
    """What the bot gets, by lower-case name."""
    with Line(stage.gate) as line:
        assert line.ask(request(path=path, fields=fields)).status == 200
    head = stage.bot.requests[-1].partition(b"\r\n\r\n")[0]
    found: dict[bytes, list[bytes]] = {}
    for one in head.split(b"\r\n")[1:]:
        name, _, value = one.partition(b": ")
        found.setdefault(name.lower(), []).append(value)
    return found


@pytest.mark.parametrize(
    ("written", "client"),
    [
        ((b"203.0.113.7",), b"203.0.113.7"),
        ((b"149.154.160.1, 203.0.113.7",), b"203.0.113.7"),
        ((b"149.154.160.1", b"203.0.113.7"), b"203.0.113.7"),
        ((b"203.0.113.7, 10.1.2.3",), b"203.0.113.7"),
        ((b"149.154.160.1, 203.0.113.7, 10.1.2.3", b"10.9.9.9"), b"203.0.113.7"),
        ((b"  203.0.113.7\t,\t10.1.2.3  ",), b"203.0.113.7"),
        ((b"203.0.113.7:4711",), b"203.0.113.7"),
        ((b"2001:db8::1",), b"2001:db8::1"),
        ((b"[2001:DB8::1]",), b"2001:db8::1"),
        ((b"[2001:db8:0:0::1]:443",), b"2001:db8::1"),
        ((b"203.0.113.7, 2001:db8:ffff::9",), b"203.0.113.7"),
        ((b"::ffff:203.0.113.7",), b"203.0.113.7"),
        ((b"203.0.113.7, ::ffff:10.1.2.3",), b"203.0.113.7"),
        ((b"10.0.0.1, 10.0.0.2",), b"10.0.0.1"),
        ((), b"127.0.0.1"),
        ((b"",), b"127.0.0.1"),
        ((b",",), b"127.0.0.1"),
        ((b"203.0.113.7,",), b"127.0.0.1"),
        ((b"unknown",), b"127.0.0.1"),
        ((b"203.0.113.7, unknown",), b"127.0.0.1"),
        ((b"203.0.113.7, _hidden, 10.0.0.1",), b"10.0.0.1"),
        ((b'"203.0.113.7"',), b"127.0.0.1"),
        ((b'203.0.113.7, "a,10.0.0.1"',), b"127.0.0.1"),
        ((b"for=203.0.113.7",), b"127.0.0.1"),
        ((b"203.0.113.07",), b"127.0.0.1"),
        ((b"203.0.113",), b"127.0.0.1"),
        ((b"203.0.113.7/32",), b"127.0.0.1"),
        ((b"3405803783",), b"127.0.0.1"),
        ((b"fe80::1%eth0",), b"127.0.0.1"),
        ((b"[2001:db8::1",), b"127.0.0.1"),
        ((b"203.0.113.7, \xff\xfe",), b"127.0.0.1"),
        ((b"149.154.160.1, " * 900 + b"203.0.113.7",), b"203.0.113.7"),
        ((b"203.0.113.7, " + b", ".join([b"10.0.0.1"] * 1000),), b"203.0.113.7"),
    ],
)
def test_x_forwarded_for(stage: Stage, written: tuple[bytes, ...], client: bytes) -> None:
    """The client is the first address from the right that no trusted proxy owns; what cannot be read ends the walk."""
    fields = b"".join(b"X-Forwarded-For: %b\r\n" % one for one in written)
    assert told(stage, fields)[b"x-forwarded-for"] == [client]


def test_what_a_trusted_proxy_says(stage: Stage) -> None:
    """A trusted proxy's scheme, host and request id are kept, its other forwarding fields untouched; our own fields are ours."""
    fields = (
        b"X-Forwarded-Proto: http, https\r\nX-Forwarded-Host: bot.example\r\nX-Request-Id: from-the-proxy-1\r\n"
        b"Forwarded: for=203.0.113.7\r\nX-Real-IP: 203.0.113.7\r\nHookgate-Redelivery: maybe\r\n"
    )
    found = told(stage, fields)
    assert found[b"x-forwarded-proto"] == [b"https"]
    assert found[b"x-forwarded-host"] == [b"bot.example"]
    assert found[b"x-request-id"] == [b"from-the-proxy-1"]
    assert found[b"forwarded"] == [b"for=203.0.113.7"]
    assert found[b"x-real-ip"] == [b"203.0.113.7"]
    assert b"hookgate-redelivery" not in found


@pytest.mark.parametrize("written", [b"a b c d e f", b"short", b"x" * 65, b'"quoted-text"', b"caf\xe9-caf\xe9"])
def test_request_ids_that_are_none(stage: Stage, written: bytes) -> None:
    """A request id that could disturb a log is replaced, a trusted proxy's too."""
    (found,) = told(stage, b"X-Request-Id: %b\r\n" % written)[b"x-request-id"]
    assert len(found) == 16 and int(found, 16)


def test_https_by_word_of_a_trusted_proxy(stage: Stage) -> None:
    """Where TLS is required a trusted proxy's word counts, its nearest one; no word, or another, is refused."""
    told(stage, b"X-Forwarded-Proto: HTTPS\r\n", b"/safe")
    for fields in (b"", b"X-Forwarded-Proto: http\r\n", b"X-Forwarded-Proto: https, http\r\n", b"Forwarded: proto=https\r\n"):
        with Line(stage.gate) as line:
            assert line.ask(request(path=b"/safe", fields=fields)).status == 403


def test_a_unix_socket(tmp_path: Path) -> None:
    """On a unix socket a proxy that the policy trusts as unix speaks for its client; untrusted, nothing is believed."""
    for trusted, client in ((["unix"], [b"203.0.113.7"]), ([], [b"unix"])):
        folder = tmp_path / str(len(trusted))
        folder.mkdir()
        with scripted(always(OK)) as bot:
            listen = {"address": f"unix:{folder}/gate.sock"}
            file = folder / "policy.yaml"
            file.write_text(policy(f"http://127.0.0.1:{bot.port}", listen=listen, trusted_proxies=trusted))
            with serving(file) as gate:
                with Line(f"{folder}/gate.sock") as line:
                    assert line.ask(request(fields=b"X-Forwarded-For: 203.0.113.7\r\n")).status == 200
                    assert line.ask(request(token=b"")).status == 401
                assert gate.stop() == 0
            found = [one.partition(b": ")[2] for one in bot.requests[0].split(b"\r\n") if one.startswith(b"X-Forwarded-For: ")]
            assert found == client
