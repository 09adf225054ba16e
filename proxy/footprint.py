"""What a serving process leaves out of its memory. To be called before anything large is imported."""

import gc
import sys
from importlib.util import find_spec, module_from_spec


def lean() -> None:
    """From here on import without collecting, and aiohttp without its client; ``prepared`` lets the collector work again.

    Whatever is asked of it, aiohttp's package loads its client too, and that reads all authorities of the machine, twice: 4 MB,
    and a fifth of the time to start. Its parsers and its web server ask nothing of the package itself; nor must we.
    """
    gc.disable()
    spec = find_spec("aiohttp")
    if spec is None or "aiohttp" in sys.modules:
        return
    package = module_from_spec(spec)
    vars(package)["__version__"] = ""
    sys.modules["aiohttp"] = package
