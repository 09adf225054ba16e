"""Claims in a SQLite file: they survive restarts and ``kill -9``, and are shared by all workers of a machine.

All operations of one turn of the loop go into one transaction, committed before any waiter is told: that is what makes a durable
claim cheap. Nothing here puts the process to sleep: a locked file is tried again by the loop, until patience ends.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from proxy.errors import StartError, StoreError
from proxy.store.base import Claim
from proxy.store.ledger import CLAIMS, CONFIRMS, Ledger, Operation, Verb
from proxy.store.owners import Owner
from proxy.store.sweep import Sweeper
from proxy.store.table import LOCKED, Table, primary_code
from proxy.store.watch import Watch
from proxy.wakeup import Wakeup

_PATIENCE_SECONDS = 0.2
"""How long a locked file is tried; with one turn of the loop on top it stays below 250 ms."""
_START_PATIENCE_SECONDS = 2.0
_RETRIES_AT_ONCE = 20
"""In the next turns of the loop: another worker's transaction takes a fraction of a millisecond."""
_RETRIES_AT_LEAST = 40
"""However late it is: where the processor is scarce, time passes without a fair chance."""
_RETRY_SECONDS = 0.001
_RECOVERY_SECONDS = 0.1
"""Between attempts to open a broken file again: each may cost a millisecond."""
_CHECKPOINT_WRITES = 200
"""Rows written between checkpoints: few enough that copying their pages stays below a millisecond."""

_PASSING = (*LOCKED, sqlite3.SQLITE_FULL)
"""Errors after which the connection is as good as before."""


class SqliteStore:
    """A store in the file ``path``, made where absent.

    ``clock`` is the wall clock: expiry must survive restarts. Where it steps back, claims live longer; none is lost.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._open = False
        self._table: Table | None = None
        self._batch: list[Operation] = []
        self._owed: list[Operation] = []  # confirmed or released, but not written yet: they come first in the next batch
        self._scheduled = False
        self._attempts = 0
        self._first_attempt = 0.0
        self._reopen_at = 0.0
        self._written = 0

    async def open(self) -> None:
        """Open or make the file; become an owner. Raises ``StartError`` with the remedy."""
        self._loop = asyncio.get_running_loop()
        self._path = self._path.resolve()
        self._table = await asyncio.to_thread(Table, self._path, patience=_START_PATIENCE_SECONDS)
        owners = self._path.with_name(self._path.name + "-owners")
        try:
            self._owner = Owner(owners)
        except OSError as error:
            self._drop_table()
            raise StartError(f"store {owners}: {error.strerror}; make it writable for Hookgate's user") from error
        self._watch = Watch(self._loop, self._ended)
        self._ledger = Ledger(self._loop, self._owner, self._clock, self._watch)
        self._ledger.entries = self._table.estimate()
        self._sweeper = Sweeper()
        self._timer = self._loop.call_later(self._sweeper.pause, self._sweep)
        self._nobody: Wakeup[None] = Wakeup(self._loop)
        self._nobody.set_result(None)
        self._open = True

    async def close(self) -> None:
        """Write what is pending and let go of the file. Keys still reserved become ``IN_DOUBT`` for others."""
        if not self._open:
            return
        last: Wakeup[None] = Wakeup(self._loop)
        self._submit((Verb.FLUSH, b"", b"", 0.0, last))
        self._open = False
        self._timer.cancel()
        with suppress(StoreError):  # told to each waiter of that batch already
            await last
        await asyncio.sleep(0)  # the transaction that told us so has a few steps to go
        self._watch.close()
        for reservation in self._ledger.pending.values():
            reservation.settle(False)
        self._drop_table()
        self._owner.leave()

    def claim(self, key: bytes, digest: bytes, window: float) -> Wakeup[Claim]:
        """Reserve ``key``; settled once the reservation is committed."""
        wakeup: Wakeup[Claim] = Wakeup(self._loop)
        self._submit((CLAIMS, key, digest, window, wakeup))
        return wakeup

    def confirm(self, key: bytes) -> Wakeup[None]:
        """Remember a reserved key. When this fails, it is tried again with every batch: what happened is not forgotten."""
        wakeup: Wakeup[None] = Wakeup(self._loop)
        self._submit((CONFIRMS, key, b"", 0.0, wakeup))
        return wakeup

    def release(self, key: bytes) -> Wakeup[None]:
        """Forget a reserved key. When this fails, it is tried again with every batch."""
        wakeup: Wakeup[None] = Wakeup(self._loop)
        self._submit((Verb.RELEASE, key, b"", 0.0, wakeup))
        return wakeup

    def entries(self) -> int:
        """How many rows there are: guessed by the file's size at first, counted by the sweeper later."""
        return max(self._ledger.entries, len(self._ledger.pending))

    def _submit(self, operation: Operation) -> None:
        if not self._open:
            operation[4].set_exception(StoreError("the store is closed"))
            return
        self._batch.append(operation)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        batch = self._owed + self._batch if self._owed else self._batch
        self._batch, self._owed = [], []
        self._scheduled = False
        # Begun before the commit, so that no other process can have copied what is committed here (see Table.checkpoint).
        checkpoint = self._written >= _CHECKPOINT_WRITES and self._owner.begin_checkpoint()
        try:
            self._transact(batch, checkpoint)
        finally:
            if checkpoint:
                self._owner.end_checkpoint()

    def _transact(self, batch: list[Operation], checkpoint: bool) -> None:
        try:
            table = self._table or self._reopen()
            before = table.changes
            answers = self._ledger.commit(table, batch)
        except Exception as error:
            if not self._try_again(batch, error):
                self._fail(batch, error)
            return
        self._attempts = 0
        written = table.changes - before
        self._written += written
        for (_, _, _, _, wakeup), answer in zip(batch, answers, strict=True):
            if not wakeup.settled:
                try:
                    wakeup.set_result(answer)
                except Exception as error:
                    self._blame(error)
        if checkpoint and written:
            self._written = 0
            with suppress(sqlite3.Error):  # the log grows until the next one; a claim does not suffer
                table.checkpoint()

    def _try_again(self, batch: list[Operation], error: Exception) -> bool:
        """Put a batch back while somebody else holds the file locked and patience lasts."""
        if primary_code(error) not in LOCKED:
            return False
        now = self._loop.time()
        if self._attempts == 0:
            self._first_attempt = now
        late = now - self._first_attempt >= _PATIENCE_SECONDS
        if late and self._attempts >= _RETRIES_AT_LEAST:
            self._attempts = 0
            return False
        self._attempts += 1
        self._batch = batch
        self._scheduled = True
        if late or self._attempts <= _RETRIES_AT_ONCE:
            self._loop.call_soon(self._flush)
        else:
            self._loop.call_later(_RETRY_SECONDS, self._flush)
        return True

    def _fail(self, batch: list[Operation], error: Exception) -> None:
        if isinstance(error, sqlite3.Error) and primary_code(error) not in _PASSING:
            self._drop_table()
        for operation in batch:
            verb, key = operation[0], operation[1]
            if verb is Verb.CONFIRM or verb is Verb.RELEASE:
                self._owed.append(operation)
                # The file does not know it yet; those who wait here may.
                if (reservation := self._ledger.pending.get(key)) is not None:
                    reservation.settle(verb is Verb.CONFIRM)
        message = f"the store does not answer: {error}"
        for operation in batch:
            wakeup = operation[4]
            if not wakeup.settled:
                try:
                    wakeup.set_exception(StoreError(message))
                except Exception as fault:
                    self._blame(fault)

    def _blame(self, fault: Exception) -> None:
        """A waiter raised when it was woken: its own fault, and no reason to leave the others without their answer."""
        self._loop.call_exception_handler({"message": "a waiter of the store raised", "exception": fault})

    def _reopen(self) -> Table:
        now = self._loop.time()
        if now < self._reopen_at:
            raise StoreError("its file is broken, and will be opened again shortly")
        self._reopen_at = now + _RECOVERY_SECONDS
        self._table = Table(self._path, patience=0.0)
        return self._table

    def _drop_table(self) -> None:
        if self._table is not None:
            with suppress(sqlite3.Error):
                self._table.close()
            self._table = None

    def _ended(self, key: bytes, digest: bytes, owner: int) -> bool | None:
        return None if self._table is None else self._ledger.ended(self._table, key, digest, owner)

    def _sweep(self) -> None:
        """Have a few expired rows dropped, and what is owed written, with the next batch."""
        try:
            if self._table is not None and self._attempts == 0:
                with suppress(sqlite3.Error, OSError):  # the requests tell of a broken file
                    self._look(self._table)
            if self._owed:
                self._submit((Verb.FLUSH, b"", b"", 0.0, self._nobody))
        except Exception as fault:  # or this sweep would be the last
            self._loop.call_exception_handler({"message": "the store's sweeper broke", "exception": fault})
        self._timer = self._loop.call_later(self._sweeper.pause, self._sweep)

    def _look(self, table: Table) -> None:
        doomed = self._sweeper.look(table, self._ledger.lives, self._clock())
        if self._sweeper.entries is not None:
            self._ledger.entries = self._sweeper.entries
        if doomed:
            self._ledger.doomed = doomed
            self._submit((Verb.SWEEP, b"", b"", 0.0, self._nobody))
