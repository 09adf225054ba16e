"""Where keys may come from, address by address."""

import pytest

from proxy.keyring.addresses import Allowed, host_of

LISTED = Allowed(frozenset({"keys.example.com", "idp.example.com:8443", "127.0.0.1:9000", "[::1]:9000", "192.0.2.7"}))

GOOD = [
    "https://keys.example.com/jwks.json",
    "https://keys.example.com:443/",
    "https://keys.example.com",
    "https://keys.example.com/a%20b?x=1&y=2",
    "https://idp.example.com:8443/keys",
    "http://127.0.0.1:9000/keys",
    "https://127.0.0.1:9000/keys",
    "http://[::1]:9000/keys",
    "https://192.0.2.7/keys",
]

BAD = [
    ("another host", "https://evil.example.com/jwks.json"),
    ("a suffix of the host", "https://example.com/jwks.json"),
    ("the host as a prefix", "https://keys.example.com.evil.org/"),
    ("the host as a suffix", "https://evilkeys.example.com/"),
    ("the host as a user", "https://keys.example.com@evil.org/"),
    ("the host as user and password", "https://keys.example.com:443@evil.org/"),
    ("a user", "https://user@keys.example.com/"),
    ("the host behind a fragment", "https://evil.org/#https://keys.example.com/"),
    ("a fragment", "https://keys.example.com/#x"),
    ("a backslash for a slash", "https://evil.org\\@keys.example.com/"),
    ("a backslash in the path", "https://keys.example.com/\\evil.org"),
    ("no TLS", "http://keys.example.com/jwks.json"),
    ("no TLS to a listed address that is not this machine's", "http://192.0.2.7:80/keys"),
    ("another port", "https://keys.example.com:8443/"),
    ("the usual port where another is listed", "https://idp.example.com/keys"),
    ("another port of this machine", "http://127.0.0.1:9001/keys"),
    ("this machine by name", "http://localhost:9000/keys"),
    ("this machine in one number", "http://2130706433:9000/keys"),
    ("this machine in hexadecimal", "http://0x7f000001:9000/keys"),
    ("this machine in octal", "http://0177.0.0.1:9000/keys"),
    ("this machine in short", "http://127.1:9000/keys"),
    ("this machine, mapped", "http://[::ffff:127.0.0.1]:9000/keys"),
    ("any address of this machine", "http://0.0.0.0:9000/keys"),
    ("metadata of a cloud", "http://169.254.169.254/latest/meta-data/"),
    ("a private address", "https://10.0.0.1/keys"),
    ("another scheme", "ftp://keys.example.com/"),
    ("a file", "file:///etc/passwd"),
    ("no scheme", "//keys.example.com/"),
    ("a path alone", "/jwks.json"),
    ("nothing", ""),
    ("a space before it", " https://keys.example.com/"),
    ("a newline behind it", "https://keys.example.com/\n"),
    ("a newline inside", "https://keys.example.com/\r\nX-Evil: 1"),
    ("a tab in the host", "https://keys\t.example.com/"),
    ("capital letters", "https://KEYS.example.com/"),
    ("a dot behind the host", "https://keys.example.com./"),
    ("percent signs in the host", "https://keys%2eexample.com/"),
    ("letters beyond ASCII", "https://keys。example.com/"),
    ("a port that is too large", "https://keys.example.com:99999/"),
    ("no port behind the colon", "https://keys.example.com:/"),
    ("a zone", "http://[::1%25eth0]:9000/keys"),
    ("an empty label", "https://keys..example.com/"),
]


@pytest.mark.parametrize("url", GOOD)
def test_listed(url: str) -> None:
    """A listed host is asked over TLS; a listed address of this machine without, too."""
    assert LISTED.fault(url) is None
    assert host_of(url)


@pytest.mark.parametrize("url", [row[1] for row in BAD], ids=[row[0] for row in BAD])
def test_not_listed(url: str) -> None:
    """Whatever an address looks like, nothing is asked but listed hosts; and the reason does not quote the address."""
    fault = LISTED.fault(url)
    assert fault is not None
    assert "evil" not in fault


PLACES = [
    ("93.184.216.34", True),
    ("2606:2800:220:1::1", True),
    ("127.0.0.1", False),
    ("10.1.2.3", False),
    ("172.16.0.1", False),
    ("192.168.1.1", False),
    ("169.254.169.254", False),
    ("100.64.0.1", False),
    ("0.0.0.0", False),  # noqa: S104 - an address to be refused
    ("224.0.0.1", False),
    ("255.255.255.255", False),
    ("::1", False),
    ("fe80::1", False),
    ("fe80::1%eth0", False),
    ("fd00::1", False),
    ("ff02::1", False),
    ("::ffff:127.0.0.1", False),
    ("::ffff:93.184.216.34", True),
    ("64:ff9b::7f00:1", False),
    ("64:ff9b::5db8:d822", True),
    ("2002:7f00:1::", False),
    ("2001:0:4136:e378:8000:63bf:3fff:fdd2", False),
    ("no address", False),
]


@pytest.mark.parametrize(("address", "fine"), PLACES)
def test_what_a_name_may_stand_for(address: str, fine: bool) -> None:
    """A listed name leads to the open internet alone, however the address is wrapped, unless the policy allows more."""
    assert LISTED.may_stand_for(address) is fine
    if address[0].isdigit() and "%" not in address:
        assert LISTED._replace(private=True).may_stand_for(address)
