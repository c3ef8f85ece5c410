"""YAML text as a tree in which every value knows its file, line and column.

Rule decided here: a scenario is YAML 1.2 without anchors, tags or repeated keys; numbers stay the text that
was written, so that an amount never passes through a float. ``class`` and ``source`` speak of the values
beside and below them in the same file, and are stamped on those values here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from models.errors import InputError, Problem
from models.parameters import CLASSES, Place

FORMS = ("value", "at", "prior")
"""The keys that make a map a value in its long form."""

PRIOR_KEYS = ("from", "rationale")
"""Keys that stand beside a prior alone: from which day it holds, and why it is this distribution."""

_KINDS = {"int", "float", "bool", "null", "timestamp"}


@dataclass(slots=True)
class Scalar:
    """One value as written.

    Parameters
    ----------
    text
        The text between the quotes, if there are any.
    kind
        ``str``, ``int``, ``float``, ``bool``, ``null`` or ``timestamp``, as YAML 1.2 reads it.
    place
        Where it stands.
    base
        Directory that a relative path in this value starts from.
    evidence, source
        Class and source that hold for it.
    """

    text: str
    kind: str
    place: Place
    base: Path
    evidence: str = "illustrative"
    source: str = ""


class Map(dict[str, Any]):
    """A YAML map with its own place and those of its keys.

    `told_nothing` is set on a map that held a class or source and no value: a mistake that merging skips.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place
        self.key_places: dict[str, Place] = {}
        self.told_nothing = False

    def put(self, key: str, value: Node, place: Place) -> None:
        """Set `key` and remember where it was written."""
        self[key] = value
        self.key_places[key] = place


class Sequence(list[Any]):
    """A YAML list with its place."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place


Node: TypeAlias = Scalar | Map | Sequence


@dataclass(slots=True)
class Reader:
    """Turns the nodes of one file into a tree and collects what is wrong with them.

    Parameters
    ----------
    file
        Name that errors show.
    base
        Directory that relative paths start from.
    problems, sources
        Filled while reading: mistakes, and every ``source:`` with its path and place.
    fixed_place
        Whether there are no lines to show, as for ``--set``.
    """

    file: str
    base: Path
    problems: list[Problem] = field(default_factory=list)
    sources: list[tuple[str, str, Place]] = field(default_factory=list)
    fixed_place: bool = False

    def place(self, mark: Any) -> Place:
        """Return the place of a ruamel mark."""
        return Place(self.file) if self.fixed_place else Place(self.file, mark.line + 1, mark.column + 1)

    def node(self, raw: Any, path: str) -> Node:
        """Convert one composed node and everything below it."""
        place = self.place(raw.start_mark)
        tag = str(raw.tag).rpartition(":")[2]
        if raw.anchor is not None:
            self.problem(
                place, path, f"anchor '&{raw.anchor}' is not read; write the value out or use extends"
            )
        if not str(raw.tag).startswith("tag:yaml.org,2002:") or tag not in (_KINDS | {"str", "map", "seq"}):
            self.problem(
                place, path, f"tag '{raw.tag}' is not read; a scenario holds plain values and runs no code"
            )
        if isinstance(raw.value, str):
            return Scalar(raw.value, tag if tag in _KINDS else "str", place, self.base)
        return self._map(raw, place, path) if tag == "map" else self._sequence(raw, place, path)

    def problem(self, place: Place, path: str, message: str) -> None:
        """Note one mistake."""
        self.problems.append(Problem(message, path, str(place)))

    def _map(self, raw: Any, place: Place, path: str) -> Map:
        result = Map(place)
        for key_node, value_node in raw.value:
            at = self.place(key_node.start_mark)
            key = key_node.value
            if not isinstance(key, str):
                self.problem(at, path, "a key must be a plain word or a date")
                continue
            below = f"{path}.{key}" if path else key
            if key in result:
                first = result.key_places[key].line
                self.problem(at, below, f"is given twice; the first one is on line {first}")
            elif value_node.anchor is not None and _is_alias(value_node, key_node):
                self.problem(at, below, "alias is not read; write the value out or use extends")
            else:
                result.put(key, self.node(value_node, below), at)
        return result

    def _sequence(self, raw: Any, place: Place, path: str) -> Sequence:
        result = Sequence(place)
        result.extend(self.node(item, f"{path}.{index}") for index, item in enumerate(raw.value))
        return result


def _is_alias(value: Any, key: Any) -> bool:
    """Whether the value stands before its key: the composer hands back the anchored node for an alias."""
    return bool(value.start_mark.index < key.start_mark.index)


def parse(text: str, reader: Reader) -> Map:
    """Read the text of one scenario file.

    Parameters
    ----------
    text
        YAML 1.2.
    reader
        Names the file and collects its mistakes.

    Returns
    -------
    Map
        The tree, with class and source stamped on every value.

    Raises
    ------
    InputError
        If the text is not YAML or not a map; other mistakes are left in `reader`.
    """
    raw = _compose(text, reader)
    if str(raw.tag) != "tag:yaml.org,2002:map":
        where = f"{reader.file}:{raw.start_mark.line + 1}:{raw.start_mark.column + 1}"
        raise InputError([Problem("a scenario is a map of sections such as 'token:'", "", where)])
    root = reader.node(raw, "")
    assert isinstance(root, Map)
    _stamp(root, "illustrative", "", "", reader)
    return root


def parse_value(text: str, reader: Reader) -> Node:
    """Read the value of one ``--set path=value`` by the rules of the file itself.

    Raises
    ------
    InputError
        If the text is not YAML.
    """
    node = reader.node(_compose(text if text.strip() else "''", reader), "")
    _stamp(node, "illustrative", "", "", reader)
    return node


MAX_DEPTH = 60
"""Levels of nesting that are refused before parsing."""


def _is_too_deep(text: str) -> bool:
    """Whether brackets nest, or lines are indented, deeper than any scenario; the parser would recurse that far."""
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", text):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            return True
    return any(len(line) - len(line.lstrip(" ")) > MAX_DEPTH * 2 for line in text.splitlines())


def _compose(text: str, reader: Reader) -> Any:
    from ruamel.yaml.error import YAMLError

    if _is_too_deep(text):
        raise InputError([Problem("is nested too deeply to be a scenario", "", reader.file)])
    try:
        raw = _composed(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = str(reader.place(mark)) if mark is not None else reader.file
        said = getattr(error, "problem", None) or str(error).splitlines()[0]
        if "'\\t'" in said:
            said += "; indent with spaces, not with tabs"
        raise InputError([Problem(f"is not YAML: {said}", "", where)]) from None
    if raw is None:
        raise InputError([Problem("is empty", "", reader.file)])
    return raw


@lru_cache(maxsize=32)
def _composed(text: str) -> Any:
    """Return ruamel's nodes of a text; they are only read, so a parent is scanned once for all children."""
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).compose(text)


def _stamp(node: Node, evidence: str, source: str, path: str, reader: Reader) -> None:
    if isinstance(node, Scalar):
        node.evidence, node.source = evidence, source
    elif isinstance(node, Sequence):
        for index, item in enumerate(node):
            _stamp(item, evidence, source, f"{path}.{index}", reader)
    elif path not in ("proposal", "sources"):
        told = {key: node.pop(key) for key in ("class", "source") if key in node}
        evidence = _told_class(told.get("class"), evidence, path, reader)
        source = _told_source(told.get("source"), source, path, reader)
        if told and not node and path:
            node.told_nothing = True
            reader.problem(
                node.place, path, "a class or source alone changes nothing; write the value beside it"
            )
        for key, value in node.items():
            _stamp(value, evidence, source, f"{path}.{key}" if path else key, reader)


def _told_class(node: Node | None, inherited: str, path: str, reader: Reader) -> str:
    if node is None:
        return inherited
    if isinstance(node, Scalar) and node.text in CLASSES:
        return node.text
    text = f"'{node.text}'" if isinstance(node, Scalar) else "a map or list"
    here = f"{path}.class" if path else "class"
    reader.problem(
        node.place, here, f"{text} is not a class of evidence; expected one of {', '.join(CLASSES)}"
    )
    return inherited


def _told_source(node: Node | None, inherited: str, path: str, reader: Reader) -> str:
    if node is None:
        return inherited
    here = f"{path}.source" if path else "source"
    if isinstance(node, Scalar):
        reader.sources.append((node.text, here, node.place))
        return node.text
    reader.problem(node.place, here, "expected a key of 'sources' or a text")
    return inherited
