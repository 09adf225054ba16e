"""The SQLite file of claims: how it is made, checked and kept small. Synchronous; knows no loop and no waiter.

Write-ahead log, ``synchronous=OFF``: a commit has left the process, so it survives ``kill -9``, but no power cut and no crash of
the kernel. The file must lie on a local file system (its processes share memory through it).
"""

import os
import sqlite3
import time
from pathlib import Path
from typing import NamedTuple

from proxy.errors import StartError

APPLICATION_ID = 0x486B4774
"""Stands in the file's header (https://www.sqlite.org/fileformat2.html, offset 68): these claims, nobody else's."""
SCHEMA_VERSION = 1
DELIVERED_OWNER = 0
"""Stands in ``owner`` once a claim is confirmed."""

NOBODY = 2**31
"""Stands in ``owner`` of a claim in doubt that was tried again in vain: owners' numbers are lower, so its owner is dead."""

# One B-tree, keyed by the claim: 20 to 30 % less work than a table of rows and an index on it. No index on ``expires``:
# it would double the writes of each claim.
_CREATE = """
CREATE TABLE claims (
    key BLOB PRIMARY KEY,
    digest BLOB NOT NULL,
    owner INTEGER NOT NULL,
    expires REAL NOT NULL
) WITHOUT ROWID
"""

BEGIN = "BEGIN IMMEDIATE"
COMMIT = "COMMIT"
RESERVE = "INSERT INTO claims (key, digest, owner, expires) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO NOTHING"
LOOK = "SELECT digest, owner, expires FROM claims WHERE key = ?"
TAKE_OVER = "UPDATE claims SET digest = ?, owner = ?, expires = ? WHERE key = ?"
CONFIRM = "UPDATE claims SET owner = 0, expires = ? WHERE key = ? AND owner = ?"
RELEASE = "DELETE FROM claims WHERE key = ? AND owner = ?"
LEAVE = f"UPDATE claims SET owner = {NOBODY} WHERE key = ? AND owner = ?"  # noqa: S608 - our own number
_SIZES = (16, 8, 4, 2, 1)
"""Rows in one statement: together they cost half of what they cost one by one. Few sizes, so that all stay prepared."""
_RESERVE_MANY = {size: RESERVE.replace("(?, ?, ?, ?)", ", ".join(["(?, ?, ?, ?)"] * size)) for size in _SIZES}
_CONFIRM_MANY = {size: CONFIRM.replace("key = ?", f"key IN ({', '.join('?' * size)})") for size in _SIZES}
_CHUNK = "SELECT max(key), count(*) FROM (SELECT key FROM claims WHERE key > ? ORDER BY key LIMIT ?)"
_EXPIRED = "SELECT key, owner FROM claims WHERE key > ? AND key <= ? AND expires <= ?"
_DROP = "DELETE FROM claims WHERE key = ? AND owner = ? AND expires <= ?"

LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
"""Codes of a file that somebody else holds."""
_PAUSE_SECONDS = 0.01
_PAGE_BYTES = 1024
"""Of a fresh file: a commit writes whole pages, and sums each up, for a row of sixty bytes. Older files keep theirs."""
_WAL_LIMIT_BYTES = 16 * 1024**2
_LONG_WAL_FRAMES = _WAL_LIMIT_BYTES // _PAGE_BYTES
"""From here on a checkpoint holds writers off until it is through (they wait without blocking)."""
_ROW_BYTES = 90
"""Of usual keys, in pages three quarters full; for a first estimate only."""


class Chunk(NamedTuple):
    """A stretch of the table in the order of its keys."""

    last: bytes | None
    rows: int
    expired: list[tuple[bytes, int]]


class Table:
    """One connection to the file. Everything raises ``sqlite3.Error``; the constructor raises ``StartError``."""

    def __init__(self, path: Path, *, patience: float) -> None:
        """Open, or make, the file; wait up to ``patience`` seconds for others that hold it."""
        self._connection = _open(path, patience)
        self.cursor = self._connection.cursor()
        self._frames = 0

    def close(self) -> None:
        """Let go of the file; whatever is open is rolled back."""
        self._connection.close()

    @property
    def changes(self) -> int:
        """Rows written by this connection so far."""
        return self._connection.total_changes

    def rollback(self) -> None:
        """Undo the open transaction; SQLite may have done so already (disk full, I/O error)."""
        if self._connection.in_transaction:
            self.cursor.execute("ROLLBACK")

    def reserve(self, rows: list[bytearray | int | float]) -> bool:
        """Insert rows (key, digest, owner, expiry, one behind the other); False as soon as one was there already."""
        at, cursor = 0, self.cursor
        for size in _SIZES:
            while len(rows) - at >= 4 * size:
                cursor.execute(_RESERVE_MANY[size], rows[at : at + 4 * size])
                if cursor.rowcount != size:
                    return False
                at += 4 * size
        return True

    def confirm(self, keys: list[bytearray], owner: int, expires: float) -> None:
        """What an owner has reserved is delivered."""
        at = 0
        for size in _SIZES:
            while len(keys) - at >= size:
                self.cursor.execute(_CONFIRM_MANY[size], (expires, *keys[at : at + size], owner))
                at += size

    def look(self, key: bytes) -> tuple[bytes, int, float] | None:
        """Digest, owner and expiry of a key."""
        row: tuple[bytes, int, float] | None = self.cursor.execute(LOOK, (key,)).fetchone()
        return row

    def chunk(self, after: bytes, limit: int, now: float) -> Chunk:
        """The next ``limit`` rows after a key, and which of them have expired."""
        last, rows = self.cursor.execute(_CHUNK, (after, limit)).fetchone()
        expired = self.cursor.execute(_EXPIRED, (after, last, now)).fetchall() if rows else []
        return Chunk(last, rows, expired)

    def drop(self, expired: list[tuple[bytes, int]], now: float) -> None:
        """Delete expired rows, unless they have changed; inside the caller's transaction."""
        self.cursor.executemany(_DROP, [(key, owner, now) for key, owner in expired])

    def checkpoint(self) -> None:
        """Copy the log into the file. The caller has committed a write since the last checkpoint, and is alone at it.

        SECURITY: both conditions matter. A checkpoint that starts on a log already copied in full, while another process commits,
        can lose commits in SQLite before 3.51.3 (https://www.sqlite.org/wal.html#walresetbug).
        """
        kind = "RESTART" if self._frames > _LONG_WAL_FRAMES else "PASSIVE"
        _, self._frames, _ = self.cursor.execute(f"PRAGMA wal_checkpoint({kind})").fetchone()

    def estimate(self) -> int:
        """How many rows there may be, by the file's size."""
        pages: int
        free: int
        size: int
        (pages,) = self.cursor.execute("PRAGMA page_count").fetchone()
        (free,) = self.cursor.execute("PRAGMA freelist_count").fetchone()
        (size,) = self.cursor.execute("PRAGMA page_size").fetchone()
        return max(0, pages - free - 2) * size // _ROW_BYTES


def _open(path: Path, patience: float) -> sqlite3.Connection:
    _make(path)
    until = time.monotonic() + patience
    while True:
        try:
            return _connected(path, max(0.0, until - time.monotonic()))
        except sqlite3.Error as error:
            # Where several make a fresh file at once, SQLite does not wait to turn it into a WAL one, but says that it is locked.
            if primary_code(error) not in LOCKED or time.monotonic() >= until:
                raise StartError(f"store {path}: {error}; {_remedy(error, path)}") from error
        time.sleep(_PAUSE_SECONDS)


def _connected(path: Path, patience: float) -> sqlite3.Connection:
    # All calls come from the loop's thread, but for the first, which may wait.
    connection = sqlite3.connect(path, timeout=patience, isolation_level=None, check_same_thread=False)
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _make(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists():
            return
        # SECURITY: never open a file that exists: closing it again would drop the locks of this process's other connections.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        if path.exists():
            return  # another worker was faster
        raise StartError(
            f"store {path}: it cannot be made ({error.strerror}); "
            f"make {path.parent} a folder that Hookgate's user may write to, or set store.url to a place that is"
        ) from error


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    execute = connection.execute
    # In this order: another worker may make the table, and with it the mark, between the two.
    (tables,) = execute("SELECT count(*) FROM sqlite_schema").fetchone()
    (mark,) = execute("PRAGMA application_id").fetchone()
    if tables and mark != APPLICATION_ID:
        raise StartError(f"store {path}: this database belongs to another program; set store.url to a file of Hookgate's own")
    (version,) = execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise StartError(
            f"store {path}: it was written by a newer Hookgate (schema {version}, known here: {SCHEMA_VERSION}); "
            "run that version, or set store.url to another file"
        )
    if not tables:
        execute(f"PRAGMA page_size = {_PAGE_BYTES}")
    (kind,) = execute("PRAGMA journal_mode = WAL").fetchone()
    if kind != "wal":
        raise StartError(f"store {path}: its file system has no shared memory; set store.url to a file on a local disk")
    execute("PRAGMA synchronous = OFF")
    execute("PRAGMA wal_autocheckpoint = 0")
    execute("PRAGMA cache_size = -512")  # KiB: the system's own page cache stands behind it, and a gate is to stay small
    execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT_BYTES}")
    execute(BEGIN)  # also the proof that the file can be written
    if execute("PRAGMA user_version").fetchone()[0] == 0:  # asked again: another worker may have been faster
        execute(_CREATE)
        execute(f"PRAGMA application_id = {APPLICATION_ID}")
        execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    execute(COMMIT)
    # From now on a lock is waited for by the loop, not by SQLite, which would put the whole process to sleep.
    execute("PRAGMA busy_timeout = 0")


def _remedy(error: sqlite3.Error, path: Path) -> str:
    match primary_code(error):
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return f"make {path} and its folder writable for Hookgate's user"
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            return "move the file away (its claims are lost), or set store.url to another file"
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return "end the program that holds the file locked"
        case sqlite3.SQLITE_FULL:
            return "free space on its disk"
        case _:
            return "check its disk, or set store.url to another file"


def primary_code(error: BaseException) -> int:
    """SQLite's primary result code of an error (https://www.sqlite.org/rescode.html); 0 where there is none."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF
