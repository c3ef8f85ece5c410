"""Dated parameters: which value holds on which day, and how far it can be trusted.

Rule decided here: a value dated d holds from d until the next date; before the first date the parameter is off
(`None`). Every parameter carries unit, class and source, because each number that users see says what it rests on.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Generic, TypeVar

from models.priors import Prior

T = TypeVar("T")

CLASSES = ("measured", "documented", "estimated", "illustrative")
"""Classes of evidence, strongest first."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value was written: file, line and column (1-based), or nowhere for a default."""

    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """Return ``file:line:column``."""
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Parameter(Generic[T]):
    """A protocol constant or an assumption.

    Parameters
    ----------
    values
        Pairs (first day, value) in order of date; the first date may be `date.min` for "always".
    unit
        The unit's text as written, such as ``USD/1M tokens``.
    evidence
        One of `CLASSES`.
    source
        Key of the scenario's ``sources`` or free text.
    range
        Least and greatest value allowed, in the value's own type, or None.
    prior
        Distribution from which runs draw the value, or None where it is certain.
    place
        Where it was written.
    """

    values: tuple[tuple[date, T], ...]
    unit: str = ""
    evidence: str = "illustrative"
    source: str = ""
    range: tuple[T, T] | None = None
    prior: Prior | None = None
    place: Place = field(default=Place())

    @classmethod
    def constant(cls, value: T, **fields: Any) -> Parameter[T]:
        """Return a parameter that always has `value`."""
        return cls(values=((date.min, value),), **fields)

    @property
    def value(self) -> T:
        """The value of a parameter that is not dated; the last one of a dated parameter."""
        return self.values[-1][1]

    @property
    def is_dated(self) -> bool:
        """Whether the value depends on the day."""
        return len(self.values) > 1 or self.values[0][0] != date.min

    def on(self, day: date) -> T | None:
        """Return the value that holds on `day`, or None before the first date."""
        index = bisect_right([first for first, _ in self.values], day)
        return self.values[index - 1][1] if index else None

    def changed(self, day: date, value: T) -> Parameter[T]:
        """Return this parameter with `value` from `day` on; later dated values are dropped."""
        kept = tuple(pair for pair in self.values if pair[0] < day)
        return replace(self, values=(*kept, (day, value)))
