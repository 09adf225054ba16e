"""The switch survives a restart, is replaced whole, and a damaged file is as if nobody had turned it."""

import os
import stat
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import pytest

from proxy.errors import StartError
from proxy.pipeline.modes import Switch, chosen, milder, stance_of
from proxy.policy.values import Stance
from proxy.switchfile import SwitchFile
from proxy.verdict import Mode

ENFORCE, REPORT, OFF, SHARE = (Stance.parse(word) for word in ("enforce", "report", "off", "5%"))

TURNED = [
    Switch(),
    Switch(ENFORCE),
    Switch(SHARE),
    Switch(None, (("a", REPORT),)),
    Switch(OFF, (("a", SHARE), ("b-2", ENFORCE))),
]


@pytest.mark.parametrize("switch", TURNED)
def test_kept(switch: Switch, tmp_path: Path) -> None:
    """What was written is what is read, by this process and by the next."""
    file = SwitchFile(tmp_path / "state")
    file.prepare()
    assert file.read() == Switch()
    file.write(switch)
    assert SwitchFile(tmp_path / "state").read() == switch
    assert os.listdir(tmp_path / "state") == ["switch.json"]


CORRUPT = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"report"',
    b"{}",
    b'{"everything":null}',
    b'{"everything":"reporting","routes":{}}',
    b'{"everything":1,"routes":{}}',
    b'{"everything":null,"routes":[]}',
    b'{"everything":null,"routes":{"a":null}}',
    b'{"everything":null,"routes":{"a":"101%"}}',
    b'{"everything":["report"],"routes":{}}',
    b"\xff\xfe",
    b"\0" * 4096,
    b"[" * 100_000,
]


@pytest.mark.parametrize("content", CORRUPT, ids=[repr(content[:40]) for content in CORRUPT])
def test_corrupt(content: bytes, tmp_path: Path) -> None:
    """A file that is none is as if the switch had never been turned, and the next turn makes it whole."""
    file = SwitchFile(tmp_path)
    file.path.write_bytes(content)
    assert file.read() == Switch()
    file.write(Switch(REPORT))
    assert file.read() == Switch(REPORT)


def test_not_a_file(tmp_path: Path) -> None:
    """A folder in the file's place is read as not turned."""
    (tmp_path / "switch.json").mkdir()
    assert SwitchFile(tmp_path).read() == Switch()


def test_replaced_whole(tmp_path: Path) -> None:
    """Whoever reads while another writes sees the old or the new, never a part."""
    file = SwitchFile(tmp_path)
    long = Switch(None, tuple((f"route-{number:04}", SHARE) for number in range(1000)))
    file.write(long)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            file.write(Switch(REPORT))
            file.write(long)

    writer = threading.Thread(target=write)
    writer.start()
    found = {file.read() for _ in range(200)}
    stop.set()
    writer.join()
    assert found <= {long, Switch(REPORT)}


def test_prepare(tmp_path: Path) -> None:
    """The folder is made with its parents, closed to strangers, and left without a trace of the trial."""
    folder = tmp_path / "a" / "b"
    SwitchFile(folder).prepare()
    SwitchFile(folder).prepare()
    assert os.listdir(folder) == []
    assert stat.S_IMODE(folder.stat().st_mode) & 0o007 == 0


def test_no_place(tmp_path: Path) -> None:
    """Where the switch could not be kept the start ends with a remedy."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="state_directory"):
        SwitchFile(tmp_path / "file" / "state").prepare()


def test_a_folder_of_somebody_else(tmp_path: Path) -> None:
    """An unprivileged gate over a read-only folder says so at the start."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o555)
    os.chmod(tmp_path, 0o755)  # noqa: S103 - the other user must reach the folder
    for parent in [tmp_path, *tmp_path.parents][:3]:
        parent.chmod(parent.stat().st_mode | 0o011)
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from proxy.errors import StartError\n"
        "from proxy.switchfile import SwitchFile\n"
        "os.geteuid() or os.setuid(65534)\n"
        "try: SwitchFile(Path(sys.argv[1])).prepare()\n"
        "except StartError as error: print(error)"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    told = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, timeout=60, check=False, env=environ
    )
    assert "make it writable" in told.stdout, told.stderr


TURNS: list[tuple[Stance | None, str | None, Switch]] = [
    (REPORT, "a", Switch(None, (("a", REPORT),))),
    (ENFORCE, "b", Switch(None, (("a", REPORT), ("b", ENFORCE)))),
    (OFF, "a", Switch(None, (("a", OFF), ("b", ENFORCE)))),
    (None, "a", Switch(None, (("b", ENFORCE),))),
    (None, "none", Switch(None, (("b", ENFORCE),))),
    (SHARE, None, Switch(SHARE)),
    (OFF, "a", Switch(SHARE, (("a", OFF),))),
    (None, None, Switch()),
]


def test_turns() -> None:
    """A turn for a route leaves the others alone; one for everything ends those of single routes; policy gives control back."""
    switch = Switch()
    for stance, route, wanted in TURNS:
        switch = switch.turned(stance, route)
        assert switch == wanted
        assert switch.engaged is (switch != Switch())


def test_precedence() -> None:
    """A route's own turn wins over the one for everything, that over the route's mode, and that over the policy's."""
    switch = Switch(REPORT, (("a", OFF),))
    assert (switch.of("a"), switch.of("b"), Switch().of("a")) == (OFF, REPORT, None)
    assert stance_of(switch.of("a"), ENFORCE, SHARE) == OFF
    assert stance_of(switch.of("b"), ENFORCE, SHARE) == REPORT
    assert stance_of(None, ENFORCE, SHARE) == ENFORCE
    assert stance_of(None, None, SHARE) == SHARE


def test_milder() -> None:
    """Off is milder than report, report than enforce."""
    order = [Mode.OFF, Mode.REPORT, Mode.ENFORCE]
    for one in order:
        for other in order:
            assert milder(one, other) is order[min(order.index(one), order.index(other))]


def test_chosen() -> None:
    """A share of 0 takes nobody, 100 everybody, and a wider share everybody of a narrower one."""
    digests = [number.to_bytes(4, "big") + b"rest" for number in range(0, 2**32, 2**32 // 500)]
    taken = [{digest for digest in digests if chosen(digest, share)} for share in range(101)]
    assert (len(taken[0]), len(taken[100])) == (0, len(digests))
    assert all(one <= other for one, other in pairwise(taken))
