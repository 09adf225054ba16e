"""What can go wrong outside a verdict: a policy, a start, a store, a bot.

A bad *request* is never an exception: it is a ``Fail`` (see ``verdict.py``).

    HookgateError
    ├── PolicyError    the policy is unsound; carries every fault at once
    ├── StartError     the policy is sound, the machine is not (port in use, no permission)
    ├── StoreError     the store did not answer, or not in time
    └── UpstreamError  the bot did not answer as HTTP demands; carries the reason to tell
"""

from typing import NamedTuple

from proxy.verdict import Reason


class HookgateError(Exception):
    """Anything that Hookgate says about itself; never about one request."""


class Fault(NamedTuple):
    """One unsound place in a policy, in the reader's words.

    ``line`` and ``column`` count from 1; 0 stands for "the whole file".
    """

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{where}: {self.path}: {self.message}" if self.path else f"{where}: {self.message}"


class PolicyError(HookgateError):
    """The policy is unsound. ``faults`` holds all of them, in file order."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults


class StartError(HookgateError):
    """A sound policy cannot be served here; the message names the remedy."""


class StoreError(HookgateError):
    """The store is unreachable, full or too slow."""


class UpstreamError(HookgateError):
    """The bot gave no usable answer; ``reason`` says which way it failed, ``retry_after`` in how many seconds to come again.

    Without a number the sender's own pace is right: most try again at once, which is what a broken connection deserves.
    """

    def __init__(self, reason: Reason, retry_after: int = 0) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.retry_after = retry_after
