"""The process of a gate: its log, its signals, one worker or several; from the first line of output to the exit code."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from pathlib import Path

import uvloop

from proxy.app import App
from proxy.observe.log import Sink
from proxy.policy.reader import read_policy
from proxy.process import prepared
from proxy.workers.supervisor import Supervisor

_log = logging.getLogger("hookgate")


def serve(policy: Path, workers: int | None) -> int:
    """Serve until told to stop; 0 after a drain that left no request behind. ``workers`` overrides the policy."""
    with prepared(sys.stdout.fileno()) as sink, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(policy, workers, sink))


async def _serve(path: Path, workers: int | None, sink: Sink) -> int:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    # All handlers before anything else: as process 1 of a container there are no defaults.
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, stopping, number)
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        loop.add_signal_handler(number, _log.warning, "a signal without a meaning here was ignored")
    loaded = read_policy(path, os.environ, workers=workers)
    made = Supervisor if loaded.policy.workers > 1 else App
    gate = made(path, os.environ, sink, loaded=loaded, workers=workers)
    reloads: set[asyncio.Task[None]] = set()

    def hang_up() -> None:
        task = loop.create_task(gate.try_to_reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, hang_up)
    starting = asyncio.ensure_future(gate.start())
    told = asyncio.ensure_future(stopping.wait())
    await asyncio.wait((starting, told), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()  # which closes what it has opened
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        return 0
    await starting
    if isinstance(gate, Supervisor):
        gate.lost.add_done_callback(lambda lost: stopping.set())
    await told
    return 0 if await gate.stop() else 1


def _stop(stopping: asyncio.Event, number: int) -> None:
    # A second TERM is no hurry: supervisors and process groups send it twice. A second INT is somebody at the keyboard.
    if stopping.is_set() and number == signal.SIGINT:
        os._exit(130)
    stopping.set()
