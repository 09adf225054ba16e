"""The switch on disk: one small JSON file, replaced whole, so that it survives a restart and every worker can read it."""

import json
import os
from pathlib import Path

from proxy.errors import StartError
from proxy.pipeline.modes import Switch
from proxy.policy.values import Stance


class SwitchFile:
    """Reads and writes ``switch.json`` in the state folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = folder / "switch.json"

    def prepare(self) -> None:
        """Make the folder; raises ``StartError`` when the switch could not be kept there."""
        try:
            self._folder.mkdir(mode=0o750, parents=True, exist_ok=True)
            probe = self._folder / f".probe-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise StartError(
                f"the state folder {self._folder} cannot be written ({(error.strerror or 'unknown reason').lower()}):"
                " make it writable for this user, or name another with state_directory"
            ) from None

    def read(self) -> Switch:
        """The switch as it was last turned; a file that is none counts as not turned."""
        try:
            kept = json.loads(self.path.read_text())
            everything = Stance.parse(kept["everything"]) if kept["everything"] else None
            return Switch(everything, tuple(sorted((str(name), Stance.parse(word)) for name, word in kept["routes"].items())))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return Switch()

    def write(self, switch: Switch) -> None:
        """Replace the file whole."""
        kept = {
            "everything": str(switch.everything) if switch.everything else None,
            "routes": {name: str(stance) for name, stance in switch.routes},
        }
        fresh = self.path.with_suffix(f".{os.getpid()}.new")
        fresh.write_text(json.dumps(kept))
        fresh.replace(self.path)
