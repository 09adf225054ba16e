"""A wire between gate and bot that is listened to: what each side wrote, byte for byte, in the order of writing."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.gates import PATIENCE


class Tap:
    """Listens on one unix socket and passes everything on to another."""

    def __init__(self, path: Path, bot: Path) -> None:
        self.path = path
        self.from_gate = bytearray()
        self.from_bot = bytearray()
        self._bot = bot
        self._lines: list[threading.Thread] = []
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(64)
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            line = threading.Thread(target=self._listen_in, args=(near,), daemon=True)
            self._lines.append(line)
            line.start()

    def _listen_in(self, near: socket.socket) -> None:
        with near, socket.socket(socket.AF_UNIX) as far:
            far.connect(str(self._bot))
            back = threading.Thread(target=_pass_on, args=(far, near, self.from_bot), daemon=True)
            back.start()
            _pass_on(near, far, self.from_gate)
            back.join()

    def clear(self) -> None:
        """Forget what was heard."""
        self.from_gate.clear()
        self.from_bot.clear()

    def close(self) -> None:
        """Accept nothing more, and wait for the lines' ends: who called has gone already."""
        # Closing alone does not wake the thread that accepts.
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for thread in (self._accepting, *self._lines):
            thread.join(PATIENCE)


def _pass_on(one: socket.socket, other: socket.socket, heard: bytearray) -> None:
    with suppress(OSError):
        while data := one.recv(65536):
            heard += data  # before it goes on: who has received it finds it here
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)


@contextmanager
def tapped(path: Path, bot: Path) -> Iterator[Tap]:
    """A tap until the end of the block."""
    tap = Tap(path, bot)
    try:
        yield tap
    finally:
        tap.close()
