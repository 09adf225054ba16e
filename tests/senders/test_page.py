"""docs/senders.md is what the presets and the recorded requests make of it, and nothing that it shows is only said."""

import re
from pathlib import Path

import pytest

from proxy.policy.presets import PRESETS, preset
from proxy.verdict import Reason
from tests.senders.page import PAGE, page, pair

NAMES = [name for name in PRESETS if name != "generic"]


async def test_page(tmp_path: Path) -> None:
    """The page is the one that is made now; every policy on it was read on the way, every request judged."""
    assert PAGE.read_text() == await page(tmp_path), "make it anew: python -m tests.senders.page > docs/senders.md"


@pytest.mark.parametrize("name", NAMES)
async def test_examples(name: str, tmp_path: Path) -> None:
    """Each sender has a request that passes and one that its signature refuses, with the status that the preset gives it."""
    good, bad = await pair(name, tmp_path)
    assert good is not None
    assert (good.reason, good.status) == (Reason.NONE, 200)
    assert bad is not None
    assert bad.status in {401, 403, 406}


def test_sections() -> None:
    """Each sender has its section with its page and its networks, and says plainly where the body is not signed."""
    sections = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL))
    assert sorted(sections) == sorted(NAMES)
    for name, text in sections.items():
        found = preset(name)
        assert found.page is None or found.page in text
        assert all(network in text for network in found.networks)
        assert not found.networks or str(found.networks_date) in text
    for name in ("telegram", "mailgun", "dingtalk-robot", "botframework", "adyen"):
        assert "Not signed: **the body" in sections[name], name
    for name in ("github", "slack", "discord-interactions", "twilio"):
        assert "**the body" not in sections[name], name
