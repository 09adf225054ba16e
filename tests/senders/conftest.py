"""The workers that the tests of senders ask."""

from collections.abc import Iterator

import pytest

from tests.senders.libraries import NODE, PYTHON, Worker, worker


@pytest.fixture(scope="module")
def python() -> Iterator[Worker]:
    """The libraries for Python."""
    assert PYTHON.exists(), f"the senders' libraries are not in {PYTHON.parent.parent}: make senders"
    with worker(PYTHON, "-m", "tests.senders.sdk_worker") as found:
        yield found


@pytest.fixture(scope="module")
def node() -> Iterator[Worker]:
    """The libraries for Node.js."""
    assert (NODE / "node_modules").exists(), "the senders' libraries for Node.js are not there: make senders"
    with worker("node", "--no-warnings", NODE / "worker.mjs") as found:
        yield found
