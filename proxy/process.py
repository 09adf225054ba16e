"""What every process of a gate does first: its limits, its log, its collector."""

import contextlib
import faulthandler
import gc
import logging
import resource
import signal
from collections.abc import Iterator

from proxy.observe.log import Sink
from proxy.observe.service_log import ServiceLog


@contextlib.contextmanager
def prepared(descriptor: int) -> Iterator[Sink]:
    """A process ready to serve; its lines go to this descriptor until the end of the block."""
    # SECURITY: a core file would hold every secret.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    faulthandler.register(signal.SIGQUIT, all_threads=True)
    # Requests make no cycles; rare, larger collections keep the tail of the latency short.
    gc.set_threshold(10_000, 20, 100)
    sink = Sink(descriptor)
    root = logging.getLogger()
    root.handlers = [ServiceLog(sink)]
    root.setLevel(logging.INFO)
    logging.getLogger("aiohttp").setLevel(logging.ERROR)
    try:
        yield sink
    finally:
        sink.close()
