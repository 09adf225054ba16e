"""What a worker is asked, and the libraries that it asks in turn. Nothing of Hookgate is imported here."""

import base64
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

Asked = dict[str, Any]


@cache
def library(name: str) -> Any:
    """A module of one of the libraries, loaded when it is first asked."""
    return import_module(name)


@cache
def part(package: str, name: str) -> Any:
    """One module of a package whose own first lines would load all of it, for many seconds."""
    if package not in sys.modules:
        found = find_spec(package)
        assert found is not None, package
        bare = ModuleType(package)
        bare.__path__ = list(found.submodule_search_locations or ())
        sys.modules[package] = bare
    return import_module(f"{package}.{name}")


@cache
def private_key(pem: str) -> Any:
    """The private key, read once: that takes as long as a hundred signatures."""
    return library("cryptography.hazmat.primitives.serialization").load_pem_private_key(pem.encode(), None)


def text(asked: Asked) -> str:
    """The body, for libraries that take text."""
    return raw(asked).decode()


def raw(asked: Asked) -> bytes:
    """The body's bytes."""
    return base64.b64decode(asked["body"])


def fields(asked: Asked) -> dict[str, str]:
    """The request's headers by their lower-case names."""
    return {name.lower(): value for name, value in asked["fields"].items()}


def refused(call: Callable[[], object], named: str) -> bool:
    """Whether a call ends without the library's own refusal; any other error is one of ours."""
    try:
        call()
    except Exception as error:
        if not type(error).__name__.startswith(named):
            raise
        return False
    return True
