"""What is compiled for the image: a list that stays whole, and rules that only the compiled form would break."""

import ast
import importlib
import inspect
import pkgutil
import re
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

import proxy

ROOT = Path(__file__).parents[2]


def hot() -> set[str]:
    """The modules that are compiled, read without the compiler that the script imports."""
    tree = ast.parse((ROOT / "deploy/compile.py").read_text())
    (listed,) = [node.value for node in tree.body if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "HOT"]
    assert listed is not None
    folders: dict[str, str] = ast.literal_eval(listed)
    return {f"proxy.{folder.replace('/', '.')}{name}" for folder, names in folders.items() for name in names.split()}


def classes() -> list[type[Any]]:
    """Every class that the package defines."""
    names = [module.name for module in pkgutil.walk_packages(proxy.__path__, "proxy.") if not module.name.endswith("__main__")]
    found = [vars(importlib.import_module(name)).values() for name in names]
    return [one for values in found for one in values if inspect.isclass(one) and one.__module__ in names]


def compiles(one: type[Any]) -> bool:
    """It becomes a class of C. Enumerations and named tuples stay what they are."""
    return one.__module__ in hot() and not issubclass(one, (Enum, tuple))


def test_the_list_names_modules() -> None:
    """Each name of the list is a module."""
    for name in hot():
        assert (ROOT / (name.replace(".", "/") + ".py")).is_file(), name


def fault(one: type[Any]) -> str:
    """What the compiled form of this class would break on."""
    if not compiles(one):
        return "stands on a compiled class" if any(map(compiles, one.__mro__[1:])) else ""
    if getattr(one, "_is_protocol", False):
        return "is an interface: a compiled class would have to inherit it"
    foreign = [base for base in one.__mro__[1:] if not compiles(base)]
    return "" if all(base.__basicsize__ == object.__basicsize__ for base in foreign) else "has a base with room of its own"


def test_classes() -> None:
    """No class is of a kind that only its compiled form would break on."""
    found = classes()
    assert any(map(compiles, found))
    assert {one.__qualname__: fault(one) for one in found if fault(one)} == {}


@pytest.mark.parametrize("name", sorted(hot()))
def test_names(name: str) -> None:
    """No attribute becomes a word of C: a compiled one has a second underscore before it."""
    words = set(re.findall(r"\bself\._(thread|signed|const|inline|restrict|volatile|asm|typeof|complex|real|imag|label)\b",
                           (ROOT / (name.replace(".", "/") + ".py")).read_text()))  # fmt: skip
    assert not words
