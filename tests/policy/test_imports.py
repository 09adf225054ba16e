"""Reading a policy does not load what serving needs."""

import subprocess
import sys


def test_cold_import() -> None:
    """The reader comes without aiohttp and without the JSON Schema engine: `check` stays quick."""
    code = "import sys, proxy.policy.reader; print({'aiohttp', 'jsonschema_rs', 'uvloop'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - our own code
    assert done.stdout.strip() == "set()"
