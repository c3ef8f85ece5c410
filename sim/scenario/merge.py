"""One tree out of a file, its parents and the overrides of a command line.

Rule decided here: ``extends`` names one parent; maps merge key by key, lists are replaced whole, ``null``
deletes. A value written over a value replaces its number, dates or prior as a whole and keeps its range.
``--set path=value`` follows the same rules with paths relative to the working directory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from models.errors import InputError, Problem
from models.parameters import Place
from sim.scenario.tree import FORMS, PRIOR_KEYS, Map, Node, Reader, Scalar, Sequence, parse, parse_value

_VALUE_KEYS = (*FORMS, *PRIOR_KEYS, "unit")


class Sources:
    """What was read for one scenario: files, mistakes, sources named.

    Attributes
    ----------
    files
        Every file read, child first.
    problems
        Mistakes of all of them.
    named
        Each ``source:`` with its path and place.
    overlays
        The tree of each file alone, child first.
    """

    def __init__(self) -> None:
        self.files: list[Path] = []
        self.problems: list[Problem] = []
        self.named: list[tuple[str, str, Place]] = []
        self.overlays: list[Map] = []

    def take(self, reader: Reader) -> None:
        """Add what `reader` found."""
        self.problems += reader.problems
        self.named += reader.sources


def read(path: Path, overrides: Iterable[str], sources: Sources) -> Map:
    """Read a scenario file with its parents and apply the overrides.

    Parameters
    ----------
    path
        The file.
    overrides
        Texts ``path=value``.
    sources
        Filled while reading.

    Returns
    -------
    Map
        The merged tree.

    Raises
    ------
    InputError
        If a file is missing or is not YAML, or `extends` runs in a circle.
    """
    root = _read_chain(path, sources, ())
    for text in overrides:
        try:
            _override(root, text, sources)
        except InputError as error:
            sources.problems += error.problems
    return root


def _read_chain(path: Path, sources: Sources, chain: tuple[Path, ...]) -> Map:
    reader = Reader(str(path), path.parent)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise InputError([Problem(f"cannot be read: {reason}", "", str(path))]) from None
    sources.files.append(path)
    tree = parse(text, reader)
    sources.take(reader)
    sources.overlays.append(_copy_shallow(tree))
    extends = tree.pop("extends", None)
    if extends is None:
        return merge(Map(tree.place), tree)
    parent = _parent(extends, path, (*chain, path))
    return merge(_read_chain(parent, sources, (*chain, path)), tree)


def _parent(extends: Node, path: Path, chain: tuple[Path, ...]) -> Path:
    if not isinstance(extends, Scalar) or extends.kind != "str":
        raise InputError([Problem("expected the path of one parent file", "extends", str(extends.place))])
    parent = Path(os.path.normpath(path.parent / extends.text))
    if not parent.is_file():
        raise InputError(
            [Problem(f"no file '{extends.text}' beside this one", "extends", str(extends.place))]
        )
    seen = [known.resolve() for known in chain]
    if parent.resolve() in seen:
        names = [known.name for known in chain[seen.index(parent.resolve()) :]]
        circle = " -> ".join([*names, parent.name])
        raise InputError([Problem(f"runs in a circle: {circle}", "extends", str(extends.place))])
    return parent


def _copy_shallow(tree: Map) -> Map:
    copy = Map(tree.place)
    for key, value in tree.items():
        copy.put(key, value, tree.key_places[key])
    return copy


def merge(base: Map, over: Map) -> Map:
    """Return `base` with `over` laid on it.

    Parameters
    ----------
    base
        The parent's map; not changed.
    over
        The child's map.

    Returns
    -------
    Map
        The merged map; places are those of the file that set each value.
    """
    result = _copy_shallow(base)
    result.place = over.place
    if any(key in over for key in FORMS):
        dated = "at" in over and "at" in base
        for key in _VALUE_KEYS:
            if key in result and not (dated and key == "at"):
                del result[key]
        if not any(key in base for key in FORMS):
            result.clear()
    elif any(key in base for key in FORMS) and _is_plain_value(over):
        result.clear()
    for key, value in over.items():
        if isinstance(value, Scalar) and value.kind == "null":
            result.pop(key, None)
            continue
        if isinstance(value, Map) and value.told_nothing:
            continue
        result.put(key, _laid_on(result.get(key), value), over.key_places[key])
    return result


def _is_plain_value(over: Map) -> bool:
    """Whether the map is a value of several parts, such as a fee split, not a change to a long form."""
    return bool(over) and not any(key in over for key in ("range", "of", "counts", "unit"))


def _laid_on(base: Node | None, over: Node) -> Node:
    if isinstance(over, Map):
        return merge(base if isinstance(base, Map) else Map(over.place), over)
    if isinstance(base, Map) and isinstance(over, Scalar) and any(key in base for key in FORMS):
        kept = _copy_shallow(base)
        for key in _VALUE_KEYS:
            kept.pop(key, None)
        kept.put("value", over, over.place)
        return kept
    return over


def _override(root: Map, text: str, sources: Sources) -> None:
    path, equals, value_text = text.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise InputError([Problem(f"'{text}' is not path=value", "", "--set")])
    reader = Reader("--set", Path.cwd(), fixed_place=True)
    value = parse_value(value_text.strip(), reader)
    sources.take(reader)
    place = Place("--set")
    target: Map | Sequence = root
    for key in keys[:-1]:
        target = _step(target, key, path, place)
    _assign(target, keys[-1], value, path, place)


def _step(target: Map | Sequence, key: str, path: str, place: Place) -> Map | Sequence:
    if isinstance(target, Sequence):
        below = target[_index(target, key, path)]
    else:
        below = target.get(key)
        if below is None:
            below = Map(place)
            target.put(key, below, place)
    if isinstance(below, Scalar):
        raise InputError([Problem(f"'{key}' is a value, not a section", path, "--set")])
    assert isinstance(below, Map | Sequence)
    return below


def _assign(target: Map | Sequence, key: str, value: Node, path: str, place: Place) -> None:
    if isinstance(target, Sequence):
        target[_index(target, key, path)] = value
    elif isinstance(value, Scalar) and value.kind == "null":
        target.pop(key, None)
    else:
        target.put(key, _laid_on(target.get(key), value), place)


def _index(target: Sequence, key: str, path: str) -> int:
    if not key.isdigit() or int(key) >= len(target):
        message = f"'{key}' is not a position of this list; expected 0 to {len(target) - 1}"
        raise InputError([Problem(message, path, "--set")])
    return int(key)
