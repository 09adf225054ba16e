"""Each bot library in a process of its own, and a gate in front of it with a tap between the two; made once for each library."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.bots.bot_api import BotApi, bot_api
from tests.bots.journal import Journal
from tests.bots.tap import Tap, tapped
from tests.gates import ROOT, TELEGRAM, TOKEN, Gate, end, serving, until


@dataclass
class Stage:
    """One bot behind one gate."""

    gate: Gate
    tap: Tap
    bot: Path
    """The bot's own socket, behind the tap."""
    journal: Journal
    api: BotApi


@pytest.fixture(scope="package")
def aiogram_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The aiogram bot."""
    yield from _stage("tests.bots.aiogram_bot", tmp_path_factory.mktemp("aiogram"))


@pytest.fixture(scope="package")
def telegram_ext_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The python-telegram-bot bot."""
    yield from _stage("tests.bots.telegram_ext_bot", tmp_path_factory.mktemp("ext"))


@pytest.fixture(params=["aiogram", "telegram_ext"])
def stage(request: pytest.FixtureRequest) -> Stage:
    """Each bot in turn."""
    found: Stage = request.getfixturevalue(f"{request.param}_stage")
    return found


def _stage(module: str, folder: Path) -> Iterator[Stage]:
    bot, journal = folder / "bot", Journal(folder / "journal")
    policy = folder / "policy.yaml"
    policy.write_text(TELEGRAM.replace("http://127.0.0.1:{bot}", f"unix:{folder}/tap").format())
    with bot_api() as api, (folder / "bot.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", module, str(bot), str(journal.file), api.url],
            cwd=ROOT,
            env={**os.environ, "TELEGRAM_SECRET": TOKEN},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            until(lambda: bot.exists() or process.poll() is not None, f"{module} to listen")
            assert process.poll() is None, (folder / "bot.log").read_text()
            with tapped(folder / "tap", bot) as tap, serving(policy) as gate:
                yield Stage(gate, tap, bot, journal, api)
        finally:
            end(process)
