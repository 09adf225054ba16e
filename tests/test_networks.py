"""Addresses and sets of networks agree with the standard library; the client past proxies is nobody else's choice."""

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.networks import UNIX, NetworkSet, client_of, parse_address, parse_network
from tests.pipeline.judging import address

FIRST = str(ipaddress.IPv4Address(0))


def networks(*texts: str, unix: bool = False) -> NetworkSet:
    """A set of these."""
    return NetworkSet(map(parse_network, texts), unix=unix)


ADDRESSES: list[tuple[str, str | None, str]] = [
    ("192.0.2.1", "192.0.2.1", "192.0.2.1"),
    ("2001:DB8::1", "2001:db8::1", "2001:db8::/64"),
    ("2001:db8:0:1:2:3:4:5", "2001:db8:0:1:2:3:4:5", "2001:db8:0:1::/64"),
    ("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1"),
    ("::FFFF:C000:201", "192.0.2.1", "192.0.2.1"),
    ("::192.0.2.1", "::c000:201", "::/64"),
    ("64:ff9b::192.0.2.1", "64:ff9b::c000:201", "64:ff9b::/64"),
    ("2002:c000:0201::", "2002:c000:201::", "2002:c000:201::/64"),
    ("fe80::1%eth0", None, ""),
    ("::ffff:192.0.2.1%1", None, ""),
    ("192.0.2.01", None, ""),
    ("192.0.2.1 ", None, ""),
    ("192.0.2", None, ""),
    ("3221225985", None, ""),
    ("0xC0000201", None, ""),
    ("192.0.2.1/32", None, ""),
    ("[::1]", None, ""),
    ("١٩٢.0.2.1", None, ""),
    ("unix", None, ""),
    ("", None, ""),
]


@pytest.mark.parametrize(("text", "canonical", "group"), ADDRESSES)
def test_addresses(text: str, canonical: str | None, group: str) -> None:
    """An address has one canonical form; a mapped one is the IPv4 address, and what is no address is none."""
    found = parse_address(text)
    assert (found and found.text) == canonical
    if found is not None:
        assert (found.group, found.version) == (group, 6 if ":" in found.text else 4)


@pytest.mark.parametrize(
    ("network", "inside", "outside"),
    [
        ("192.0.2.0/24", ["192.0.2.0", "192.0.2.255", "::ffff:192.0.2.7"], ["192.0.1.255", "192.0.3.0", "::c000:207"]),
        ("192.0.2.7", ["192.0.2.7"], ["192.0.2.6", "192.0.2.8"]),
        ("192.0.2.6/31", ["192.0.2.6", "192.0.2.7"], ["192.0.2.5", "192.0.2.8"]),
        ("0.0.0.0/0", [FIRST, "255.255.255.255", "::ffff:0.0.0.0"], ["::", "::1"]),
        ("::/0", ["::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"], [FIRST, "::ffff:1.2.3.4"]),
        ("::ffff:192.0.2.0/120", ["192.0.2.0", "192.0.2.255", "::ffff:192.0.2.9"], ["192.0.3.0"]),
        ("::ffff:0:0/96", ["1.2.3.4"], ["::1"]),
        ("2001:db8::/32", ["2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"], ["2001:db7:ffff::", "2001:db9::"]),
        (
            "149.154.160.0/20",
            ["149.154.160.0", "149.154.175.255", "::ffff:149.154.167.220"],
            ["149.154.159.255", "149.154.176.0"],
        ),
        ("1.1.1.1", ["1.1.1.1"], ["11.1.1.10", "1.1.1.11"]),
    ],
)
def test_membership(network: str, inside: list[str], outside: list[str]) -> None:
    """First and last address of a network are inside, their neighbours are not; a mapped address is an IPv4 address."""
    assert [text for text in inside if address(text) not in networks(network)] == []
    assert [text for text in outside if address(text) in networks(network)] == []


def test_merged() -> None:
    """Overlapping, adjoining and repeated networks are one range with no hole and no overhang."""
    found = networks("10.0.0.0/25", "10.0.0.128/25", "10.0.0.64/26", "10.0.1.0/24", "10.0.1.0/24", "10.0.3.0/24")
    for text, there in [("9.255.255.255", False), ("10.0.0.127", True), ("10.0.0.128", True), ("10.0.1.255", True),
                        ("10.0.2.0", False), ("10.0.3.0", True), ("10.0.4.0", False)]:  # fmt: skip
        assert (address(text) in found) is there, text


def test_a_hole_of_one() -> None:
    """Two networks with one address between them leave it out."""
    found = networks("10.0.0.0/31", "10.0.0.3", "2001:db8::/127", "2001:db8::3")
    assert address("10.0.0.2") not in found
    assert address("2001:db8::2") not in found
    assert address("10.0.0.3") in found


def test_unix() -> None:
    """A unix socket is in a set only where unix is written, and never in a network."""
    assert UNIX not in networks("0.0.0.0/0", "::/0")
    assert UNIX in networks(unix=True)
    assert address(FIRST) not in networks(unix=True)
    assert networks(unix=True)
    assert not networks()


@pytest.mark.parametrize(
    "text", ["192.0.2.1/24", "2001:db8::1/32", "192.0.2.0/33", "telegram", "", "192.0.2.0/", "1.2.3.4/0.0.0.255.1"]
)
def test_no_network(text: str) -> None:
    """What is no network is refused; one with host bits set is told both readings."""
    with pytest.raises(ValueError, match=r"neither a network|host bits set"):
        parse_network(text)


V4 = st.integers(0, 2**32 - 1)
V6 = st.integers(0, 2**128 - 1)
RAW = st.one_of(
    st.builds(lambda number, bits: ipaddress.IPv4Network((number >> bits << bits, 32 - bits)), V4, st.integers(0, 32)),
    st.builds(lambda number, bits: ipaddress.IPv6Network((number >> bits << bits, 128 - bits)), V6, st.integers(0, 128)),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(RAW, max_size=8), st.data())
def test_as_the_standard_library(ranges: list[ipaddress.IPv4Network | ipaddress.IPv6Network], data: st.DataObject) -> None:
    """For any networks and any address, at their edges above all, membership is what ``ipaddress`` says."""
    edges = [
        type(network.network_address)(number)
        for network in ranges
        for number in (int(network[0]) - 1, int(network[0]), int(network[-1]), int(network[-1]) + 1)
        if 0 <= number < 2**network.max_prefixlen
    ]
    tried = data.draw(
        st.one_of(
            V4.map(ipaddress.IPv4Address), V6.map(ipaddress.IPv6Address), st.sampled_from(edges or [ipaddress.IPv4Address(0)])
        )
    )
    if isinstance(tried, ipaddress.IPv6Address) and tried.ipv4_mapped is not None:
        tried = tried.ipv4_mapped
    wanted = any(tried in network for network in map(parse_network, map(str, ranges)))
    assert (address(str(tried)) in NetworkSet(map(parse_network, map(str, ranges)))) is wanted


TRUSTED = networks("10.0.0.0/8", "fd00::/8", unix=True)

CLIENTS: list[tuple[str, str, list[str], str]] = [
    ("nobody in front", "198.51.100.9", [], "198.51.100.9"),
    ("a stranger's header", "198.51.100.9", ["149.154.160.1"], "198.51.100.9"),
    ("a stranger's headers", "198.51.100.9", ["10.0.0.1", "149.154.160.1"], "198.51.100.9"),
    ("one proxy", "10.0.0.1", ["198.51.100.9"], "198.51.100.9"),
    ("one proxy, silent", "10.0.0.1", [], "10.0.0.1"),
    ("two proxies", "10.0.0.1", ["198.51.100.9, 10.0.0.2"], "198.51.100.9"),
    ("two proxies, two headers", "10.0.0.1", ["198.51.100.9", "10.0.0.2"], "198.51.100.9"),
    ("forged on the left", "10.0.0.1", ["149.154.160.1, 198.51.100.9"], "198.51.100.9"),
    ("forged in a header of its own", "10.0.0.1", ["149.154.160.1", "198.51.100.9"], "198.51.100.9"),
    ("a forged proxy on the left", "10.0.0.1", ["149.154.160.1, 10.9.9.9, 198.51.100.9"], "198.51.100.9"),
    ("proxies all the way", "10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
    ("white space", "10.0.0.1", ["  198.51.100.9\t,\t10.0.0.2 "], "198.51.100.9"),
    ("a port", "10.0.0.1", ["198.51.100.9:4711"], "198.51.100.9"),
    ("brackets", "10.0.0.1", ["[2001:db8::9]"], "2001:db8::9"),
    ("brackets and a port", "10.0.0.1", ["[2001:db8::9]:443"], "2001:db8::9"),
    ("bare IPv6", "10.0.0.1", ["2001:db8::9"], "2001:db8::9"),
    ("mapped", "10.0.0.1", ["::ffff:198.51.100.9"], "198.51.100.9"),
    ("a mapped proxy", "::ffff:10.0.0.1", ["198.51.100.9"], "198.51.100.9"),
    ("a proxy of IPv6", "fd00::1", ["198.51.100.9"], "198.51.100.9"),
    ("unknown", "10.0.0.1", ["149.154.160.1, unknown"], "10.0.0.1"),
    ("hidden", "10.0.0.1", ["149.154.160.1, _hidden"], "10.0.0.1"),
    ("unknown further left", "10.0.0.1", ["149.154.160.1, unknown, 10.0.0.2"], "10.0.0.2"),
    ("nothing between commas", "10.0.0.1", ["149.154.160.1,,"], "10.0.0.1"),
    ("an empty header", "10.0.0.1", [""], "10.0.0.1"),
    ("a quoted one", "10.0.0.1", ['149.154.160.1, "198.51.100.9"'], "10.0.0.1"),
    ("a comma in quotes", "10.0.0.1", ['"149.154.160.1, 10.0.0.2"'], "10.0.0.1"),
    ("a zone", "10.0.0.1", ["fe80::1%eth0"], "10.0.0.1"),
    ("octets with zeros", "10.0.0.1", ["198.51.100.009"], "10.0.0.1"),
    ("an open bracket", "10.0.0.1", ["[2001:db8::9"], "10.0.0.1"),
    ("junk behind a bracket", "10.0.0.1", ["[2001:db8::9]x"], "10.0.0.1"),
    ("a port that is none", "10.0.0.1", ["198.51.100.9:http"], "10.0.0.1"),
    ("a network", "10.0.0.1", ["198.51.100.0/24"], "10.0.0.1"),
    ("a thousand", "10.0.0.1", [", ".join(["149.154.160.1"] * 1000 + ["198.51.100.9"])], "198.51.100.9"),
]


@pytest.mark.parametrize(("peer", "lines", "client"), [row[1:] for row in CLIENTS], ids=[row[0] for row in CLIENTS])
def test_client(peer: str, lines: list[str], client: str) -> None:
    """The client is the first from the right whom no trusted proxy owns; what cannot be read ends the walk."""
    assert client_of(address(peer), lines, TRUSTED).text == client


def test_client_behind_a_unix_socket() -> None:
    """A unix socket is trusted where unix is written, and then only."""
    assert client_of(UNIX, ["198.51.100.9"], TRUSTED).text == "198.51.100.9"
    assert client_of(UNIX, ["198.51.100.9"], networks("0.0.0.0/0")) == UNIX


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(max_size=30), max_size=4), st.text(alphabet='0123456789abcdef:.[], _%unkow"', max_size=60))
def test_nothing_left_of_a_stranger_counts(forged: list[str], left: str) -> None:
    """Whatever a client writes into the header, the entry that the trusted proxy appended wins."""
    proxy = address("10.0.0.1")
    assert client_of(proxy, [*forged, f"{left}, 198.51.100.9"], TRUSTED).text == "198.51.100.9"
    assert client_of(address("203.0.113.5"), [*forged, left], TRUSTED).text == "203.0.113.5"
