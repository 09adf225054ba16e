"""A file in which a bot of the tests writes what its handlers saw, one line an update, and which a test reads from outside."""

from pathlib import Path

Seen = tuple[str, int]
"""The update's type and its id."""


class Journal:
    """Appended by the bot's process, read by the test's."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def note(self, kind: str, update_id: int) -> None:
        """One handler ran."""
        with self.file.open("a") as opened:
            opened.write(f"{kind} {update_id}\n")

    def seen(self) -> list[Seen]:
        """What handlers have run for so far."""
        lines = self.file.read_text().split("\n")[:-1] if self.file.exists() else []
        return [(kind, int(number)) for kind, number in (line.split() for line in lines)]
