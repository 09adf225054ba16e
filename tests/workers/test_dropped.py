"""Lines that could not be written are counted for the whole gate, whichever worker lost them."""

import os
import signal
from pathlib import Path

from tests.edge.stages import update
from tests.gates import status, until
from tests.upstream.bots import OK, always
from tests.workers.crews import crew, workers


def test_audit_lines_lost_by_a_worker_that_died_stay_counted(tmp_path: Path) -> None:
    """What could not be written to the audit is told by a counter, which the death of a worker does not turn back."""
    with crew(tmp_path, 2, always(OK), audit={"file": "audit.log"}) as (gate, _):
        audit = tmp_path / "audit.log"
        sound = audit.stat().st_size
        with audit.open("ab") as file:
            file.write(b"no line of a chain\n")
        assert status(gate.send(update(1, b"Connection: close\r\n").replace(b"a-secret", b"b-secret"))) == 401
        lost = until(lambda: gate.metric("hookgate_audit_dropped_total") or None, "the line to be counted")
        os.truncate(audit, sound)
        ours = set(workers(gate))
        for pid in ours:
            os.kill(pid, signal.SIGKILL)
        until(lambda: len(set(workers(gate)) - ours) == 2 or None, "successors")
        until(lambda: gate.metric("hookgate_workers") == 2 or None, "the successors to serve")
        assert gate.metric("hookgate_audit_dropped_total") >= lost
