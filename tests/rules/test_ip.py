"""Where a request comes from: allow, deny, presets' ranges, and that deny wins."""

from pathlib import Path
from typing import Any

import pytest

from proxy.networks import UNIX, Address
from proxy.verdict import Reason
from tests.pipeline.judging import address, compiled, request

CASES: list[tuple[dict[str, Any], str | Address, bool]] = [
    ({"allow": ["telegram"]}, "149.154.167.220", True),
    ({"allow": ["telegram"]}, "::ffff:149.154.167.220", True),
    ({"allow": ["telegram"]}, "91.108.4.0", True),
    ({"allow": ["telegram"]}, "91.108.7.255", True),
    ({"allow": ["telegram"]}, "91.108.8.0", False),
    ({"allow": ["telegram"]}, "2001:67c:4e8::1", False),
    ({"allow": ["telegram", "198.51.100.7"]}, "198.51.100.7", True),
    ({"allow": ["telegram", "198.51.100.7"]}, "198.51.100.8", False),
    ({"allow": ["198.51.100.0/24"], "deny": ["198.51.100.7"]}, "198.51.100.7", False),
    ({"allow": ["198.51.100.0/24"], "deny": ["198.51.100.7"]}, "198.51.100.8", True),
    ({"deny": ["198.51.100.0/24"]}, "198.51.100.8", False),
    ({"deny": ["198.51.100.0/24"]}, "::ffff:198.51.100.8", False),
    ({"deny": ["198.51.100.0/24"]}, "203.0.113.1", True),
    ({"deny": ["2001:db8::/32"]}, "2001:db8::1", False),
    ({"deny": ["unix"]}, UNIX, False),
    ({"allow": ["unix"]}, UNIX, True),
    ({"allow": ["unix"]}, "127.0.0.1", False),
    ({"allow": ["0.0.0.0/0"]}, UNIX, False),
    ({"allow": ["2001:db8::/32"]}, "2001:db8:ffff::1", True),
    ({"allow": ["2001:db8::/32"]}, "198.51.100.7", False),
]


@pytest.mark.parametrize(("rule", "client", "passes"), CASES)
async def test_ip(rule: dict[str, Any], client: str | Address, passes: bool, tmp_path: Path) -> None:
    """A client passes when allow has it, or allow is empty, and deny has it not; asked twice, the answer is the same."""
    gate = await compiled(tmp_path, {"insecure": True, "rules": {"ip": rule}})
    for _ in range(2):
        judged = await gate.judge(request(client=client))
        assert judged.reason is (Reason.NONE if passes else Reason.IP_DENIED)
        assert judged.status == (200 if passes else 403)


async def test_a_crowd(tmp_path: Path) -> None:
    """More clients than are remembered are all judged rightly, again and again."""
    gate = await compiled(tmp_path, {"insecure": True, "rules": {"ip": {"deny": ["10.1.0.0/16"]}}})
    for _ in range(2):
        for number in range(0, 6000, 7):
            for network, reason in ((0, Reason.NONE), (1, Reason.IP_DENIED)):
                client = address(f"10.{network}.{number >> 8}.{number & 255}")
                assert (await gate.judge(request(client=client))).reason is reason


async def test_listed_senders(tmp_path: Path) -> None:
    """A sender's published networks tell a listed client from an unlisted one, and refuse nobody."""
    gate = await compiled(tmp_path, {"provider": "telegram", "secrets": [{"id": "s", "value": "x1" * 16}]})
    assert gate.gate.senders(request(client="149.154.160.1").head)
    assert not gate.gate.senders(request(client="198.51.100.7").head)
