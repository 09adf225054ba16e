"""What the key of a claim holds in a Redis.

Reserved: ``R``, the owner, a number, the window and the body's digest; it lives for lease and window, and as long as more than
the window is left, its holder is alive. Delivered: ``D`` and the digest, for the window. The number makes each reservation its
own: what settles one can never touch another, however late the server does it.
"""

from typing import Final

from proxy.store.pending import Reservation

OWNED: Final = 9
"""Bytes at the beginning of a reservation that name its owner."""
RESERVED: Final = 41
"""Bytes of a reservation."""
_DELIVERED = 17


class Held(Reservation):
    """A reservation of this process, as the server has it."""

    __slots__ = ("key", "renewed", "value")

    def __init__(self, digest: bytes, window: float, key: bytes, value: bytes, now: float, *, doubtful: bool) -> None:
        super().__init__(digest, window, doubtful=doubtful)
        self.key = key
        self.value = value
        self.renewed = now


def left(window: float, digest: bytes) -> bytes:
    """A reservation that nobody holds: in doubt as soon as it is met."""
    return b"R" + bytes(OWNED - 1 + 8) + max(1, round(window * 1000)).to_bytes(8) + digest


def is_delivered(value: bytes) -> bool:
    """Whether it remembers a delivery."""
    return len(value) == _DELIVERED and value[:1] == b"D"


def is_reserved(value: bytes) -> bool:
    """Whether it is a reservation."""
    return len(value) == RESERVED and value[:1] == b"R"


def remembered(digest: bytes) -> bytes:
    """What remembers the delivery of this body."""
    return b"D" + digest


def digest_of(value: bytes) -> bytes:
    """The body that either is about."""
    return value[-16:]


def window_of(reserved: bytes) -> bytes:
    """The window of a reservation in milliseconds, in decimal."""
    return b"%d" % int.from_bytes(reserved[17:25])
