"""Secrets: read once at load from a file, the environment or (demo) the policy; then held where nothing prints them.

SECURITY: no message made here ever holds a secret's value, and ``Secret`` shows its id alone.
"""

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn, SupportsIndex

from proxy.policy.references import SecretSource, SecretValue

WEAK_BYTES = 16
_MAX_BYTES = 64 * 1024


class Secret:
    """One secret with its id and its time of validity (unix seconds). The bytes come out through ``reveal`` alone."""

    __slots__ = ("__value", "__values", "created", "id", "not_after", "not_before", "revoked")

    def __init__(
        self,
        id: str,
        value: bytes,
        *,
        not_before: float | None = None,
        not_after: float | None = None,
        created: float | None = None,
        values: Mapping[str, bytes] | None = None,
    ) -> None:
        self.id = id
        self.not_before = not_before
        self.not_after = not_after
        self.revoked: float | None = None
        """When an operator took it out of service; it is never accepted again."""
        self.created = created
        """When its file was last written; ``None`` for a secret that is not from a file."""
        self.__value = value
        self.__values = dict(values or {})

    def reveal(self, name: str = "") -> bytes:
        """The secret itself, or one of its several values. Compare it in constant time; never format it.

        Raises:
            KeyError: it has no value of that name.
        """
        return self.__values[name] if name else self.__value

    def has(self, name: str) -> bool:
        """Whether it has a value of that name."""
        return name in self.__values

    def active(self, now: float) -> bool:
        """Whether it is accepted at this moment (unix seconds): from ``not_before`` on, until just before ``not_after``."""
        begins, ends = self.not_before, self.not_after
        return self.revoked is None and (begins is None or now >= begins) and (ends is None or now < ends)

    def expired(self, now: float) -> bool:
        """Whether its time is over."""
        return self.not_after is not None and now >= self.not_after

    def __repr__(self) -> str:
        return f"<secret {self.id}>"

    __str__ = __repr__

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a secret is neither copied nor pickled")


def read_secret(reference: SecretSource, folder: Path, environ: Mapping[str, str]) -> tuple[bytes, float | None]:
    """A secret's bytes and, from a file, the time of its last change.

    Raises:
        ValueError: it cannot be had; the message says why and names its source, never its value.
    """
    inline = reference.value if isinstance(reference, SecretValue) else None
    given = [source for source in (reference.from_env, reference.from_file, inline) if source is not None]
    if len(given) != 1:
        choice = "from_env, from_file" if isinstance(reference, SecretValue) else "from_env or from_file"
        raise ValueError(f"needs exactly one of {choice}{' or value' if isinstance(reference, SecretValue) else ''}")
    if reference.from_env is not None:
        value = environ.get(reference.from_env)
        if value is None:
            raise ValueError(f"environment variable {reference.from_env} is not set")
        return value.encode("utf-8", "surrogateescape"), None
    if reference.from_file is not None:
        return _read_file(folder / reference.from_file, reference.from_file)
    return (inline or "").encode(), None


def weakness(value: bytes) -> str | None:
    """Why these bytes cannot be a secret at all, or ``None``."""
    if not value:
        return "is empty"
    if not value.strip():
        return "is blank"
    return None


def outside_alphabet(value: bytes, alphabet: str) -> bool:
    """Whether a byte is none of the characters that the sender accepts."""
    return re.fullmatch(rf"[{alphabet}]*".encode(), value) is None


def _read_file(path: Path, written: str) -> tuple[bytes, float]:
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise ValueError(f"{written} is not a regular file")
            value = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ValueError(f"{written} cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)) from None
    if len(value) > _MAX_BYTES:
        raise ValueError(f"{written} is larger than 64 KiB")
    return (value[:-2] if value.endswith(b"\r\n") else value.removesuffix(b"\n")), facts.st_mtime


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe in a secret's place must not hang the start
