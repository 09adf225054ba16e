"""Who of those that reserved a claim in a shared file still lives.

Each open store is an *owner*: a random number, and a POSIX lock on that byte of the owners file. The kernel drops the lock when
the process dies, however it dies; process ids prove nothing, since those of containers repeat.
SECURITY: POSIX locks belong to the process and vanish when ANY descriptor of the file is closed in it, so a process opens each
owners file once, whatever the number of its stores, and never tests its own bytes.
"""

import fcntl
import os
import secrets
from pathlib import Path

_CHECKPOINT = 0
"""The byte whose holder may checkpoint; owners start at 1."""


class _Register:
    """One owners file: its only descriptor in this process, and the owners that live here."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.owners: set[int] = set()
        self.checkpointing = False


_registers: dict[tuple[int, int], _Register] = {}


def _forget() -> None:
    """A forked child owns none of its parent's locks. Closing its copies leaves the parent's locks alone."""
    for register in _registers.values():
        os.close(register.descriptor)
    _registers.clear()


os.register_at_fork(after_in_child=_forget)


class Owner:
    """One owner, alive from here until ``leave``. Raises ``OSError`` when the file cannot be opened or locked."""

    def __init__(self, path: Path) -> None:
        self._place, self._register = _find(path)
        self.number = 0
        while not self.number:
            number = secrets.randbelow(2**31 - 1) + 1
            if number not in self._register.owners and _lock(self._register.descriptor, fcntl.LOCK_EX, number):
                self.number = number
        self._register.owners.add(self.number)

    def leave(self) -> None:
        """Die on purpose: what is still reserved becomes doubtful for all others."""
        self._register.owners.discard(self.number)
        if self._register.owners:
            fcntl.lockf(self._register.descriptor, fcntl.LOCK_UN, 1, self.number)
        elif _registers.pop(self._place, None) is not None:
            os.close(self._register.descriptor)

    def lives(self, number: int) -> bool:
        """Whether another owner's process still runs."""
        register = self._register
        if number in register.owners:
            return True
        # Shared, so that two who ask at once do not take each other for the owner.
        if not _lock(register.descriptor, fcntl.LOCK_SH, number):
            return True
        fcntl.lockf(register.descriptor, fcntl.LOCK_UN, 1, number)
        return False

    def begin_checkpoint(self) -> bool:
        """Become the only one, of all processes, that checkpoints; False when somebody else is at it."""
        register = self._register
        if register.checkpointing or not _lock(register.descriptor, fcntl.LOCK_EX, _CHECKPOINT):
            return False
        register.checkpointing = True
        return True

    def end_checkpoint(self) -> None:
        """Let others checkpoint again."""
        self._register.checkpointing = False
        fcntl.lockf(self._register.descriptor, fcntl.LOCK_UN, 1, _CHECKPOINT)


def _find(path: Path) -> tuple[tuple[int, int], _Register]:
    """The register of a file: found before the file is opened, since closing a second descriptor would drop all locks."""
    try:
        status = path.stat()
    except FileNotFoundError:
        pass
    else:
        known = _registers.get((status.st_dev, status.st_ino))
        if known is not None:
            return (status.st_dev, status.st_ino), known
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    status = os.fstat(descriptor)
    place = (status.st_dev, status.st_ino)
    register = _registers[place] = _Register(descriptor)
    return place, register


def _lock(descriptor: int, kind: int, byte: int) -> bool:
    try:
        fcntl.lockf(descriptor, kind | fcntl.LOCK_NB, 1, byte)
    except (BlockingIOError, PermissionError):  # EAGAIN or EACCES: POSIX allows both for "somebody holds it"
        return False
    return True
