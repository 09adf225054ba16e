"""One JSON line an exchange, and the service's own lines, through one bounded sink that no request ever waits for.

No body, no header value, no path, no secret. Under a flood of refusals the lines of one kind are damped, with counts.
"""

import fcntl
import os
import queue
import select
import threading
import time
from typing import Final

import orjson

from proxy.exchange import Exchange
from proxy.verdict import Cause, Outcome

_FLUSH_BYTES: Final = 128 * 1024
"""To wake the thread costs as much as a dozen lines, so under load the tick does it more often than this."""
_QUEUED: Final = 64
_PER_SECOND: Final = 10
_TOLD: Final = {
    "debug": {"info", "warning", "error"},
    "info": {"info", "warning", "error"},
    "warning": {"warning", "error"},
    "error": {"error"},
}
"""What is told of exchanges at each level of the policy."""
_LEVEL_OF: Final = {
    Outcome.FORWARDED: "info",
    Outcome.ANSWERED: "info",
    Outcome.DUPLICATE: "info",
    Outcome.REFUSED: "warning",
    Outcome.FAILED: "error",
}
_LINE: Final = (
    '{"time":"%s.%03dZ","level":"%s","event":"exchange","request_id":"%s","route":"%s","client":"%s","peer":"%s",'
    '"outcome":"%s","reason":"%s","findings":[%s],"secret":"%s","cause":"%s","status":%d,"bytes":%d,"update_type":"%s",'
    '"verification_ms":%.3f,"upstream_ms":%.3f}'
)


class Sink:
    """Writes lines to a file descriptor from a thread of its own; a slow or broken reader costs lines, never time."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: list[bytes] = []
        self._size = 0
        self._queue: queue.Queue[bytes | None] = queue.Queue(_QUEUED)
        self.dropped = 0
        self.lock = -1
        """A descriptor whose first byte is locked while we write, where others write to the same place."""
        self._writer = threading.Thread(target=self._run, name="log", daemon=True)
        self._writer.start()

    def add(self, line: bytes) -> None:
        """Take one line without its end."""
        self._lines.append(line)
        self._size += len(line)
        if self._size > _FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hand what is held to the thread; full means dropped and counted."""
        if not self._lines:
            return
        lines, self._lines, self._size = self._lines, [], 0
        lines.append(b"")
        try:
            self._queue.put_nowait(b"\n".join(lines))
        except queue.Full:
            self.dropped += len(lines) - 1

    def close(self) -> None:
        """Write what is left, waiting at most two seconds for a slow reader."""
        self.flush()
        try:
            self._queue.put(None, timeout=1.0)
        except queue.Full:
            return
        self._writer.join(1.0)

    def _run(self) -> None:
        torn = False
        while (data := self._queue.get()) is not None:
            left = data
            try:
                self._alone(fcntl.LOCK_EX)
                if torn:
                    os.write(self._descriptor, b"\n")
                    torn = False
                while left:
                    left = left[self._write(left) :]
            except OSError:
                self.dropped += left.count(b"\n")
                # The next line must not go on where this one broke off.
                torn = torn or data[: len(data) - len(left)][-1:] not in {b"", b"\n"}
            finally:
                self._alone(fcntl.LOCK_UN)

    def _alone(self, kind: int) -> None:
        """A pipe takes a long write in pieces: lines of other processes must not come between them."""
        if self.lock >= 0:
            fcntl.lockf(self.lock, kind, 1)

    def _write(self, data: bytes) -> int:
        """Bytes written. A descriptor that somebody else made non-blocking is waited for."""
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            poll = select.poll()
            poll.register(self._descriptor, select.POLLOUT)
            poll.poll(1000)
            return 0


class ExchangeLog:
    """Makes the lines of exchanges."""

    def __init__(self, sink: Sink, level: str) -> None:
        self._sink = sink
        self.level = level
        self._second = 0
        self._stamp = ""
        self._told: dict[tuple[str, str], int] = {}

    def observe(self, exchange: Exchange) -> None:
        """One line, unless its level is below the policy's or its kind is damped for this second."""
        level = _LEVEL_OF[exchange.outcome]
        if level not in _TOLD[self.level]:
            return
        second = int(exchange.arrived)
        stamp = self._stamp if second == self._second else self._other(second)
        if level != "info":
            kind = (exchange.route, exchange.reason.value)
            told = self._told.get(kind, 0)
            self._told[kind] = told + 1
            if told >= _PER_SECOND:
                return
        self._sink.add(self._line(exchange, level, stamp))

    def _line(self, exchange: Exchange, level: str, stamp: str) -> bytes:
        # SECURITY: formatted, not serialised, for this is a dear step of the hot path: every text here is an address, an id of
        # our own form or a word of a closed list, so none can hold a quote, a backslash or a control character.
        findings = cause = ""
        if exchange.findings:
            findings = ",".join([f'"{rule}:{reason}:{mode}"' for rule, reason, mode in exchange.findings])
            cause = exchange.cause if exchange.cause is not Cause.UNKNOWN or "signature_mismatch" in findings else ""
        arrived = exchange.arrived
        line = _LINE % (
            stamp, int(arrived % 1 * 1000), level, exchange.request_id, exchange.route, exchange.client, exchange.peer,
            exchange.outcome, exchange.reason, findings, exchange.secret, cause, exchange.status, exchange.size,
            exchange.update_type, exchange.verification * 1000, exchange.upstream * 1000,
        )  # fmt: skip
        return line.encode()

    def _other(self, second: int) -> str:
        """The stamp of another second. A later one begins; what took long comes from an earlier one, which is over."""
        if second > self._second:
            self._turn(second)
            return self._stamp
        return utc(second)

    def _turn(self, second: int) -> None:
        for (route, reason), told in self._told.items():
            if told > _PER_SECOND:
                line = {"event": "exchanges_damped", "route": route, "reason": reason, "count": told - _PER_SECOND}
                self._sink.add(orjson.dumps({"time": f"{self._stamp}.999Z", "level": "warning", **line}))
        self._told.clear()
        self._second = second
        self._stamp = utc(second)

    def tick(self) -> None:
        """Called a few times a second: end a second in which nothing more came, and flush."""
        now = int(time.time())
        # A clock that was set back begins anew.
        if now < self._second or (self._told and now != self._second):
            self._turn(now)
        self._sink.flush()

    def close(self) -> None:
        """End this second, whatever of it is left, and flush."""
        self._turn(self._second)
        self._sink.flush()


def utc(second: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
