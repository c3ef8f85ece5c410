"""Leaves of the scenario models: from a node of the tree to a `Parameter` or a plain value.

Rule decided here: a value may stand bare or as ``{value, range, unit}``, ``{at: {date: value}}`` or ``{prior: {...}}``;
all four become one `Parameter` that carries unit, class, source, range and place. Every mistake inside a leaf is
reported with its own place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from pydantic_core import PydanticCustomError, core_schema

from models.parameters import Parameter, Place
from models.priors import KINDS, Prior
from sim.scenario.kinds import Kind, Token, text_of
from sim.scenario.tree import FORMS, Map, Node, Scalar, Sequence
from sim.scenario.words import did_you_mean


@dataclass(frozen=True, slots=True)
class Context:
    """What a leaf must know about the whole file.

    Parameters
    ----------
    token
        Symbol and ledger decimals.
    relative_to
        When writing: directory that paths are written relative to, or None for absolute paths.
    digest
        When writing: whether a file is named by the SHA-256 of its content instead of its path.
    """

    token: Token = Token()
    relative_to: Path | None = None
    digest: bool = False


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake inside a leaf: what, where, and the keys below the leaf's path."""

    message: str
    place: Place
    below: str = ""


class MistakesError(Exception):
    """All mistakes of one leaf."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__("; ".join(mistake.message for mistake in mistakes))
        self.mistakes = mistakes


def refuse(mistakes: list[Mistake]) -> PydanticCustomError:
    """Return the pydantic error that carries `mistakes` with their places."""
    return PydanticCustomError(
        "scenario", "{text}", {"text": mistakes[0].message, "mistakes": tuple(mistakes)}
    )


_LONG = {*FORMS, "range", "unit"}
_BOUNDED = ("uniform", "triangular")


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
            return None if pair is None else Parameter.constant(pair[0], **_told(node, pair[1], self.kind))
        self._unknown_keys(node)
        given = [form for form in FORMS if form in node]
        if len(given) != 1:
            said = " and ".join(given) if given else "none of them"
            self.mistake(f"has {said}; expected one of value, at or prior", node.place)
            return None
        unit = self._unit(node)
        form = {"value": self._value, "at": self._dated, "prior": self._prior}[given[0]]
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
        pair = self.value(node, unit, "value")
        return None if pair is None else Parameter.constant(pair[0], **_told(node, pair[1], self.kind))

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
        told = _told(first, read[0][2], self.kind)
        return Parameter(values=values, **{**told, "place": node.key_places[next(iter(node))]})

    def _date(self, key: str, node: Map, previous: date) -> date | None:
        place = node.key_places[key]
        try:
            day = date.fromisoformat(key)
        except ValueError:
            self.mistake(f"'{key}' is not a date; expected YYYY-MM-DD", place, f"at.{key}")
            return None
        if day <= previous and place.file == _previous_file(node, key):
            self.mistake(f"{day} comes after {previous}; dates must rise", place, f"at.{key}")
        return day

    def _prior(self, node: Node, unit: str) -> Parameter[Any] | None:
        if not self.kind.uncertain:
            self.mistake("takes no prior: this value must be certain", node.place, "prior")
            return None
        if not isinstance(node, Map) or len(node) != 1:
            self.mistake(f"expected one of {', '.join(KINDS)} with its numbers", node.place, "prior")
            return None
        name, numbers = next(iter(node.items()))
        if name not in KINDS:
            hint = did_you_mean(name, tuple(KINDS))
            self.mistake(f"prior '{name}' is unknown{hint}", node.key_places[name], "prior")
            return None
        if not isinstance(numbers, Sequence) or not all(isinstance(item, Scalar) for item in numbers):
            self.mistake(f"expected {KINDS[name]} numbers in a list", numbers.place, f"prior.{name}")
            return None
        return self._drawn(name, numbers, unit)

    def _drawn(self, name: str, numbers: Sequence, unit: str) -> Parameter[Any] | None:
        arguments = []
        central = None
        for index, item in enumerate(numbers):
            if name == "lognormal" and index == 1:
                arguments.append(float(item.text))
                continue
            pair = self.value(item, unit, f"prior.{name}.{index}")
            if pair is None:
                return None
            arguments.append(float(pair[0]))
            central = central or pair
        try:
            prior = Prior(name, tuple(arguments))
        except ValueError as error:
            self.mistake(str(error), numbers.place, f"prior.{name}")
            return None
        assert central is not None
        value = type(central[0])(prior.central)
        return Parameter.constant(value, prior=prior, **_told(numbers[0], central[1], self.kind))

    def _ranged(self, parameter: Parameter[Any], node: Map) -> Parameter[Any] | None:
        given = node.get("range")
        if given is None:
            return parameter
        bounds = self._bounds(given, parameter.unit)
        if bounds is None:
            return None
        low, high = bounds
        if low > high:
            self.mistake("range must rise: least value first", given.place, "range")
            return None
        values = [value for _, value in parameter.values] if parameter.prior is None else []
        if parameter.prior is not None and parameter.prior.kind in _BOUNDED:
            values = list(parameter.prior.arguments)
        for value in values:
            if not low <= value <= high:
                shown = self.kind.write(_like(value, parameter.value), parameter.unit, self.token)
                written = [self.kind.write(bound, parameter.unit, self.token) for bound in (low, high)]
                self.mistake(f"{shown} is outside its range {written[0]} to {written[1]}", parameter.place)
        return replace(parameter, range=(low, high))

    def _bounds(self, node: Node, unit: str) -> tuple[Any, Any] | None:
        if not isinstance(node, Sequence) or len(node) != 2:
            self.mistake("expected [least, greatest] in the value's unit", node.place, "range")
            return None
        bounds = [self._bound(item, unit) for item in node]
        return None if None in bounds else (bounds[0], bounds[1])

    def _bound(self, item: Node, unit: str) -> Any:
        bare = isinstance(item, Scalar) and item.kind in ("int", "float")
        pair = self.value(item, unit if bare else "", "range")
        return None if pair is None else pair[0]


def _like(value: Any, model: Any) -> Any:
    return type(model)(value)


def _previous_file(node: Map, key: str) -> str:
    """File of the date before `key`; dates from two files of a chain may stand in any order."""
    keys = list(node)
    index = keys.index(key)
    return node.key_places[keys[index - 1]].file if index else ""


def _told(node: Node, unit: str, kind: Kind) -> dict[str, Any]:
    first: Node = node
    if isinstance(node, Map) and node:
        first = next(iter(node.values()))
    if isinstance(first, Scalar):
        return {"unit": unit, "evidence": first.evidence, "source": first.source, "place": node.place}
    return {"unit": unit, "place": node.place}


class Leaf:
    """Annotation that reads a `Parameter` of one kind.

    Parameters
    ----------
    kind
        How a single value is read.
    """

    extras: tuple[str, ...] = ()

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def read(self, node: Any, context: Context) -> Any:
        """Return the parameter that `node` says.

        Raises
        ------
        MistakesError
            With everything that is wrong.
        """
        return Long(self.kind, context.token, self.extras, []).parameter(node)

    def write(self, parameter: Parameter[Any], context: Context) -> dict[str, Any]:
        """Return the long form of `parameter` as plain data."""
        write = self.kind.write
        unit, token = parameter.unit, context.token
        result: dict[str, Any] = {}
        if parameter.prior is not None:
            result["prior"] = self._written_prior(parameter, token)
        elif parameter.is_dated:
            result["at"] = {day.isoformat(): write(value, unit, token) for day, value in parameter.values}
        else:
            result["value"] = write(parameter.value, unit, token)
        if parameter.range is not None:
            result["range"] = [write(bound, unit, token) for bound in parameter.range]
        result["class"] = parameter.evidence
        if parameter.source:
            result["source"] = parameter.source
        return result

    def _written_prior(self, parameter: Parameter[Any], token: Token) -> dict[str, Any]:
        assert parameter.prior is not None
        name, numbers = parameter.prior.kind, list(parameter.prior.arguments)
        written: list[Any] = [
            self.kind.write(_like(number, parameter.value), parameter.unit, token) for number in numbers
        ]
        if name == "lognormal":
            written[1] = numbers[1]
        return {name: written}

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of all four forms."""
        value = self.kind.schema()
        number = {"type": ["number", "string"]}
        priors = {name: {"type": "array", "items": number} for name in KINDS}
        long: dict[str, Any] = {
            "value": value,
            "at": {"type": "object", "additionalProperties": value},
            "range": {"type": "array", "items": number, "minItems": 2, "maxItems": 2},
            "unit": {"type": "string"},
        }
        if self.kind.uncertain:
            long["prior"] = {"type": "object", "properties": priors, "additionalProperties": False}
        long |= EVIDENCE_SCHEMA | {name: {} for name in self.extras}
        form = {"type": "object", "properties": long, "additionalProperties": False}
        return {"anyOf": [value, form]}

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        """Validate by `read`, serialise by `write`."""
        return leaf_schema(self.read, self.write)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        """Describe all forms of the value."""
        return self.schema()


EVIDENCE_SCHEMA: dict[str, Any] = {
    "class": {"enum": ["measured", "documented", "estimated", "illustrative"]},
    "source": {"type": "string"},
}
"""JSON Schema of the keys that every section and every long form may carry."""


def leaf_schema(
    read: Callable[[Any, Context], Any], write: Callable[[Any, Context], Any]
) -> core_schema.CoreSchema:
    """Return the pydantic schema of a leaf that is read from a node and written as plain data.

    Parameters
    ----------
    read
        From node and context to the value; raises ValueError or `MistakesError`.
    write
        From value and context to plain data.
    """

    def validate(node: Any, info: core_schema.ValidationInfo) -> Any:
        try:
            return read(node, info.context or Context())
        except MistakesError as error:
            raise refuse(error.mistakes) from None
        except ValueError as error:
            raise refuse([Mistake(str(error), node.place)]) from None

    def serialise(value: Any, info: core_schema.SerializationInfo) -> Any:
        return None if value is None else write(value, info.context or Context())

    return core_schema.with_info_plain_validator_function(
        validate,
        serialization=core_schema.plain_serializer_function_ser_schema(serialise, info_arg=True),
    )


class Plain:
    """Annotation that reads a value without class or dates: names, counts, switches, lists of choices.

    Parameters
    ----------
    read
        From the text of the scalar to the value; raises ValueError.
    schema
        JSON Schema of the value.
    expects
        What is expected, for messages.
    """

    def __init__(self, read: Callable[[str], Any], schema: dict[str, Any], expects: str) -> None:
        self.read_text = read
        self.json = schema
        self.expects = expects

    def read(self, node: Any, context: Context) -> Any:
        """Return the value of a scalar node."""
        return self.read_text(text_of(node, self.expects))

    def write(self, value: Any, context: Context) -> Any:
        """Return the value as plain data."""
        return value if isinstance(value, str | int | float | bool) else str(value)

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        """Validate by `read`, serialise by `write`."""
        return leaf_schema(self.read, self.write)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        """Describe the value."""
        return self.json
