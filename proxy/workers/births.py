"""Where the parent gets its workers: from a zygote, that lives while somebody waits for one, and is not seen otherwise.

A fork of the parent itself would take its secrets, and its threads' locks in whatever state they were.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Final, Protocol

from proxy.errors import StartError
from proxy.workers.zygote import FAILED

# The places where modules are found come from us, not from the folder that we happen to stand in.
_BOOT: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    " from proxy.workers.zygote import main; sys.exit(main(int(sys.argv[2])))"
)
_SECONDS: Final = 60.0
_REAPING_SECONDS: Final = 0.01
_PR_SET_CHILD_SUBREAPER: Final = 36
"""See prctl(2)."""


class Process(Protocol):
    """A worker's process."""

    @property
    def pid(self) -> int:
        """Its id, which is its own until ``wait`` has returned."""

    def kill(self) -> None:
        """End it at once."""

    async def wait(self) -> int:
        """Its exit code, once it has one; a signal counts negative."""


class Births:
    """One zygote at a time, for as long as one is needed."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._waiting = 0
        self._line: socket.socket | None = None
        if ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            raise StartError("this system lets no process adopt its workers: serve with one worker")

    async def spawn(self, *descriptors: int) -> "Adopted":
        """A new worker with copies of these; raises ``StartError``."""
        self._waiting += 1
        try:
            async with self._lock, asyncio.timeout(_SECONDS):
                return await self._born(descriptors)
        except (OSError, TimeoutError):
            self._end()
            raise StartError("no process could be made for a worker") from None
        except BaseException:
            self._end()  # its answer would be taken for the next one's
            raise
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._end()

    async def _born(self, descriptors: tuple[int, ...]) -> "Adopted":
        if self._line is None:
            self._line = await _zygote()
        socket.send_fds(self._line, [b"+"], descriptors)
        told = await asyncio.get_running_loop().sock_recv(self._line, 16)
        if told in {b"", FAILED}:
            raise OSError
        return Adopted(int(told))

    def _end(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


async def _zygote() -> socket.socket:
    """Start a fresh interpreter; gives the line to it. SECURITY: nothing but a descriptor and paths stands in its arguments."""
    paths = json.dumps(list(map(str, map(Path.absolute, map(Path, sys.path)))))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    with theirs:
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-c",
            _BOOT,
            paths,
            str(theirs.fileno()),
            pass_fds=[theirs.fileno()],
            stdin=asyncio.subprocess.DEVNULL,
        )
    return ours


class Adopted:
    """A process that has become our child; nobody else waits for it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def kill(self) -> None:
        """End it at once."""
        if self._code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    async def wait(self) -> int:
        """Its exit code. To be asked for when its line has ended, for it is looked for, not listened for."""
        while self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)  # noqa: ASYNC222 - it does not block
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
            else:
                await asyncio.sleep(_REAPING_SECONDS)
        return self._code
