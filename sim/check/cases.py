"""Reading formula tests: which files, which cases, and on which line each expected value stands.

Rule decided here: a file `*.formula.yaml` is a list of ``{name, call, input, expect | raises, tolerance}`` or
``{call, csv, tolerance}``; `call` names a public function of `models`; an unknown key, an unknown input or a
missing one is a mistake of the file and not a failing case.
"""

from __future__ import annotations

import csv
import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

from models.errors import InputError, Problem

SUFFIX = ".formula.yaml"
KEYS = ("name", "call", "input", "expect", "raises", "tolerance")
TABLE_KEYS = ("name", "call", "csv", "tolerance")

Lines = dict[tuple[str | int, ...], int]
"""Line of each expected value by its path inside `expect`."""


@dataclass(frozen=True, slots=True)
class Case:
    """One formula test.

    Parameters
    ----------
    file, line
        Where it stands.
    name
        What it shows.
    function
        The formula.
    inputs
        Arguments as written.
    expect
        Expected result: a value, a list or fields of the result.
    lines
        Line of each expected value.
    raises
        Text that the error message must contain, or None where a result is expected.
    tolerance
        Relative tolerance, or None for exact equality.
    """

    file: Path
    line: int
    name: str
    function: Callable[..., Any]
    inputs: dict[str, Any]
    expect: Any = None
    lines: Lines = field(default_factory=dict)
    raises: str | None = None
    tolerance: float | None = None


def collect(paths: Iterable[Path]) -> list[Case]:
    """Read all formula tests of files and folders.

    Parameters
    ----------
    paths
        Files, or folders that are searched for `*.formula.yaml`.

    Returns
    -------
    list of Case
        Cases in order of file and line.

    Raises
    ------
    InputError
        With every mistake of every file, or where there is nothing to run.
    """
    problems: list[Problem] = []
    cases: list[Case] = []
    for path in paths:
        files = sorted(path.rglob(f"*{SUFFIX}")) if path.is_dir() else [path]
        if not files:
            problems.append(Problem(f"holds no file *{SUFFIX}", where=str(path)))
        for file in files:
            cases += _File(file, problems).cases()
    if problems:
        raise InputError(problems)
    return cases


def find_function(call: str) -> Callable[..., Any]:
    """Return the public function of `models` that `call` names.

    Raises
    ------
    ValueError
        If there is none.
    """
    words = call.split(".")
    if len(words) < 3 or words[0] != "models" or any(word.startswith("_") for word in words):
        raise ValueError(f"'{call}' is not a public function of models, such as models.fees.split")
    try:
        found: Any = import_module(".".join(words[:2]))
        for word in words[2:]:
            found = getattr(found, word)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"'{call}' does not exist") from error
    if not callable(found) or not str(getattr(found, "__module__", "")).startswith("models"):
        raise ValueError(f"'{call}' is not a function of models")
    return found  # type: ignore[no-any-return]


def plain(text: str, tag: str = "") -> Any:
    """Return the value that a scalar means: a number, a truth value, None or the text itself.

    Parameters
    ----------
    text
        The scalar as written.
    tag
        Its YAML tag's last word, or "" to guess, as in a CSV cell.
    """
    words: dict[str, Any] = {"true": True, "false": False, "null": None, "~": None, "": None}
    if tag == "str":
        return text
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text.replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:
            continue
    return text


@dataclass(slots=True)
class _File:
    """Reader of one file; mistakes go to `problems`."""

    path: Path
    problems: list[Problem]

    def cases(self) -> Iterator[Case]:
        """Yield the cases of the file."""
        try:
            root = YAML(typ="safe", pure=True).compose(self.path.read_text(encoding="utf-8"))
        except OSError as error:
            self.problems.append(Problem(f"cannot be read: {error.strerror}", where=str(self.path)))
            return
        except UnicodeDecodeError:
            self.problems.append(Problem("is not UTF-8 text", where=str(self.path)))
            return
        except MarkedYAMLError as error:
            self._yaml_mistake(error)
            return
        if root is None or not isinstance(root.value, list) or isinstance(root, MappingNode):
            self.problems.append(Problem("expected a list of cases", where=str(self.path)))
            return
        for node in root.value:
            yield from self._entry(node)

    def _yaml_mistake(self, error: MarkedYAMLError) -> None:
        mark = error.problem_mark
        where = f"{self.path}:{mark.line + 1}:{mark.column + 1}" if mark else str(self.path)
        self.problems.append(Problem(f"is not YAML: {error.problem or error.context}", where=where))

    def _mistake(self, node: Node, message: str, path: str = "") -> None:
        mark = node.start_mark
        self.problems.append(Problem(message, path, f"{self.path}:{mark.line + 1}:{mark.column + 1}"))

    def _entry(self, node: Node) -> Iterator[Case]:
        """Yield the case, or the cases of the CSV file, that one entry of the list says."""
        if not isinstance(node, MappingNode):
            self._mistake(node, f"expected a case with the keys {', '.join(KEYS)}")
            return
        found = len(self.problems)
        parts = {str(key.value): value for key, value in node.value}
        self._check_keys(node, TABLE_KEYS if "csv" in parts else KEYS)
        function = self._function(node, parts.get("call"))
        tolerance = self._tolerance(parts.get("tolerance"))
        if len(self.problems) > found or function is None:
            return
        if "csv" in parts:
            yield from self._rows(parts["csv"], function, tolerance)
            return
        case = self._case(node, parts, function, tolerance)
        if len(self.problems) == found:
            yield case

    def _case(
        self, node: Node, parts: dict[str, Node], function: Callable[..., Any], tolerance: float | None
    ) -> Case:
        lines: Lines = {}
        raw = parts.get("input")
        inputs = self._value(raw, {}, ()) if raw is not None else {}
        if not isinstance(inputs, dict):
            self._mistake(raw or node, "expected {name: value}", "input")
            inputs = {}
        self._check_inputs(raw or node, function, inputs)
        if ("expect" in parts) == ("raises" in parts):
            self._mistake(node, "expected one of expect or raises")
        name = parts.get("name")
        return Case(
            file=self.path,
            line=node.start_mark.line + 1,
            name=str(name.value) if name else function.__name__,
            function=function,
            inputs=inputs,
            expect=self._value(parts["expect"], lines, ()) if "expect" in parts else None,
            lines=lines,
            raises=str(parts["raises"].value) if "raises" in parts else None,
            tolerance=tolerance,
        )

    def _check_keys(self, node: MappingNode, allowed: tuple[str, ...]) -> None:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value not in allowed:
                self._mistake(key, f"unknown key; expected one of {', '.join(allowed)}", str(key.value))
            elif key.value in seen:
                self._mistake(key, "is given twice", str(key.value))
            seen.add(str(key.value))

    def _function(self, node: Node, call: Node | None) -> Callable[..., Any] | None:
        if call is None:
            self._mistake(node, "is missing", "call")
            return None
        try:
            return find_function(str(call.value))
        except ValueError as error:
            self._mistake(call, str(error), "call")
            return None

    def _tolerance(self, node: Node | None) -> float | None:
        if node is None:
            return None
        value = plain(str(node.value))
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1:
            return float(value)
        self._mistake(node, f"'{node.value}' is not a relative tolerance from 0 to 1", "tolerance")
        return None

    def _check_inputs(self, node: Node, function: Callable[..., Any], given: dict[str, Any]) -> None:
        for message in missing_or_unknown(function, given):
            self._mistake(node, message, "input")

    def _value(self, node: Node, lines: Lines, path: tuple[str | int, ...]) -> Any:
        """Return plain data and note the line of everything in it."""
        lines[path] = node.start_mark.line + 1
        if isinstance(node, ScalarNode):
            return plain(node.value, str(node.tag).rpartition(":")[2])
        if not isinstance(node, MappingNode):
            return [self._value(item, lines, (*path, i)) for i, item in enumerate(node.value)]
        names = [str(key.value) for key, _ in node.value]
        if len(set(names)) < len(names):
            self._mistake(node, "a key is given twice", ".".join(map(str, path)))
        return {
            name: self._value(v, lines, (*path, name)) for name, (_, v) in zip(names, node.value, strict=True)
        }

    def _rows(self, node: Node, function: Callable[..., Any], tolerance: float | None) -> Iterator[Case]:
        """Yield one case per row of a CSV file beside this one."""
        file = self.path.parent / str(node.value)
        try:
            with file.open(newline="", encoding="utf-8") as opened:
                rows = list(csv.DictReader(opened))
        except (OSError, UnicodeDecodeError):
            self._mistake(node, f"'{node.value}' cannot be read", "csv")
            return
        inputs = [c for c in (rows[0] if rows else {}) if c != "expect" and not str(c).startswith("expect.")]
        for message in missing_or_unknown(function, inputs):
            self._mistake(node, f"{node.value}: {message}", "csv")
        for line, row in enumerate(rows, start=2):
            if None in row or None in row.values():
                self.problems.append(
                    Problem("has another number of cells than the header", where=f"{file}:{line}")
                )
                continue
            given = {name: _cell(row[name]) for name in inputs}
            expect = {name[7:]: _cell(cell) for name, cell in row.items() if name.startswith("expect.")}
            whole = _cell(row["expect"]) if "expect" in row else expect
            yield Case(file, line, f"row {line}", function, given, whole, {(): line}, None, tolerance)


def missing_or_unknown(function: Callable[..., Any], given: Iterable[str]) -> Iterator[str]:
    """Yield what is wrong with the names of a function's arguments."""
    parameters = inspect.signature(function).parameters
    names = list(given)
    for name in names:
        if name not in parameters:
            yield f"unknown input '{name}'; expected one of {', '.join(parameters)}"
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in names:
            yield f"input '{name}' is missing"


def _cell(text: str) -> Any:
    """Return a cell's value; numbers with spaces between them are a list."""
    words = text.split()
    values = [plain(word) for word in words]
    if len(words) > 1 and all(isinstance(value, (int, float)) for value in values):
        return values
    return plain(text.strip())
