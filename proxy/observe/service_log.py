"""The gate's own lines, beside those of exchanges and in the same form.

Apart from them because the standard library's handler is its base, and no compiled class can stand on that.
"""

import json
import logging
import os

from proxy.observe.log import Sink, utc


class ServiceLog(logging.Handler):
    """The service's own lines, in the same form. Extra fields must be plain words; a traceback names places only."""

    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        """One record, one line."""
        line: dict[str, object] = {
            "time": f"{utc(record.created)}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            line["error"] = type(error).__name__
            # SECURITY: an exception's text may quote a request or a secret; its type and places may not.
            line["places"] = _places(record.exc_info[1])
        line.update(record.__dict__.get("facts", {}))
        # In escapes: a name need not be UTF-8, and a line must stay one line for every reader.
        self._sink.add(json.dumps(line, default=str, separators=(",", ":")).encode())


def _places(error: BaseException) -> list[str]:
    places = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{os.path.basename(code.co_filename)}:{trace.tb_lineno}:{code.co_name}")
        trace = trace.tb_next
    return places[-8:]
