"""Running formula tests: call the formula and say every difference with its line.

Rule decided here: integers are compared exactly and an integer is never a float; a tolerance is relative to
the expected value, and absolute where that is 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum
from fractions import Fraction
from typing import Any

import numpy as np

from models.units import parse_amount
from sim.check.arguments import arguments_of
from sim.check.cases import Case

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a case.

    Parameters
    ----------
    case
        The case.
    problems
        One line ``file:line: what is different`` each; none where it passed.
    """

    case: Case
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing differs."""
        return not self.problems


def run_case(case: Case) -> Result:
    """Call the formula of a case and compare.

    Parameters
    ----------
    case
        A case from `collect`.

    Returns
    -------
    Result
        The differences found; an unexpected error of the formula is one of them.
    """
    try:
        actual = case.function(**arguments_of(case.function, case.inputs))
    except Exception as error:  # any error of a formula is a finding about it, not about the runner
        return Result(case, tuple(_raised(case, error)))
    if case.raises is not None:
        return Result(
            case, (f"{case.file}:{case.line}: expected an error with '{case.raises}', got {actual!r}",)
        )
    return Result(
        case, tuple(_said(case, path, text) for path, text in _differences(actual, case.expect, case, ()))
    )


def _raised(case: Case, error: Exception) -> Iterator[str]:
    shown = f"{type(error).__name__}: {error}"
    if case.raises is None:
        yield f"{case.file}:{case.line}: raised {shown}"
    elif case.raises not in str(error):
        yield f"{case.file}:{case.line}: raised {shown}; expected an error with '{case.raises}'"


def _said(case: Case, path: Path, text: str) -> str:
    """Return the message with the line of the innermost part of `expect` that has one."""
    line = next((case.lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in case.lines), case.line)
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    return f"{case.file}:{line}: {name or 'result'} {text}"


def _differences(actual: Any, expected: Any, case: Case, path: Path) -> Iterator[tuple[Path, str]]:
    """Yield (path, what is different) for everything expected."""
    actual = _plain(actual)
    if isinstance(expected, Mapping):
        for key, value in expected.items():
            found, part = _field(actual, key)
            if found:
                yield from _differences(part, value, case, (*path, key))
            else:
                yield (*path, key), f"is not a field of the result {actual!r}"
    elif isinstance(expected, list):
        yield from _list_differences(actual, expected, case, path)
    elif not _equal(actual, expected, case.tolerance):
        yield path, f"is {_shown(actual)}, expected {_shown(expected)}{_gap(actual, expected)}"


def _list_differences(actual: Any, expected: list[Any], case: Case, path: Path) -> Iterator[tuple[Path, str]]:
    if not isinstance(actual, Sequence) or isinstance(actual, str):
        yield path, f"is {_shown(actual)}, expected a list of {len(expected)}"
        return
    if len(actual) != len(expected):
        yield path, f"has {len(actual)} values, expected {len(expected)}"
        return
    for i, (part, value) in enumerate(zip(actual, expected, strict=True)):
        yield from _differences(part, value, case, (*path, i))


def _plain(value: Any) -> Any:
    """Return arrays as lists and numpy's scalars as Python's."""
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def _field(value: Any, name: str) -> tuple[bool, Any]:
    if isinstance(value, Mapping):
        return (True, value[name]) if name in value else (False, None)
    return hasattr(value, name), getattr(value, name, None)


def _equal(actual: Any, expected: Any, tolerance: float | None) -> bool:
    if isinstance(actual, Enum):
        return bool(expected in (actual.name, actual.value))
    if isinstance(expected, str):
        return _equal_text(actual, expected)
    if isinstance(actual, bool) or isinstance(expected, bool) or actual is None or expected is None:
        return actual is expected
    if not isinstance(actual, (int, float, Fraction)):
        return bool(actual == expected)
    if isinstance(actual, float) and math.isnan(actual):
        return isinstance(expected, float) and math.isnan(expected)
    if tolerance is not None:
        return math.isclose(actual, expected, rel_tol=tolerance, abs_tol=0 if expected else tolerance)
    return bool(actual == expected) and not (isinstance(expected, int) and isinstance(actual, float))


def _equal_text(actual: Any, expected: str) -> bool:
    """Compare a text with a date, a fraction, an amount or another text."""
    if isinstance(actual, date):
        return actual.isoformat() == expected
    try:
        if isinstance(actual, Fraction):
            return actual == Fraction(expected)
        if isinstance(actual, int) and not isinstance(actual, bool):
            return actual == parse_amount(expected)
    except ValueError:
        return False
    return str(actual) == expected


def _shown(value: Any) -> str:
    if isinstance(value, Enum):
        return value.name
    return repr(value) if isinstance(value, float) else str(value)


def _gap(actual: Any, expected: Any) -> str:
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in (actual, expected))
    if not numbers:
        return ""
    if isinstance(actual, float) and isinstance(expected, int) and actual == expected:
        return " (a float where an integer is expected)"
    gap = actual - expected
    return f" (difference {gap:+d})" if isinstance(gap, int) else f" (difference {gap:+.6g})"
