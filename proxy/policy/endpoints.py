"""Addresses to listen on, and the usual ones. Without the policy's types: small commands ask a running gate, nothing more."""

import re
from typing import Final, NamedTuple, Self


class Endpoint(NamedTuple):
    """An address to listen on: ``host`` and ``port``, or ``path`` for a unix socket."""

    host: str
    port: int
    path: str = ""

    @classmethod
    def parse(cls, value: object) -> Self:
        """From ``host:port``, ``[v6]:port`` or ``unix:/path``."""
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            if value.startswith("unix:") and len(value) > 5:
                return cls("", 0, value[5:])
            found = re.fullmatch(r"(\[[0-9a-fA-F:.%]+\]|[^:\[\]/\s]+):(\d{1,5})", value)
            if found and int(found[2]) <= 65535:
                return cls(found[1].strip("[]"), int(found[2]))
        raise ValueError("must be an address: host:port, [v6]:port or unix:/path")

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


OBSERVE: Final = Endpoint("127.0.0.1", 9464)
"""Where /metrics, /livez and /readyz are unless a policy says otherwise."""
ADMIN: Final = Endpoint("", 0, "run/admin.sock")
"""Where the switch is unless a policy says otherwise."""
