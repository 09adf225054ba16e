"""What can still be judged of a policy whose parts are wrong by themselves.

A wrong part was told already; it is dropped, or replaced by a harmless stand-in where one is required, so that one run of the
reader finds everything. Checks that ask whether something is absent are then left out (``Dropped.whole``).
"""

from collections import defaultdict
from collections.abc import Iterator

from proxy.policy.document import Path, Plain

_TOP: dict[str, Plain] = {"version": 1, "listen": {"address": "0.0.0.0:0"}}

Tree = dict[str, Plain]


class Dropped:
    """The places that were wrong by themselves."""

    def __init__(self) -> None:
        self.paths: set[Path] = set()
        self.above: list[Path] = []
        """Those that lie in no route."""
        self.in_route: defaultdict[int, list[Path]] = defaultdict(list)

    def add(self, path: Path) -> bool:
        """Note a place; False when it was known already."""
        if path in self.paths:
            return False
        self.paths.add(path)
        if len(path) > 1 and path[0] == "routes" and isinstance(path[1], int):
            self.in_route[path[1]].append(path)
        else:
            self.above.append(path)
        return True

    def top_whole(self) -> bool:
        """Whether nothing was wrong outside single routes."""
        return not self.above

    def route_whole(self, index: int) -> bool:
        """Whether nothing was wrong above the routes, nor in this one."""
        return self.top_whole() and index not in self.in_route


def without(tree: Tree, dropped: Dropped) -> Tree:
    """The tree with its wrong parts dropped or replaced."""
    wrong = {path[0] for path in dropped.above if path}
    rest = _TOP | {key: value for key, value in tree.items() if key not in wrong}
    routes = tree.get("routes")
    kept = [_route(route, index, dropped) for index, route in enumerate(routes)] if isinstance(routes, tuple) else []
    rest["routes"] = tuple(kept) or (_route(None, 0, dropped),)
    return rest


def _route(route: Plain, index: int, dropped: Dropped) -> Tree:
    rest = dict(route) if isinstance(route, dict) else {}
    rules = rest.get("rules")
    kept = dict(rules) if isinstance(rules, dict) else {}
    for path in dropped.in_route.get(index, ()):
        if path[2:3] == ("rules",) and len(path) > 3:
            kept.pop(str(path[3]), None)
        elif len(path) > 2:
            rest.pop(str(path[2]), None)
    if kept or "rules" in rest:
        rest["rules"] = kept
    return {"name": f"stand-in-{index}", "path": f"/stand-in/{index}", **rest}


def empty_places(value: Plain, path: Path = ()) -> Iterator[Path]:
    """Keys and entries that stand there without a value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from [(*path, key)] if inner is None else empty_places(inner, (*path, key))
    elif isinstance(value, tuple):
        for index, inner in enumerate(value):
            yield from [(*path, index)] if inner is None else empty_places(inner, (*path, index))


def without_empty(value: Plain) -> Plain:
    """The value without such keys; entries of lists stay, so that the others keep their positions."""
    if isinstance(value, dict):
        return {key: without_empty(inner) for key, inner in value.items() if inner is not None}
    return tuple(map(without_empty, value)) if isinstance(value, tuple) else value
