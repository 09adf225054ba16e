"""Compile the modules that every request passes, in place: ``python deploy/compile.py FOLDER``, where FOLDER holds ``proxy``.

mypyc makes C of what mypy has typed; the source stays beside it and says the same. Needs mypy, setuptools, a C compiler and
Python's headers, besides what Hookgate itself needs. What it makes is for one Python version and one architecture. Without it
Hookgate runs all the same, slower.
"""

import importlib
import inspect
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from mypyc.build import mypycify
from setuptools import setup

HOT: Final = {
    "": "messages exchange wakeup",
    "rules/": "meter rate ip keys signature replay batch size",
    "pipeline/": "modes gate handshakes opening explanation",
    "edge/": "answers framing recurring reply story intake announced handler",
    "upstream/": "connection recurring wire pool again breaker",
    "observe/": "histogram series log",
    "store/": "pending table ledger sqlite redis_values",
}
"""Who every request passes, and the subclasses of those: an interpreted class cannot stand on a compiled one."""


def main() -> None:
    """Compile and prove; whatever goes wrong ends the process with the compiler's own words."""
    settings = Path(__file__).resolve().parents[1] / "pyproject.toml"
    os.chdir(sys.argv[1])
    names = [f"proxy/{folder}{name}" for folder, listed in HOT.items() for name in listed.split()]
    if sys.argv[2:] == ["--prove"]:
        prove([name.replace("/", ".") for name in names])
        return
    with tempfile.TemporaryDirectory() as folder:
        sources = [f"--config-file={settings}", f"--cache-dir={folder}/cache", *[f"{name}.py" for name in names]]
        units: Any = mypycify(sources, target_dir=folder, multi_file=True, group_name="hookgate", debug_level="0")
        sys.argv[1:] = ["--quiet", "build_ext", "--inplace", f"--build-temp={folder}/objects", f"--build-lib={folder}/built"]
        setup(name="hookgate-compiled", packages=[], ext_modules=units)
    subprocess.run([sys.executable, __file__, ".", "--prove"], check=True)  # noqa: S603 - ourselves, with what is compiled


def prove(modules: list[str]) -> None:
    """SECURITY: a compiled class on an interpreted one with room of its own shares that room with it: it must not be."""
    sys.path.insert(0, os.getcwd())
    for name in modules:
        module = importlib.import_module(name)
        if (module.__file__ or "").endswith(".py"):
            sys.exit(f"{name} is not compiled")
        for one in vars(module).values():
            if not inspect.isclass(one) or not hasattr(one, "__mypyc_attrs__"):
                continue
            for base in one.__mro__[1:]:
                if base is not object and not hasattr(base, "__mypyc_attrs__") and base.__basicsize__ != object.__basicsize__:
                    sys.exit(f"{name}: {one.__name__} is compiled and stands on {base.__module__}.{base.__name__}, which is not")


if __name__ == "__main__":
    main()
