"""One batch of operations against the file: what each finds, and what this process has reserved.

A batch is one transaction: all of it happens, or none, and nothing of it is told before the commit. Synchronous.
Keys go to SQLite as ``bytearray``: for ``bytes`` its module looks for an adapter each time, a third of what a row costs.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from typing import Any, Final

from proxy.errors import StoreError
from proxy.store.base import CONFLICT, DELIVERED, IN_DOUBT, NEW, Claim, Claimed
from proxy.store.owners import Owner
from proxy.store.pending import Reservation
from proxy.store.table import BEGIN, COMMIT, CONFIRM, DELIVERED_OWNER, LEAVE, RELEASE, RESERVE, TAKE_OVER, Table
from proxy.store.watch import Watch
from proxy.wakeup import Wakeup


class Verb(Enum):
    """What an operation does."""

    CLAIM = auto()
    CONFIRM = auto()
    RELEASE = auto()
    SWEEP = auto()
    """Drop the rows named in ``Ledger.doomed``."""
    FLUSH = auto()
    """Nothing; its waiter learns that all before it is written."""


# Asked of every operation, and an Enum's class looks its members up a hundred times slower than a module its globals.
CLAIMS: Final = Verb.CLAIM
CONFIRMS: Final = Verb.CONFIRM

Operation = tuple[Verb, bytes, bytes, float, Wakeup[Any]]
"""Verb, key, digest, window in seconds, waiter. A plain tuple: one is made for each operation."""

_Undo = list[tuple[bytes, Reservation | None]]


class Ledger:
    """The claims of one file, as one owner sees them."""

    def __init__(self, loop: asyncio.AbstractEventLoop, owner: Owner, clock: Callable[[], float], watch: Watch) -> None:
        self.pending: dict[bytes, Reservation] = {}
        self.doomed: list[tuple[bytes, int]] = []
        self.entries = 0
        self._loop = loop
        self._owner = owner
        self._clock = clock
        self._watch = watch

    def commit(self, table: Table, batch: list[Operation]) -> list[Claim | None]:
        """One transaction; whatever raises leaves the file and the pending keys as they were."""
        undo: _Undo = []
        ended: list[tuple[Reservation, bool]] = []
        entries = self.entries
        try:
            if self._together(table, batch):
                return self._committed(batch)
            table.cursor.execute(BEGIN)
            answers = self._one_by_one(table, batch, undo, ended)
            table.cursor.execute(COMMIT)
        except BaseException:
            self.entries = entries
            for key, before in reversed(undo):
                if before is None:
                    del self.pending[key]
                else:
                    self.pending[key] = before
            with suppress(sqlite3.Error):
                table.rollback()
            raise
        for reservation, delivered in ended:
            reservation.settle(delivered)
        return answers

    def _one_by_one(
        self, table: Table, batch: list[Operation], undo: _Undo, ended: list[tuple[Reservation, bool]]
    ) -> list[Claim | None]:
        now = self._clock()
        execute = table.cursor.execute
        answers: list[Claim | None] = []
        for verb, key, digest, window, wakeup in batch:
            if verb is CLAIMS:
                # A waiter that was cancelled meanwhile could never settle its claim.
                answers.append(None if wakeup.settled else self._claim(table, key, digest, window, now, undo))
                continue
            answers.append(None)
            if verb is Verb.SWEEP:
                table.drop(self.doomed, now)
                self.entries -= len(self.doomed)
            elif verb is not Verb.FLUSH and (reservation := self.pending.pop(key, None)) is not None:
                undo.append((key, reservation))
                ended.append((reservation, verb is CONFIRMS))
                if verb is CONFIRMS:
                    execute(CONFIRM, (now + reservation.window, bytearray(key), self._owner.number))
                elif reservation.doubtful:
                    execute(LEAVE, (key, self._owner.number))
                else:
                    execute(RELEASE, (key, self._owner.number))
                    self.entries -= 1
        return answers

    def _together(self, table: Table, batch: list[Operation]) -> bool:
        """Commit the usual batch, new claims and confirmations, in few statements. False: it is another, and nothing is done."""
        pending, owner, now = self.pending, self._owner.number, self._clock()
        rows: list[bytearray | int | float] = []
        confirmed: dict[float, list[bytearray]] = {}
        for verb, key, digest, window, wakeup in batch:
            if verb is CLAIMS and key not in pending and not wakeup.settled:
                rows += (bytearray(key), bytearray(digest), owner, now + window)
            elif verb is CONFIRMS and key in pending:
                confirmed.setdefault(pending[key].window, []).append(bytearray(key))
            else:
                return False
        alone = len(batch) == 1  # and so a transaction by itself: two statements less
        if not alone:
            table.cursor.execute(BEGIN)
        if not table.reserve(rows):  # known already, or claimed twice in this batch
            table.rollback()
            return False
        for lasting, keys in confirmed.items():
            table.confirm(keys, owner, now + lasting)
        if not alone:
            table.cursor.execute(COMMIT)
        return True

    def _committed(self, batch: list[Operation]) -> list[Claim | None]:
        """A usual batch is written: what it means here, and what its waiters are told."""
        pending = self.pending
        answers: list[Claim | None] = []
        for verb, key, digest, window, _ in batch:
            if verb is CLAIMS:
                pending[key] = Reservation(digest, window)
                self.entries += 1
                answers.append(NEW)
            else:
                if (reservation := pending.pop(key, None)) is not None:
                    reservation.settle(True)
                answers.append(None)
        return answers

    def _claim(self, table: Table, key: bytes, digest: bytes, window: float, now: float, undo: _Undo) -> Claim:
        reservation = self.pending.get(key)
        if reservation is not None:
            return reservation.answer(digest, self._loop)
        cursor = table.cursor
        cursor.execute(RESERVE, (bytearray(key), bytearray(digest), self._owner.number, now + window))
        answer = NEW
        if cursor.rowcount != 1:
            answer = self._held(table, key, digest, now)
            if answer is not NEW and answer is not IN_DOUBT:
                return answer
            cursor.execute(TAKE_OVER, (digest, self._owner.number, now + window, key))
        else:
            self.entries += 1
        undo.append((key, None))
        self.pending[key] = Reservation(digest, window, doubtful=answer is IN_DOUBT)
        return answer

    def _held(self, table: Table, key: bytes, digest: bytes, now: float) -> Claim:
        """What a row that this store has not reserved means; ``NEW`` and ``IN_DOUBT`` say that it may be taken over."""
        row = table.look(key)
        if row is None:
            raise StoreError("the store's file lost a row inside a transaction")
        digest_held, owner, expires = row
        if owner != DELIVERED_OWNER and self.lives(owner, key):
            return CONFLICT if digest_held != digest else Claim(Claimed.IN_FLIGHT, self._watch.end(key, digest, owner))
        if expires <= now:
            return NEW
        if digest_held != digest:
            return CONFLICT
        return DELIVERED if owner == DELIVERED_OWNER else IN_DOUBT

    def lives(self, owner: int, key: bytes) -> bool:
        """Whether somebody will still settle a reserved row. Own rows that are not pending are leftovers of a failed write."""
        return key in self.pending if owner == self._owner.number else self._owner.lives(owner)

    def ended(self, table: Table, key: bytes, digest: bytes, owner: int) -> bool | None:
        """How a foreign owner's reservation ended; None while it goes on."""
        row = table.look(key)
        if row is None or row[0] != digest:
            return False
        if row[1] == DELIVERED_OWNER:
            return True
        return None if row[1] == owner and self.lives(owner, key) else False
