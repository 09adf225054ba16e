"""Policies for the tests, as JSON, which YAML is: ports that the kernel chooses, secrets in the open, claims in memory."""

import json
from collections.abc import Sequence
from typing import Any


def policy_text(routes: Sequence[Any], bot: int = 1, **top: Any) -> str:
    """A whole policy with these routes, in front of a bot at this port of 127.0.0.1; ``top`` stands at its top."""
    held = {
        "version": 1,
        "allow_inline_secrets": True,
        "listen": {"address": "127.0.0.1:0"},
        "observe": {"address": "127.0.0.1:0"},
        "store": {"url": "memory:"},
        "upstream": {"url": f"http://127.0.0.1:{bot}"},
    }
    return json.dumps({**held, **top, "routes": routes})
