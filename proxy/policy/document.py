"""YAML text to plain values, each with its place in the file. The only room that knows PyYAML.

A small, strict YAML: mappings, lists and scalars; no anchors, aliases, tags, merge keys or second documents; a key stands once.
Only ``true false null``, plain decimals and simple fractions are more than text: ``off``, ``12:30``, ``0644`` and dates stay what
was written. Lists become tuples. Nothing here raises: what is wrong is told as a ``Flaw``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import yaml

MAX_BYTES = 1024**2
MAX_DEPTH = 32
MAX_NODES = 100_000

Plain: TypeAlias = "dict[str, Plain] | tuple[Plain, ...] | str | int | float | None"
Path: TypeAlias = tuple[str | int, ...]
"""The way to a value from the top: keys, and positions in lists."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where it was built in: ten times faster, the same events
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_FRACTION = re.compile(r"-?(0|[1-9][0-9]{0,17})\.[0-9]{1,17}")
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}

_SENTENCES = {
    "mapping values are not allowed in this context": "a colon and a space where no key can stand; put the text in quotes",
    "mapping values are not allowed here": "a colon and a space where no key can stand; put the text in quotes",
    "could not find expected ':'": "a key without its colon",
    "did not find expected key": "does not fit the lines above: check the indentation and the quotes",
    "did not find expected '-' indicator": "does not fit the list above: check the indentation",
    "did not find expected ',' or ']'": "a list in [ ] without its comma or its end",
    "did not find expected ',' or '}'": "a mapping in { } without its comma or its end",
    "did not find expected node content": "a value is missing here",
    "found unexpected end of stream": "quotes that are never closed",
    "found character that cannot start any token": "a character that cannot begin a value; put the text in quotes",
    "block sequence entries are not allowed in this context": "a list cannot begin here; put it on lines of its own",
}


class Mark(NamedTuple):
    """A place in the file; both count from 1, 0 stands for the file as a whole."""

    line: int
    column: int


class Flaw(NamedTuple):
    """What is wrong with the text, where, and at which key."""

    mark: Mark
    path: Path
    message: str


@dataclass(frozen=True, slots=True)
class Document:
    """The values of one file. ``value`` is ``None`` when the text could not be read to its end."""

    value: Plain
    flaws: tuple[Flaw, ...]
    keys: Mapping[Path, Mark]
    values: Mapping[Path, Mark]


def parse(data: bytes) -> Document:
    """Read one YAML document from its bytes (UTF-8, at most 1 MiB, at most 32 levels deep)."""
    flaw = _unreadable(data)
    if flaw is not None:
        return Document(None, (flaw,), {}, {})
    text = data.decode("utf-8-sig")
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except _Stop as stop:
        return Document(None, (*builder.flaws, stop.flaw), {}, {})
    except yaml.MarkedYAMLError as error:
        return Document(None, (*builder.flaws, _syntax(error, text)), {}, {})
    except (yaml.YAMLError, ValueError, OverflowError):
        return Document(None, (*builder.flaws, Flaw(Mark(0, 0), (), "is not valid YAML")), {}, {})
    if builder.value is None and not builder.flaws:
        return Document(None, (Flaw(Mark(0, 0), (), "is empty"),), {}, {})
    return Document(builder.value, tuple(builder.flaws), builder.keys, builder.values)


def write(value: object) -> str:
    """Plain values as YAML that ``parse`` reads back as the same values."""
    return yaml.dump(value, Dumper=yaml.SafeDumper, sort_keys=False, allow_unicode=True, width=130, default_flow_style=False)


def _unreadable(data: bytes) -> Flaw | None:
    if len(data) > MAX_BYTES:
        return Flaw(Mark(0, 0), (), "is larger than 1 MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return Flaw(_mark_after(error.object[: error.start].decode()), (), "is not UTF-8 here")
    found = _UNPRINTABLE.search(text)
    if found is not None:
        return Flaw(_mark_after(text[: found.start()]), (), f"a control character (U+{ord(found[0]):04X}) cannot stand here")
    return None


def _mark_after(text: str) -> Mark:
    return Mark(text.count("\n") + 1, len(text) - text.rfind("\n"))


def _syntax(error: yaml.MarkedYAMLError, text: str) -> Flaw:
    mark = error.problem_mark
    where = Mark(mark.line + 1, mark.column + 1) if mark else Mark(0, 0)
    lines = text.split("\n")
    line = lines[where.line - 1] if 0 < where.line <= len(lines) else ""
    if re.match(r" *\t", line):
        return Flaw(Mark(where.line, line.index("\t") + 1), (), "a tab cannot indent; use spaces")
    problem = error.problem or "unknown problem"
    return Flaw(where, (), _SENTENCES.get(problem, f"is not valid YAML: {problem}"))


class _Stop(Exception):
    """Reading on makes no sense."""

    def __init__(self, flaw: Flaw) -> None:
        super().__init__()
        self.flaw = flaw


@dataclass(slots=True)
class _Level:
    """A mapping or list that is being read."""

    path: Path
    container: dict[str, Plain] | list[Plain]
    key: str | None = None
    repeated: bool = False
    first: dict[str, Mark] = field(default_factory=dict)


class _Builder:
    """Builds values from parser events on a stack of its own: hostile nesting costs nothing."""

    def __init__(self) -> None:
        self.value: Plain = None
        self.keys: dict[Path, Mark] = {}
        self.values: dict[Path, Mark] = {}
        self.flaws: list[Flaw] = []
        self._levels: list[_Level] = []
        self._nodes = 0
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        mark = Mark(event.start_mark.line + 1, event.start_mark.column + 1) if event.start_mark else Mark(0, 0)
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise _Stop(Flaw(mark, (), "a second document begins here; a policy is one document"))
        elif isinstance(event, yaml.NodeEvent):
            self._node(event, mark)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            level = self._levels.pop()
            self._place(level.container if isinstance(level.container, dict) else tuple(level.container))

    def _node(self, event: yaml.NodeEvent, mark: Mark) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _Stop(Flaw(mark, (), f"holds more than {MAX_NODES} values"))
        level = self._levels[-1] if self._levels else None
        if level is not None and isinstance(level.container, dict) and level.key is None:
            self._key(level, event, mark)
            return
        path = self._path()
        self.values.setdefault(path, mark)
        self._refuse_extras(event, mark, path)
        if isinstance(event, yaml.ScalarEvent):
            plain = event.implicit[0] and event.tag is None
            self._place(_resolve(event.value) if plain else event.value)
        elif isinstance(event, yaml.AliasEvent):
            self._place(None)
        elif len(self._levels) >= MAX_DEPTH:
            raise _Stop(Flaw(mark, path, f"is nested deeper than {MAX_DEPTH} levels"))
        else:
            self._levels.append(_Level(path, {} if isinstance(event, yaml.MappingStartEvent) else []))

    def _key(self, level: _Level, event: yaml.NodeEvent, mark: Mark) -> None:
        if not isinstance(event, yaml.ScalarEvent):
            raise _Stop(Flaw(mark, level.path, "a key must be plain text"))
        key = event.value
        path = (*level.path, key)
        self._refuse_extras(event, mark, path)
        if key == "<<" and event.implicit[0]:
            self.flaws.append(Flaw(mark, path, "merge keys (<<) are not read; write the values out"))
        level.key = key
        level.repeated = key in level.first
        if level.repeated:
            first = level.first[key]
            self.flaws.append(Flaw(mark, path, f"key {key!r} stands twice; first at {first.line}:{first.column}"))
        else:
            level.first[key] = self.keys[path] = mark

    def _refuse_extras(self, event: yaml.NodeEvent, mark: Mark, path: Path) -> None:
        if isinstance(event, yaml.AliasEvent):
            self.flaws.append(Flaw(mark, path, "aliases (*name) are not read; write the value out"))
        elif event.anchor is not None:
            self.flaws.append(Flaw(mark, path, "anchors (&name) are not read; write each value out"))
        if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag is not None:
            self.flaws.append(Flaw(mark, path, "tags (!name) are not read; put text in quotes"))

    def _path(self) -> Path:
        if not self._levels:
            return ()
        level = self._levels[-1]
        if isinstance(level.container, list):
            return (*level.path, len(level.container))
        return (*level.path, level.key or "")

    def _place(self, value: Plain) -> None:
        if not self._levels:
            self.value = value
            return
        level = self._levels[-1]
        if isinstance(level.container, list):
            level.container.append(value)
            return
        if level.key is not None and not level.repeated:
            level.container[level.key] = value
        level.key = None


def _resolve(text: str) -> str | int | float | bool | None:
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FRACTION.fullmatch(text) else text
