"""Fixtures that any test may ask for: gates and bots that end with the test."""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.gates import Gate, RecordingBot, recording_bot, serving

Gates = Callable[..., Gate]


@pytest.fixture
def bot() -> Iterator[RecordingBot]:
    """A bot that keeps every request as it came."""
    with recording_bot() as made:
        yield made


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gates]:
    """``gate(text)`` writes a policy and serves it in a process of its own; ``environ`` is added to ours."""
    with ExitStack() as stack:

        def start(text: str, environ: Mapping[str, str] | None = None, name: str = "policy.yaml") -> Gate:
            policy = tmp_path / name
            policy.write_text(text)
            return stack.enter_context(serving(policy, environ))

        yield start


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test has logged may hold lone surrogates; between processes a report is UTF-8."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report
