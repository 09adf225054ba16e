"""What can still be judged of a policy whose parts are wrong by themselves.

A wrong part was told already; it is dropped, or replaced by a harmless stand-in where one is required, so that one run of the
reader finds everything. Checks that ask whether something is absent are then left out (``Dropped.whole``).
"""

from collections.abc import Iterator

from proxy.policy.document import Path, Plain

_TOP: dict[str, Plain] = {"version": 1, "listen": {"address": "0.0.0.0:0"}}

Tree = dict[str, Plain]


class Dropped:
    """The places that were wrong by themselves."""

    def __init__(self) -> None:
        self.paths: set[Path] = set()

    def top_whole(self) -> bool:
        """Whether nothing was wrong above the routes."""
        return all(path[:1] == ("routes",) for path in self.paths)

    def route_whole(self, index: int) -> bool:
        """Whether nothing was wrong above the routes, nor in this one."""
        return self.top_whole() and not any(path[:2] in {("routes", index), ("routes",)} for path in self.paths)


def without(tree: Tree, dropped: Dropped) -> Tree:
    """The tree with its wrong parts dropped or replaced."""
    rest = dict(tree)
    for path in dropped.paths:
        top = path[0] if path else ""
        if isinstance(top, str) and top != "routes":
            rest.pop(top, None)
    for key, value in _TOP.items():
        rest.setdefault(key, value)
    routes = rest.get("routes")
    kept = [_route(route, index, dropped) for index, route in enumerate(routes)] if isinstance(routes, tuple) else []
    rest["routes"] = tuple(kept) or (_route(None, 0, dropped),)
    return rest


def _route(route: Plain, index: int, dropped: Dropped) -> Tree:
    rest = dict(route) if isinstance(route, dict) else {}
    rules = rest.get("rules")
    kept = dict(rules) if isinstance(rules, dict) else {}
    for path in dropped.paths:
        if path[:2] == ("routes", index) and len(path) > 2:
            if path[2] == "rules" and len(path) > 3:
                kept.pop(str(path[3]), None)
            else:
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
