"""What workers are forked from: it has loaded all that they need, and has no secret, no loop, no thread, no socket but its line.

Each is forked twice: with the one in between gone, it is the child of whoever adopts orphans, the gate's parent (``births.py``).
"""

import contextlib
import gc
import os
import signal
import socket
from typing import Final

from proxy.footprint import lean

_PASSED: Final = 3
FAILED: Final = b"-"


def main(line: int) -> int:
    """Make a worker of each set of descriptors that comes down the line, until it ends; a worker returns from here, too."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):  # they may go to the whole group: only the line ends us
        signal.signal(number, signal.SIG_IGN)
    lean()
    # Here, so that it is loaded lean.
    from proxy.workers.worker import main as work

    # What is frozen no collection walks, and pages that nobody writes stay shared.
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=line) as parent:
        while True:
            asked, passed, _, _ = socket.recv_fds(parent, 1, _PASSED)
            if not asked:
                return 0
            pid = _orphan()
            if pid == 0:
                break
            for descriptor in passed:
                os.close(descriptor)
            with contextlib.suppress(BrokenPipeError):
                parent.send(FAILED if pid is None else b"%d" % pid)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    channel, listening, memory = passed
    return work(channel, listening, memory)


def _orphan() -> int | None:
    """Fork a process that is no child of ours: its id, 0 in itself, ``None`` where there is no room for it."""
    told, telling = os.pipe()
    try:
        between = os.fork()
    except OSError:
        os.close(told)
        os.close(telling)
        return None
    if between:
        os.close(telling)
        os.waitpid(between, 0)
        with os.fdopen(told, "rb") as opened:
            return int(opened.read(16) or b"0") or None
    try:
        pid = os.fork()
    except OSError:
        os._exit(1)
    if pid:
        os.write(telling, b"%d" % pid)
        os._exit(0)
    os.close(told)
    os.close(telling)
    return 0
