"""Secrets taken out of service by hand: one small JSON file in the state folder, replaced whole, for all restarts and reloads.

A file that is there and cannot be read ends the start: what is in doubt must not come back to life by itself.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from proxy.errors import StartError
from proxy.policy.secrets import Secret

Revoked = Mapping[str, Mapping[str, float]]
"""Route → id → when (unix seconds)."""

Matched = Mapping[tuple[str, str], Sequence[float]]
"""Route and id → how often it matched, and when last (unix seconds, 0 for never)."""

Secrets = Mapping[str, Iterable[Secret]]
"""By the name of the route."""


class Revocations:
    """Reads and writes ``revoked.json``; what it knows counts at once, whether or not it could be written."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "revoked.json"
        self._revoked: dict[str, dict[str, float]] = {}

    def read(self) -> None:
        """Take what is kept; raises ``StartError`` where it cannot be told what is."""
        try:
            self._revoked = _checked(json.loads(self.path.read_bytes()))
        except FileNotFoundError:
            self._revoked = {}
        except (OSError, ValueError, RecursionError) as error:
            why = (error.strerror or "unknown reason").lower() if isinstance(error, OSError) else "it is damaged"
            raise StartError(
                f"{self.path} says which secrets are revoked, and cannot be read ({why}): bring it back from a backup, or take "
                "the revoked secrets out of the policy and remove the file"
            ) from None

    @property
    def all(self) -> Revoked:
        """All that is revoked."""
        return self._revoked

    def apply(self, secrets: Secrets) -> None:
        """Mark what is revoked."""
        mark(self._revoked, secrets)

    def warnings(self, secrets: Secrets) -> Iterator[str]:
        """What is revoked and stands in the policy still."""
        for route, listed in secrets.items():
            for secret in listed:
                if secret.revoked is not None:
                    yield (
                        f"secret {secret.id!r} of route {route!r} is revoked and counts no more: take it out of the policy "
                        "(another secret needs another id)"
                    )

    def add(self, route: str, id: str, now: float) -> None:
        """Revoke; a second time changes nothing. ``write`` keeps it."""
        self._revoked.setdefault(route, {}).setdefault(id, now)

    def write(self) -> None:
        """Replace the file whole; waits for the disk. Raises ``OSError``."""
        fresh = self.path.with_suffix(f".{os.getpid()}.new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:
            json.dump(self._revoked, file)
            file.flush()
            os.fsync(file.fileno())  # a power cut must not revive what was taken out of service
        fresh.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def mark(revoked: Revoked, secrets: Secrets) -> None:
    """Take out of service what is revoked; whoever holds these very secrets refuses them from the next request on."""
    for route, ids in revoked.items():
        for secret in secrets.get(route, ()):
            if secret.id in ids:
                secret.revoked = ids[secret.id]


def changes(before: Secrets, now: Secrets) -> Iterator[tuple[str, list[str], list[str]]]:
    """For each route whose secrets differ: the ids that are new or have another value, and those that are gone or have."""
    for route in sorted({*before, *now}):
        old, new = ({(one.id, one.reveal()) for one in secrets.get(route, ())} for secrets in (before, now))
        if old != new:
            yield route, sorted(id for id, _ in new - old), sorted(id for id, _ in old - new)


def secret_states(secrets: Secrets, matched: Matched, now: float) -> list[dict[str, object]]:
    """What an operator wants to know of each secret; times in unix seconds, ``None`` for none."""
    return [
        {
            "route": route,
            "id": secret.id,
            "state": _state(secret, now),
            "created": secret.created,
            "not_before": secret.not_before,
            "not_after": secret.not_after,
            "revoked": secret.revoked,
            "matches": int(matched.get((route, secret.id), (0, 0))[0]),
            "last_match": matched.get((route, secret.id), (0, 0))[1] or None,
        }
        for route, listed in secrets.items()
        for secret in listed
    ]


def _state(secret: Secret, now: float) -> str:
    if secret.revoked is not None:
        return "revoked"
    if secret.expired(now):
        return "expired"
    return "active" if secret.active(now) else "pending"


def _checked(tree: object) -> dict[str, dict[str, float]]:
    """The file's content in its one form; raises ``ValueError`` for any other."""
    if not isinstance(tree, dict):
        raise ValueError
    for ids in tree.values():
        if not isinstance(ids, dict) or not all(isinstance(moment, int | float) for moment in ids.values()):
            raise ValueError
    return tree
