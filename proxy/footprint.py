"""What a serving process leaves out of its memory. To be called before anything large is imported."""

import gc
import os
import sys
from importlib.util import find_spec, module_from_spec


def lean() -> None:
    """From here on import with rare collections, and aiohttp without its client.

    Whatever is asked of it, aiohttp's package loads its client too, and that reads all authorities of the machine, twice: 4 MB,
    and a fifth of the time to start. Its parsers and its web server ask nothing of the package itself; nor must we.
    """
    gc.set_threshold(50_000, 20, 100)
    # Its compiled form brings the library of C++, for lists that the observe and admin pages alone use.
    os.environ.setdefault("FROZENLIST_NO_EXTENSIONS", "1")
    spec = find_spec("aiohttp")
    if spec is None or "aiohttp" in sys.modules:
        return
    package = module_from_spec(spec)
    vars(package)["__version__"] = ""
    sys.modules["aiohttp"] = package
