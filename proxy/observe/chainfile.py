"""The file of a chain: appended to, never rewritten, by any number of processes; it goes on over restarts and after a rotation.

Every append holds the file's lock, looks at what others wrote meanwhile, and goes on from there. A file that was moved away is
followed by a new one under the old name, whose first line follows the last of the former.
"""

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from proxy.errors import StartError
from proxy.observe.chain import ORIGIN, TORN, Chain, Link

_TAIL: Final = 64 * 1024
"""No line is longer."""


class ChainFile:
    """Appends records. Blocks: not for the event loop."""

    def __init__(self, path: Path, chain: Chain) -> None:
        self.path = path
        self._chain = chain
        self._descriptor = -1
        self._last: Link | None = None
        self._open = False
        """The file does not end in a newline."""
        self._size = -1
        """Where we left it; another size means that somebody else wrote, or that we do not know."""

    def prepare(self) -> Link:
        """Where the chain stands; raises ``StartError`` where it cannot go on."""
        try:
            self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            with self._held():
                self._catch_up()
        except OSError as error:
            why = (error.strerror or "unknown reason").lower()
            raise StartError(f"the audit file {self.path} cannot be written ({why}): make room for it, or name another") from None
        except ValueError:
            raise StartError(
                f"the audit file {self.path} does not end in a line of its chain (or was made with another key): look at it with "
                "hookgate audit verify, then move it away; a new one begins under its name"
            ) from None
        return self._last or ORIGIN

    def append(self, records: Sequence[Mapping[str, object]]) -> None:
        """Write all of them, or none.

        Raises:
            OSError: they could not be written.
            ValueError: the file no longer ends in a line of this chain.
        """
        with self._held():
            torn = self._catch_up()
            last = self._last or ORIGIN
            # SECURITY: what is unfinished is never mended in place, or a change could be passed off as a crash.
            note = [{"event": TORN, "time": records[0].get("time"), "bytes": torn}] if torn else []
            lines = [b"\n"] if self._open else []
            for record in [*note, *records]:
                line, last = self._chain.line(last, record)
                lines.append(line)
            self._write(b"".join(lines))
            self._last = last

    def close(self) -> None:
        """Give the file back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """Locked, and the file that has the name now."""
        while True:
            if self._descriptor < 0:
                # SECURITY: who was refused, when and from where is nobody else's business.
                self._descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
                self._size = -1
                if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                    self.close()
                    raise OSError(errno.EINVAL, "not a regular file")
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            if self._named():
                break
            with contextlib.suppress(ValueError):  # damaged after it was moved: we go on from what we know
                self._catch_up()  # what others appended last before it was moved away
            self.close()
        try:
            yield
        finally:
            if self._descriptor >= 0:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _named(self) -> bool:
        own = os.fstat(self._descriptor)
        try:
            there = os.stat(self.path)
        except FileNotFoundError:
            return False
        return (own.st_dev, own.st_ino) == (there.st_dev, there.st_ino)

    def _catch_up(self) -> int:
        """Find the last line, whoever wrote it; gives the bytes of an unfinished one behind it, its newline aside."""
        size = os.fstat(self._descriptor).st_size
        if size == self._size:
            self._open = False
            return 0
        tail = os.pread(self._descriptor, _TAIL, max(0, size - _TAIL))
        whole, newline, torn = tail.rpartition(b"\n")
        if (torn and torn[:7] != b'{"seq":'[: len(torn)]) or (not newline and size > len(tail)):
            raise ValueError("what stands at the end was never begun as a line of a chain")
        if newline:
            line = self._chain.read(whole.rpartition(b"\n")[2])
            if line is None:
                raise ValueError("the last line is none of this chain")
            self._last = line.link
        self._open = bool(torn)
        lacks_newline_alone = self._chain.read(torn) if torn else None
        if lacks_newline_alone is not None:
            self._last, torn = lacks_newline_alone.link, b""
        # An empty file goes on from where the former one ended, where there was one.
        self._size = size if not self._open else -1
        return len(torn)

    def _write(self, data: bytes) -> None:
        before = os.fstat(self._descriptor).st_size
        self._size = -1
        try:
            written = 0
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
            os.fdatasync(self._descriptor)
        except OSError:
            # A part of a line helps nobody; where it cannot be taken back, the next append notes it as torn.
            try:
                os.ftruncate(self._descriptor, before)
            except OSError:
                self.close()
            raise
        self._size = before + len(data)
