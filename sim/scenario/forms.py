"""The four forms of a value, read into one `Parameter`.

Rule decided here: a value may stand bare or as ``{value, range, unit}``, ``{at: {date: value}}`` or
``{prior: {...}, from, rationale}``. Dates rise and a range is in the value's own unit. Every mistake is reported with
its own place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from models.parameters import Parameter, Place
from sim.scenario.kinds import Kind, Token, read_day
from sim.scenario.tree import FORMS, PRIOR_KEYS, Map, Node, Scalar, Sequence
from sim.scenario.words import did_you_mean


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake below a field: what, where (None: at the path), and the keys below the field's path."""

    message: str
    place: Place | None = None
    below: str = ""


class MistakesError(Exception):
    """All mistakes of one leaf."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__("; ".join(mistake.message for mistake in mistakes))
        self.mistakes = mistakes


_LONG = {*FORMS, *PRIOR_KEYS, "range", "unit"}


@dataclass(frozen=True, slots=True)
class Long:
    """The long form of one value while it is being read."""

    kind: Kind
    token: Token
    extras: tuple[str, ...]
    mistakes: list[Mistake]

    def parameter(self, node: Node) -> Parameter[Any]:
        """Read any of the four forms.

        Raises
        ------
        MistakesError
            With everything that is wrong with the value.
        """
        result = self._by_form(node)
        if self.mistakes or result is None:
            raise MistakesError(self.mistakes)
        return result

    def _by_form(self, node: Node) -> Parameter[Any] | None:
        if not isinstance(node, Map) or not self._is_long(node):
            pair = self.value(node, "", "")
            return None if pair is None else Parameter.constant(pair[0], **told(node, pair[1], self.kind))
        self._unknown_keys(node)
        given = [form for form in FORMS if form in node]
        if len(given) != 1:
            said = " and ".join(given) if given else "none of them"
            self.mistake(f"has {said}; expected one of value, at or prior", node.place)
            return None
        unit = self._unit(node)
        if given == ["prior"]:
            from sim.scenario.priors import read_prior

            return read_prior(self, node, unit)
        for key in PRIOR_KEYS:
            if key in node:
                self.mistake("belongs to a prior; leave it out", node.key_places[key], key)
        form = {"value": self._value, "at": self._dated}[given[0]]
        result = form(node[given[0]], unit)
        return None if result is None else self._ranged(result, node)

    def _is_long(self, node: Map) -> bool:
        return not self.kind.parts or any(form in node for form in FORMS)

    def mistake(self, message: str, place: Place, below: str = "") -> None:
        """Note one mistake."""
        self.mistakes.append(Mistake(message, place, below))

    def value(self, node: Node, unit: str, below: str) -> tuple[Any, str] | None:
        """Read one value by its kind; note what is wrong."""
        try:
            if isinstance(node, Map) and self.kind.parts:
                self._unknown_parts(node)
            return self.kind.read(node, unit, self.token)
        except (ValueError, OverflowError) as error:
            self.mistake(str(error), node.place, below)
            return None

    def _unknown_parts(self, node: Map) -> None:
        for key in node:
            if key not in self.kind.parts:
                hint = did_you_mean(key, self.kind.parts)
                self.mistake(f"unknown key{hint}", node.key_places[key], key)

    def _unknown_keys(self, node: Map) -> None:
        allowed = (*sorted(_LONG), *self.extras)
        for key in node:
            if key not in allowed:
                self.mistake(f"unknown key{did_you_mean(key, allowed)}", node.key_places[key], key)

    def _unit(self, node: Map) -> str:
        unit = node.get("unit")
        if unit is None:
            return ""
        if not isinstance(unit, Scalar):
            self.mistake("a unit is a text", unit.place, "unit")
            return ""
        return unit.text

    def _value(self, node: Node, unit: str) -> Parameter[Any] | None:
        pair = self.value(node, unit, "")
        return None if pair is None else Parameter.constant(pair[0], **told(node, pair[1], self.kind))

    def _dated(self, node: Node, unit: str) -> Parameter[Any] | None:
        if not isinstance(node, Map) or not node:
            self.mistake("expected {date: value, ...}", node.place, "at")
            return None
        read = []
        previous = date.min
        for key, item in node.items():
            day = self._date(key, node, previous)
            pair = self.value(item, unit, f"at.{key}")
            if day is not None and pair is not None:
                read.append((day, *pair))
            previous = day or previous
        if len(read) < len(node):
            return None
        first = next(iter(node.values()))
        values = tuple((day, value) for day, value, _ in sorted(read, key=lambda triple: triple[0]))
        fields = told(first, read[0][2], self.kind)
        return Parameter(values=values, **{**fields, "place": node.key_places[next(iter(node))]})

    def _date(self, key: str, node: Map, previous: date) -> date | None:
        place = node.key_places[key]
        try:
            day = read_day(key)
        except ValueError as error:
            self.mistake(str(error), place, f"at.{key}")
            return None
        if day <= previous and place.file == _previous_file(node, key):
            self.mistake(f"{day} comes after {previous}; dates must rise", place, f"at.{key}")
        return day

    def _ranged(self, parameter: Parameter[Any], node: Map) -> Parameter[Any] | None:
        given = node.get("range")
        if given is None:
            return parameter
        bounds = self.bounds(given, parameter.unit)
        if bounds is None:
            return None
        for _, value in parameter.values:
            self.inside(value, bounds, parameter.unit, parameter.place)
        return replace(parameter, range=bounds)

    def inside(self, value: Any, bounds: tuple[Any, Any], unit: str, place: Place) -> None:
        """Note a value that is outside its range."""
        low, high = bounds
        if not low <= value <= high:
            shown, least, most = (self.kind.write(number, unit, self.token) for number in (value, low, high))
            self.mistake(f"{shown} is outside its range {least} to {most}", place)

    def bounds(self, node: Node, unit: str) -> tuple[Any, Any] | None:
        """Read a range in the value's unit; note what is wrong."""
        if not isinstance(node, Sequence) or len(node) != 2:
            self.mistake("expected [least, greatest] in the value's unit", node.place, "range")
            return None
        low, high = (self._bound(item, unit) for item in node)
        if low is None or high is None:
            return None
        if low > high:
            self.mistake("range must rise: least value first", node.place, "range")
            return None
        return low, high

    def _bound(self, item: Node, unit: str) -> Any:
        bare = isinstance(item, Scalar) and item.kind in ("int", "float")
        pair = self.value(item, unit if bare else "", "range")
        return None if pair is None else pair[0]


def _previous_file(node: Map, key: str) -> str:
    """File of the date before `key`; dates from two files of a chain may stand in any order."""
    keys = list(node)
    index = keys.index(key)
    return node.key_places[keys[index - 1]].file if index else ""


def told(node: Node, unit: str, kind: Kind) -> dict[str, Any]:
    """Return unit, class, source and place of a value as fields of a `Parameter`."""
    first: Node = node
    if isinstance(node, Map) and node:
        first = next(iter(node.values()))
    if isinstance(first, Scalar):
        return {"unit": unit, "evidence": first.evidence, "source": first.source, "place": node.place}
    return {"unit": unit, "place": node.place}
