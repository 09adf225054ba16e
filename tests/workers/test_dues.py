"""Due times that several processes count together: exact, bounded, and never waited for long."""

import fcntl
import os
import resource
import time
from collections.abc import Callable

from proxy.workers.dues import Dues
from proxy.workers.memory import Memory
from tests.gates import PATIENCE

NOW = 1000.0


def forked(work: Callable[[], int], number: int) -> list[int]:
    """The results of so many processes that do the same at once."""
    read, write = os.pipe()
    children = []
    for _ in range(number):
        pid = os.fork()
        if not pid:
            try:
                os.write(write, b"%d\n" % work())
            finally:
                os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    os.close(write)
    with open(read, "rb") as file:
        return list(map(int, file.read().split()))


def passed(dues: Dues, number: int, *clients: bytes, burst: int) -> int:
    """How many of so many requests of each client pass at one moment."""
    return sum(dues.take(client, NOW, 1.0, burst - 1.0) == 0.0 for client in clients for _ in range(number))


def test_four_processes_let_through_exactly_the_burst() -> None:
    """Processes that count the same clients at once let through what one alone would."""
    memory = Memory.fresh()
    clients = [b"client %d" % number for number in range(20)]
    found = forked(lambda: passed(Memory(memory.descriptor).dues(), 50, *clients, burst=60), 4)
    assert sum(found) == 20 * 60


def test_time_gives_back() -> None:
    """After a refusal the wait that was told is enough, and a little less is not; a refused request does not count."""
    dues = Memory.fresh().dues()
    assert passed(dues, 5, b"a", burst=3) == 3
    wait = dues.take(b"a", NOW, 1.0, 2.0)
    assert wait == 1.0
    assert dues.take(b"a", NOW + 0.9, 1.0, 2.0) != 0.0
    assert dues.take(b"a", NOW + 1.0, 1.0, 2.0) == 0.0
    assert dues.take(b"b", NOW, 1.0, 0.0) == 0.0


def test_a_flood_of_clients_pushes_nobody_out() -> None:
    """With more live clients than there is room for, newcomers share; who was there before is counted on."""
    dues = Memory.fresh().dues()
    assert passed(dues, 5, b"early", burst=3) == 3
    for number in range(200_000):
        dues.take(b"%d" % number, NOW, 1000.0, 0.0)
    assert dues.take(b"early", NOW, 1.0, 2.0) == 1.0


def test_a_stopped_holder_stops_nobody() -> None:
    """Where another process holds a lock and does not go on, the answer is that nobody can say, and it comes at once."""
    memory = Memory.fresh()
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        fcntl.lockf(memory.descriptor, fcntl.LOCK_EX)
        os.write(write, b".")
        time.sleep(PATIENCE)
        os._exit(0)
    try:
        os.read(read, 1)
        began, slept = time.process_time(), resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        assert memory.dues().take(b"a", NOW, 1.0, 0.0) is None
        assert time.process_time() - began < 0.2
        # However busy the machine is, we gave up our turn for others and never went to sleep (getrusage(2)).
        assert resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - slept < 100
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    # The kernel has taken the lock from the dead.
    assert memory.dues().take(b"a", NOW, 1.0, 0.0) == 0.0


def test_a_slower_rate_of_an_earlier_policy_is_not_paid_for() -> None:
    """Due times that a slower rate has brought far ahead come back within what the present rate can bring."""
    dues = Memory.fresh().dues()
    for _ in range(3):
        dues.take(b"a", NOW, 3600.0, 7200.0)
    wait = dues.take(b"a", NOW, 1.0, 2.0)
    assert wait is not None
    assert wait <= 1.0
