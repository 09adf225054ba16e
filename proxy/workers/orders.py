"""What the parent tells a worker, and the one way in which a policy goes from process to process: whole, with its secrets.

A worker never reads the policy's file: it may have changed since, or be unsound by now, and all serve by the same one.
"""

import pickle
from collections.abc import Callable
from io import BytesIO
from types import MappingProxyType
from typing import Any, NamedTuple

from proxy.pipeline.modes import Switch
from proxy.policy.reader import Loaded
from proxy.policy.secrets import Secret


class Order(NamedTuple):
    """One thing to do; its answer bears the same number."""

    number: int
    verb: str
    """One of the worker's controls, see ``worker.py``."""
    given: Any = None


class Start(NamedTuple):
    """What a worker begins with."""

    seat: int
    loaded: Loaded
    switch: Switch


def packed(order: Order) -> bytes:
    """For the channel."""
    data = BytesIO()
    _Pickler(data, pickle.HIGHEST_PROTOCOL).dump(order)
    return data.getvalue()


def unpacked(data: bytes) -> Order:
    """Of what ``packed`` made."""
    order = pickle.loads(data)  # noqa: S301 - it comes from our own parent, over a socket pair that nobody else holds
    assert isinstance(order, Order)  # noqa: S101 - the type checker's
    return order


class _Pickler(pickle.Pickler):
    """SECURITY: a secret refuses to be pickled by anybody else; from here it goes to our own worker, and to no file."""

    def reducer_override(self, value: object) -> Any:
        if isinstance(value, Secret):
            held = {name: getattr(value, name) for name in _slots() if hasattr(value, name)}
            return _secret, (held,)
        if isinstance(value, MappingProxyType):
            return _read_only, (dict(value),)
        return NotImplemented


def _slots() -> list[str]:
    return [f"_Secret{name}" if name.startswith("__") else name for name in Secret.__slots__]


def _read_only(held: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(held)


def _secret(held: dict[str, Any]) -> Secret:
    made = Secret.__new__(Secret)
    for name, value in held.items():
        setattr(made, name, value)
    return made


Controls = dict[str, Callable[[Any], Any]]
"""A worker's verbs: each takes what was given and answers, or gives an awaitable for, something that JSON can say."""
