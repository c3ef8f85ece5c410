"""The field types of the scenario models, one name per kind and unit.

Rule decided here: which units each sort of field accepts. A quantity is a `Parameter`; counts of agents,
names, switches and lists of choices are plain values.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict
from pydantic_core import core_schema

from models.parameters import Parameter
from models.units import Duration, parse_duration
from sim.scenario.composites import Either, Split, Weights
from sim.scenario.forms import Long, Mistake, MistakesError
from sim.scenario.kinds import Amount, Time, Units, read_day, text_of
from sim.scenario.leaves import Context, Leaf, Plain, leaf_schema
from sim.scenario.tree import Map, Scalar
from sim.scenario.tree import Sequence as ListNode
from sim.scenario.words import did_you_mean


class Section(BaseModel):
    """A part of a scenario: frozen, and without keys that nobody knows."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
        protected_namespaces=(),
    )


_ZERO = Fraction(0)
_ONE = Fraction(1)
_PERCENT = {"%": Fraction(1, 100), "bps": Fraction(1, 10_000)}


def _units(*names: str, low: Fraction | None = _ZERO, result: str = "float") -> Units:
    return Units(dict.fromkeys(names, _ONE), result, low)


SHARE = Units(_PERCENT, "fraction", _ZERO, _ONE)
_USD_RATE = _units("USD/1M tokens")
_AMOUNT_RATE = Amount(suffix="/1M tokens")

AmountP = Annotated[Parameter[int], Leaf(Amount())]
MaybeAmount = Annotated[Parameter[int] | None, Leaf(Amount())]
VotesP = Annotated[Parameter[int], Leaf(Amount("G"))]
ShareP = Annotated[Parameter[Fraction], Leaf(SHARE)]
MarginP = Annotated[Parameter[Fraction], Leaf(Units(_PERCENT, "fraction"))]
NoiseP = Annotated[Parameter[Fraction], Leaf(Units(_PERCENT, "fraction", _ZERO))]
MonthlyShareP = Annotated[
    Parameter[Fraction], Leaf(Units(_PERCENT | {"%/month": Fraction(1, 100)}, "fraction", _ZERO, _ONE))
]
FactorP = Annotated[Parameter[float], Leaf(_units("", low=_ONE))]
YearlyRateP = Annotated[Parameter[Fraction], Leaf(Units({"%/year": Fraction(1, 100)}, "fraction", _ZERO))]
DurationP = Annotated[Parameter[Duration], Leaf(Time())]
MonthsP = Annotated[Parameter[Duration], Leaf(Time(calendar=True))]
MaybeMonths = Annotated[Parameter[Duration] | None, Leaf(Time(calendar=True))]
SecondsP = Annotated[Parameter[float], Leaf(Units({"s": _ONE, "ms": Fraction(1, 1000)}, "float", _ZERO))]
UsdP = Annotated[Parameter[float], Leaf(_units("USD"))]
UsdMonthP = Annotated[Parameter[float], Leaf(_units("USD/month"))]
UsdFlowP = Annotated[Parameter[float], Leaf(_units("USD/month", low=None))]
UsdHourP = Annotated[Parameter[float], Leaf(_units("USD/hour"))]
UsdRateP = Annotated[Parameter[float], Leaf(_USD_RATE)]
RateP = Annotated[
    Parameter[float | int],
    Leaf(Either(_USD_RATE, _AMOUNT_RATE, "a rate such as 0.10 USD/1M tokens")),
]
PlatformP = Annotated[
    Parameter[Fraction | int],
    Leaf(Either(SHARE, Amount(), "a share such as 10 % or a flat amount such as 0.001 OPEN")),
]
SplitP = Annotated[Parameter[Split], Leaf(Weights())]
UsersP = Annotated[Parameter[int], Leaf(_units("users", result="int"))]
PerDayP = Annotated[Parameter[float], Leaf(_units("/day"))]
PerUserDayP = Annotated[Parameter[int], Leaf(_units("/user-day", result="int"))]
RequestsP = Annotated[Parameter[float], Leaf(Units({"/user-day": _ONE}, "float", Fraction(1, 10**6)))]
GasP = Annotated[Parameter[int], Leaf(_units("gas", result="int"))]
GasPriceP = Annotated[Parameter[Fraction], Leaf(_units("gwei/gas", result="fraction"))]
NumberP = Annotated[Parameter[float], Leaf(_units("", low=None))]
PositiveP = Annotated[Parameter[float], Leaf(_units(""))]
CountP = Annotated[Parameter[int], Leaf(_units("", result="int"))]


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if re.fullmatch(r"-?[0-9][0-9_]*", text) is None:
            raise ValueError(f"'{text}' is not a whole number; allowed {low} to {high}")
        value = int(text.replace("_", ""))
        if not low <= value <= high:
            raise ValueError(f"{value} is out of bounds; allowed {low} to {high}")
        return value

    return read


def whole(low: int, high: int) -> Plain:
    """Return the annotation of a whole number from `low` to `high`."""
    schema = {"type": "integer", "minimum": low, "maximum": high}
    return Plain(_whole(low, high), schema, "a whole number")


def _chosen(options: Sequence[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in options:
            raise ValueError(f"'{text}' is unknown{did_you_mean(text, options)}")
        return text

    return read


def choice(*options: str) -> Plain:
    """Return the annotation of one of `options`."""
    return Plain(_chosen(options), {"enum": list(options)}, f"one of {', '.join(options)}")


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"'{text}' is neither true nor false")
    return text == "true"


def _within(low: float, high: float) -> Callable[[str], float]:
    allowed = f"{low:g} to {high:g}" if math.isfinite(high) else f"a finite number, {low:g} or more"
    allowed = allowed if math.isfinite(low) else "any finite number"

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"'{text}' is not a number; allowed {allowed}") from None
        if not (low <= value <= high and math.isfinite(value)):
            raise ValueError(f"{text} is out of bounds; allowed {allowed}")
        return value

    return read


_NUMBER = {"type": "number"}

Text = Annotated[str, Plain(str, {"type": "string"}, "a text")]
Flag = Annotated[bool, Plain(_flag, {"type": "boolean"}, "true or false")]
DateValue = Annotated[date, Plain(read_day, {"type": "string"}, "a date")]
MaybeDate = Annotated[date | None, Plain(read_day, {"type": "string"}, "a date")]
Agents = Annotated[int, whole(1, 2**24 - 1)]
UnitInterval = Annotated[
    float, Plain(_within(0, 1), _NUMBER | {"minimum": 0, "maximum": 1}, "a number from 0 to 1")
]
NotNegative = Annotated[float, Plain(_within(0, math.inf), _NUMBER | {"minimum": 0}, "a number, 0 or more")]
AnyNumber = Annotated[float, Plain(_within(-math.inf, math.inf), _NUMBER, "a number")]
PlainDuration = Annotated[Duration, Plain(parse_duration, {"type": "string"}, "a duration such as 90 d")]


class ListOf:
    """Annotation of a list of plain values, read into a tuple without repetitions.

    Parameters
    ----------
    item
        How one item is read.
    """

    def __init__(self, item: Plain) -> None:
        self.item = item

    def read(self, node: Any, context: Context) -> tuple[Any, ...]:
        """Read every item; report each wrong one."""
        if not isinstance(node, ListNode):
            raise MistakesError([Mistake(f"expected a list of {self.item.expects}", node.place)])
        items: list[Any] = []
        mistakes = []
        for index, child in enumerate(node):
            try:
                value = self.item.read(child, context)
            except ValueError as error:
                mistakes.append(Mistake(str(error), child.place, str(index)))
                continue
            if value in items:
                mistakes.append(Mistake(f"'{value}' is named twice", child.place, str(index)))
            items.append(value)
        if mistakes:
            raise MistakesError(mistakes)
        return tuple(items)

    def write(self, value: tuple[Any, ...], context: Context) -> list[Any]:
        """Return a list of plain data."""
        return [self.item.write(item, context) for item in value]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        """Validate by `read`, serialise by `write`."""
        return leaf_schema(self.read, self.write)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        """Describe a list of the items."""
        return {"type": "array", "items": self.item.json, "uniqueItems": True}


Texts = Annotated[tuple[str, ...], ListOf(Plain(str, {"type": "string"}, "names"))]
Durations = Annotated[tuple[Duration, ...], ListOf(Plain(parse_duration, {"type": "string"}, "durations"))]
Percentiles = Annotated[tuple[int, ...], ListOf(whole(0, 100))]


class FilePath:
    """Annotation of a file that must exist, relative to the file that names it."""

    def read(self, node: Any, context: Context) -> Path:
        """Return the resolved path of an existing file."""
        text = text_of(node, "the path of a file")
        assert isinstance(node, Scalar)
        path = (node.base / text).resolve()
        if not path.is_file():
            raise ValueError(f"no file '{text}'; paths start from the directory of the file that names them")
        return path

    def write(self, value: Path, context: Context) -> str:
        """Return the path, or the digest of the content where the place must not matter."""
        import hashlib
        import os

        if context.digest:
            return f"sha256:{hashlib.sha256(value.read_bytes()).hexdigest()}"
        if context.relative_to is None:
            return value.as_posix()
        return Path(os.path.relpath(value, context.relative_to)).as_posix()

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        """Validate by `read`, serialise by `write`."""
        return leaf_schema(self.read, self.write)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        """Describe the text."""
        return {"type": "string", "description": "a path relative to this file"}


FileValue = Annotated[Path, FilePath()]
MaybeFile = Annotated[Path | None, FilePath()]


@dataclass(frozen=True, slots=True)
class Quorum(Parameter[Fraction]):
    """The quorum: a share, and what it is a share of.

    Parameters
    ----------
    of
        ``gopen_supply``: wrapped tokens at the snapshot.
    counts
        Which votes count towards it.
    """

    of: str = "gopen_supply"
    counts: tuple[str, ...] = ("for", "abstain")


class QuorumLeaf(Leaf):
    """Annotation of the quorum with its two extra keys."""

    extras = ("of", "counts")

    def read(self, node: Any, context: Context) -> Quorum:
        """Read the share by the common rules and the extra keys beside it."""
        mistakes: list[Mistake] = []
        told: dict[str, Any] = {}
        if isinstance(node, Map):
            for key, reader in (("of", _QUORUM_OF), ("counts", _QUORUM_COUNTS)):
                if key in node:
                    told[key] = _collected(reader, node[key], context, mistakes, key)
        reading = Long(self.kind, context.token, self.extras, mistakes)
        base = reading.parameter(node)
        return Quorum(
            base.values, base.unit, base.evidence, base.source, base.range, base.prior, base.place, **told
        )

    def schema(self) -> dict[str, Any]:
        """Return the schema of a share with the two keys of a quorum."""
        return {**super().schema(), "description": "the quorum, such as {value: 5 %, counts: [for, abstain]}"}

    def write(self, parameter: Parameter[Any], context: Context) -> dict[str, Any]:
        """Return the long form with the extra keys."""
        assert isinstance(parameter, Quorum)
        return {**super().write(parameter, context), "of": parameter.of, "counts": list(parameter.counts)}


_QUORUM_OF = choice("gopen_supply")
_QUORUM_COUNTS = ListOf(choice("for", "against", "abstain"))


def _collected(reader: Plain | ListOf, node: Any, context: Context, mistakes: list[Mistake], key: str) -> Any:
    try:
        return reader.read(node, context)
    except MistakesError as error:
        mistakes.extend(Mistake(m.message, m.place, f"{key}.{m.below}") for m in error.mistakes)
    except ValueError as error:
        mistakes.append(Mistake(str(error), node.place, key))
    return None


QuorumP = Annotated[Quorum, QuorumLeaf(SHARE)]
