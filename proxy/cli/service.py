"""The process of a gate: its limits, its log, its signals; from the first line of output to the exit code."""

import asyncio
import contextlib
import faulthandler
import gc
import logging
import os
import resource
import signal
import sys
from pathlib import Path

import uvloop

from proxy.app import App
from proxy.errors import PolicyError
from proxy.observe.log import ServiceLog, Sink

_log = logging.getLogger("hookgate")


def serve(policy: Path) -> int:
    """Serve until told to stop; 0 after a drain that left no request behind."""
    _prepare_process()
    sink = Sink(sys.stdout.fileno())
    root = logging.getLogger()
    root.handlers = [ServiceLog(sink)]
    root.setLevel(logging.INFO)
    logging.getLogger("aiohttp").setLevel(logging.ERROR)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(policy, sink))
    finally:
        sink.close()


def _prepare_process() -> None:
    # SECURITY: a core file would hold every secret.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    faulthandler.register(signal.SIGQUIT, all_threads=True)
    # Requests make no cycles; rare, larger collections keep the tail of the latency short.
    gc.set_threshold(10_000, 20, 100)


async def _serve(path: Path, sink: Sink) -> int:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    # All handlers before anything else: as process 1 of a container there are no defaults.
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, stopping, number)
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        loop.add_signal_handler(number, _log.warning, "a signal without a meaning here was ignored")
    app = App(path, os.environ, sink)
    reloads: set[asyncio.Task[None]] = set()

    def hang_up() -> None:
        task = loop.create_task(_reload(app))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, hang_up)
    await app.start()
    await stopping.wait()
    return 0 if await app.stop() else 1


def _stop(stopping: asyncio.Event, number: int) -> None:
    # A second TERM is no hurry: supervisors and process groups send it twice. A second INT is somebody at the keyboard.
    if stopping.is_set() and number == signal.SIGINT:
        os._exit(130)
    stopping.set()


async def _reload(app: App) -> None:
    with contextlib.suppress(PolicyError):  # told in the log; the former policy stays
        await app.reload()
