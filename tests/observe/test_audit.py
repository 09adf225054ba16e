"""The audit's chain: whatever is changed, removed or moved is found, and it goes on over restarts, crashes and rotations."""

import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from proxy.errors import StartError
from proxy.observe.audit import Audit
from proxy.observe.chain import ORIGIN, Break, Chain, Followed, follow
from proxy.observe.chainfile import ChainFile
from proxy.verdict import Reason
from tests.gates import ROOT, until
from tests.observe.exchanges import exchange
from tests.pipeline.judging import NOW

KEY = b"a-key-of-more-than-sixteen-bytes"


def written(folder: Path, count: int, key: bytes = b"", name: str = "audit.log") -> list[bytes]:
    """A chain of so many lines."""
    file = ChainFile(folder / name, Chain(key))
    file.prepare()
    file.append([{"event": "refusal", "time": "t", "number": number} for number in range(count)])
    file.close()
    return (folder / name).read_bytes().splitlines(keepends=True)


def followed(lines: list[bytes], key: bytes = b"", after: str = ORIGIN.digest) -> tuple[list[int], Followed]:
    """Numbers of the broken lines, and how far it goes."""
    found = list(follow(Chain(key), lines, after))
    last = found.pop()
    assert isinstance(last, Followed)
    return [one.number for one in found if isinstance(one, Break)], last


@pytest.mark.parametrize("key", [b"", KEY])
def test_whole(key: bytes, tmp_path: Path) -> None:
    """What was written follows, to its last line; nobody else may read it."""
    lines = written(tmp_path, 5, key)
    broken, last = followed(lines, key)
    assert (broken, last.lines, last.last.seq) == ([], 5, 5)
    assert json.loads(lines[-1])["mac" if key else "hash"] == last.last.digest
    assert (tmp_path / "audit.log").stat().st_mode & 0o777 == 0o600


def test_every_change_is_found(tmp_path: Path) -> None:
    """Every byte that is changed breaks the chain at its line, and so does every line that is removed, moved or doubled."""
    lines = written(tmp_path, 4)
    for index, line in enumerate(lines):
        for at in range(len(line)):
            changed = line[:at] + bytes([line[at] ^ 1]) + line[at + 1 :]
            assert followed([*lines[:index], changed, *lines[index + 1 :]])[0][:1] in ([index + 1], [index + 2]), (index, at)
        if index < len(lines) - 1:
            assert followed([*lines[:index], *lines[index + 1 :]])[0] == [index + 1]
        assert followed([*lines[: index + 1], line, *lines[index + 1 :]])[0] == [index + 2]
    for index, (one, other) in enumerate(pairwise(lines)):
        assert followed([*lines[:index], other, one, *lines[index + 2 :]])[0][0] == index + 1


def test_a_line_made_anew(tmp_path: Path) -> None:
    """Without a key a line can be made anew, and then the next one tells; with a key it cannot even be made."""
    for key, wanted in ((b"", [3]), (KEY, [2])):
        lines = written(tmp_path, 4, key, f"{len(key)}.log")
        before = Chain(key).read(lines[0][:-1])
        assert before is not None
        forged, _ = Chain().line(before.link, {"event": "nothing"})
        assert followed([lines[0], forged, *lines[2:]], key)[0] == wanted


def test_the_end(tmp_path: Path) -> None:
    """Lines missing at the end alone are not seen by the chain: for that its last digest is told."""
    lines = written(tmp_path, 4)
    assert followed(lines[:2])[0] == []
    assert followed(lines)[1].last.digest != followed(lines[:2])[1].last.digest


def test_restarts(tmp_path: Path) -> None:
    """Another start goes on where the last one ended."""
    lines: list[bytes] = []
    for count in (3, 2, 1):
        lines = written(tmp_path, count)
    assert followed(lines)[0] == []
    assert len(lines) == 6


@pytest.mark.parametrize("cut", [2, 20, 150])
def test_crash(cut: int, tmp_path: Path) -> None:
    """A line that a crash left unfinished is noted by the next start, and the chain is whole; without that note it is not."""
    lines = written(tmp_path, 3)
    (tmp_path / "audit.log").write_bytes(b"".join(lines)[:-cut])
    assert followed((tmp_path / "audit.log").read_bytes().splitlines(keepends=True))[0] == [3]
    lines = written(tmp_path, 1)
    broken, last = followed(lines)
    assert (broken, last.torn, len(lines)) == ([], 1, 5)
    assert json.loads(lines[3])["event"] == "torn"
    # Nobody can pass a change off as a crash: the note says how many bytes were torn.
    assert followed([*lines[:2], lines[2][:-5] + b"\n", *lines[3:]])[0] == [3]


def test_crash_before_the_newline(tmp_path: Path) -> None:
    """A line that lacks nothing but its end is whole, and the next start ends it."""
    lines = written(tmp_path, 3)
    (tmp_path / "audit.log").write_bytes(b"".join(lines)[:-1])
    lines = written(tmp_path, 1)
    broken, last = followed(lines)
    assert (broken, last.torn, len(lines)) == ([], 0, 4)


def test_rotation(tmp_path: Path) -> None:
    """A file that was moved away is followed by a new one that goes on with the chain."""
    file = ChainFile(tmp_path / "audit.log", Chain())
    file.append([{"event": "a"}, {"event": "b"}])
    (tmp_path / "audit.log").rename(tmp_path / "audit.log.1")
    file.append([{"event": "c"}])
    first, second = ((tmp_path / name).read_bytes().splitlines(keepends=True) for name in ("audit.log.1", "audit.log"))
    assert (len(first), len(second)) == (2, 1)
    assert followed([*first, *second])[0] == []
    assert followed(second)[0] == [1]
    assert followed(second, after=followed(first)[1].last.digest)[0] == []


SEVERAL = """
import sys
import time
from pathlib import Path
from proxy.observe.chain import Chain
from proxy.observe.chainfile import ChainFile
path = Path(sys.argv[1])
file = ChainFile(path, Chain())
for number in range(60):
    while number == 50 and not path.with_suffix(".moved").exists():
        time.sleep(0.001)
    file.append([{"event": sys.argv[2], "number": number}] * (number % 3 + 1))
"""


def test_several_processes(tmp_path: Path) -> None:
    """Workers share one file and make one chain, a rotation under all of them included; no line is lost."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    path = tmp_path / "audit.log"
    workers = [
        subprocess.Popen([sys.executable, "-c", SEVERAL, str(path), f"worker-{number}"], env=environ)  # noqa: S603 - our own
        for number in range(3)
    ]
    names = [f'"worker-{number}"' for number in range(3)]
    until(lambda: path.exists() and all(name in path.read_text() for name in names), "the first lines of all")
    path.rename(tmp_path / "audit.log.1")
    path.with_suffix(".moved").touch()
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    lines = [line for name in ("audit.log.1", "audit.log") for line in (tmp_path / name).read_bytes().splitlines(keepends=True)]
    broken, last = followed(lines)
    assert (broken, last.last.seq) == ([], 3 * 120)


FOREIGN = [b"some other file\n", b"no line", b'{"seq":1,"event":"x"}\n', b"\0" * 100]


@pytest.mark.parametrize("content", FOREIGN)
def test_foreign_file(content: bytes, tmp_path: Path) -> None:
    """A file that is no chain of ours is left alone: the start ends with a remedy."""
    (tmp_path / "audit.log").write_bytes(content)
    with pytest.raises(StartError, match="move it away"):
        ChainFile(tmp_path / "audit.log", Chain()).prepare()
    assert (tmp_path / "audit.log").read_bytes() == content


def test_another_key(tmp_path: Path) -> None:
    """Neither is a chain that was made with another key, or with none."""
    written(tmp_path, 2)
    with pytest.raises(StartError, match="another key"):
        ChainFile(tmp_path / "audit.log", Chain(KEY)).prepare()


def test_no_place(tmp_path: Path) -> None:
    """Where it cannot be written the start says so; a folder that is missing is made."""
    assert ChainFile(tmp_path / "new" / "folder" / "audit.log", Chain()).prepare() == ORIGIN
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "audit.log", tmp_path):
        with pytest.raises(StartError, match="cannot be written"):
            ChainFile(path, Chain()).prepare()


def test_full_disk(tmp_path: Path) -> None:
    """A full disk takes back what it began, costs lines that are counted, and the gap is told in the chain when there is room."""
    code = (
        "import resource, signal, sys, time\n"
        "from pathlib import Path\n"
        "from proxy.observe.audit import Audit\n"
        "from proxy.observe.chain import Chain\n"
        "from proxy.observe.chainfile import ChainFile\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "audit = Audit(ChainFile(Path(sys.argv[1]), Chain()))\n"
        "audit.open()\n"
        "most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most))\n"
        "for number in range(20): audit.tell('first', number=number)\n"
        "while not audit.dropped: time.sleep(0.01)\n"
        "time.sleep(0.2)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))\n"
        "audit.tell('later')\n"
        "audit.close()\n"
        "print(audit.dropped)\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    path = tmp_path / "audit.log"
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60, check=False, env=environ
    )
    lines = path.read_bytes().splitlines(keepends=True)
    assert followed(lines)[0] == [], done.stderr
    events = [json.loads(line) for line in lines]
    lost = [event["count"] for event in events if event["event"] == "lines_lost"]
    assert sum(lost) == int(done.stdout) > 0
    assert sum(event["event"] == "first" for event in events) + sum(lost) == 20
    assert events[-1]["event"] == "later"


def test_damped(tmp_path: Path) -> None:
    """In a flood the refusals of one kind are ten lines a second and a count; what was forwarded is not told at all."""
    audit = Audit(ChainFile(tmp_path / "audit.log", Chain()))
    audit.open()
    for _ in range(300):
        audit.observe(exchange(Reason.SIGNATURE_MISMATCH, arrived=NOW))
        audit.observe(exchange())
    audit.observe(exchange(Reason.IP_DENIED, arrived=NOW))
    audit.observe(exchange(Reason.IP_DENIED, arrived=NOW + 1))
    audit.close()
    events = [json.loads(line) for line in (tmp_path / "audit.log").read_text().splitlines()]
    kinds = [(event["event"], event["reason"], event.get("count")) for event in events]
    assert kinds[:10] == [("refusal", "signature_mismatch", None)] * 10
    assert kinds[10:] == [
        ("refusal", "ip_denied", None),
        ("refusals_damped", "signature_mismatch", 290),
        ("refusal", "ip_denied", None),
    ]


def test_damped_at_the_end(tmp_path: Path) -> None:
    """What was left out in the very second in which the audit ends is told too."""
    audit = Audit(ChainFile(tmp_path / "audit.log", Chain()))
    audit.open()
    now = time.time()
    for _ in range(300):
        audit.observe(exchange(Reason.IP_DENIED, arrived=now))
    audit.close()
    events = [json.loads(line) for line in (tmp_path / "audit.log").read_text().splitlines()]
    assert sum(event["event"] == "refusal" for event in events) + sum(event.get("count", 0) for event in events) == 300
