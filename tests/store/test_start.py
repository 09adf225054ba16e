"""What cannot be opened, and the one sentence that says what to do; and which store a URL names."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.errors import StartError
from proxy.store.memory import MemoryStore
from proxy.store.opening import open_store
from proxy.store.sqlite import SqliteStore
from proxy.store.table import APPLICATION_ID

ROOT = Path(__file__).parents[2]


def other_program(path: Path) -> None:
    """A database of somebody else."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE notes (text)")
    connection.close()


def newer_version(path: Path) -> None:
    """A file of ours, from a version to come."""
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 99")
    connection.close()


def no_database(path: Path) -> None:
    """A text file."""
    path.write_text("not a database, but long enough to look like one\n" * 100)


def folder(path: Path) -> None:
    """A folder where the file should be."""
    path.mkdir()


def folder_for_owners(path: Path) -> None:
    """A folder where the owners file should be."""
    path.with_name(path.name + "-owners").mkdir()


@pytest.mark.parametrize(
    ("made", "remedy"),
    [
        (other_program, "belongs to another program; set store.url to a file of Hookgate's own"),
        (newer_version, r"newer Hookgate \(schema 99, known here: 1\); run that version, or set store.url to another file"),
        (no_database, "not a database; move the file away"),
        (folder, "unable to open database file; make .* writable"),
        (folder_for_owners, "claims.db-owners: Is a directory; make it writable"),
    ],
)
async def test_a_file_that_is_no_store_is_named_with_the_remedy(
    tmp_path: Path, made: Callable[[Path], None], remedy: str
) -> None:
    """What is in the way is not touched, and the message says what to do."""
    path = tmp_path / "claims.db"
    made(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(StartError, match=remedy):
        await SqliteStore(path).open()
    assert made is folder_for_owners or not path.is_file() or path.read_bytes() == before


@pytest.mark.parametrize("path", ["/proc/hookgate/claims.db", __file__ + "/claims.db"])
async def test_a_folder_that_cannot_be_made_is_named_with_the_remedy(path: str) -> None:
    """A place where no folder can be made, even by root, ends the start with one sentence."""
    with pytest.raises(StartError, match=r"cannot be made .*; make .* a folder that Hookgate's user may write to"):
        await SqliteStore(Path(path)).open()


OPEN = """
import asyncio, concurrent.futures.thread, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from proxy.errors import StartError
from proxy.store.sqlite import SqliteStore
{drop}
try:
    asyncio.run(SqliteStore(Path(sys.argv[1])).open())
except StartError as error:
    print(error)
"""
DROP = "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)"


@pytest.mark.parametrize("is_there", [True, False], ids=["read-only file", "read-only folder"])
def test_without_the_right_to_write_the_start_ends_with_the_remedy(is_there: bool) -> None:
    """A user who may read a store's place, but not write there, is told to make it writable."""
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / "claims.db"
        if is_there:
            path.touch(0o444)
        Path(made).chmod(0o555)
        # Root may write anywhere: then a child without that right opens the store.
        code = OPEN.format(drop=DROP if os.getuid() == 0 else "")
        said = subprocess.run(  # noqa: S603 - our own code
            [sys.executable, "-c", code, str(path), str(ROOT)], capture_output=True, text=True, check=True, timeout=20
        )
        Path(made).chmod(0o755)
    assert "writable for Hookgate's user" in said.stdout or "a folder that Hookgate's user may write to" in said.stdout
    assert str(path) in said.stdout


async def test_a_file_that_is_held_at_the_start_is_waited_for_and_then_named(database: Path) -> None:
    """When another program keeps the file locked, the start ends within seconds and says so."""
    first = SqliteStore(database)
    await first.open()
    await first.close()
    other = sqlite3.connect(database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StartError, match="database is locked; end the program that holds the file locked"):
        await SqliteStore(database).open()
    other.close()


async def test_a_new_file_that_another_one_is_making_is_waited_for(database: Path) -> None:
    """A worker that comes upon a new file in the hands of another waits its turn, and gets its store."""
    database.parent.mkdir(exist_ok=True)
    other = sqlite3.connect(database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store = SqliteStore(database)
    opening = asyncio.ensure_future(store.open())
    assert not (await asyncio.wait([opening], timeout=0.2))[0]
    other.close()
    await opening
    await store.close()


@pytest.mark.parametrize("round_", range(10))
async def test_many_may_open_a_new_file_at_once(database: Path, round_: int) -> None:
    """Workers that start together on a file that is not there yet all get their store."""
    stores = [SqliteStore(database) for _ in range(6)]
    await asyncio.gather(*(store.open() for store in stores))
    for store in stores:
        await store.close()


def test_a_url_names_its_store() -> None:
    """The policy's two spellings make the two stores."""
    assert isinstance(open_store("memory:"), MemoryStore)
    assert isinstance(open_store("sqlite:/var/lib/hookgate/claims.db"), SqliteStore)


@pytest.mark.parametrize("url", ["redis://user:hunter2@host/0", "sqlite:", "memory:x", "", "file:/x"])
def test_an_unknown_url_is_refused_without_its_secrets(url: str) -> None:
    """A URL that names no store is refused, and a password in it is not shown."""
    with pytest.raises(StartError, match="use memory:, sqlite:PATH or redis://HOST:PORT") as caught:
        open_store(url)
    assert "hunter2" not in str(caught.value)
