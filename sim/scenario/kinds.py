"""Kinds of values: which unit a value must carry, and which exact number it becomes.

Rule decided here: each field of a scenario has one kind with a closed list of units. Amounts are integers of the
ledger's unit, shares are exact rationals, USD and counts are floats or integers; a value without its unit is refused
except where the kind is a plain number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Protocol

from models.units import (
    INT64_MAX,
    Duration,
    format_amount,
    parse_amount,
    parse_duration,
    parse_quantity,
)
from sim.scenario.tree import Map, Node, Scalar

Number = int | float | Fraction


@dataclass(frozen=True, slots=True)
class Token:
    """What the amounts of a scenario are counted in.

    Parameters
    ----------
    symbol
        The token's symbol; votes are counted in ``G`` + symbol.
    decimals
        Ledger decimals: 9 makes the unit a gwei.
    """

    symbol: str = "OPEN"
    decimals: int = 9


class Kind(Protocol):
    """How one sort of value is read, written and described.

    Attributes
    ----------
    expects
        The units in words, for error messages.
    uncertain
        Whether a prior may stand for the value.
    parts
        Keys of a value that is a map of its own, or ().
    """

    expects: str
    uncertain: bool
    parts: tuple[str, ...]

    def read(self, node: Node, unit: str, token: Token) -> tuple[Any, str]:
        """Return value and unit of `node`; `unit` comes from a ``unit:`` beside it, or is "".

        Raises
        ------
        ValueError
            If the text is not of this kind.
        """
        ...

    def write(self, value: Any, unit: str, token: Token) -> Any:
        """Return the value as plain data that `read` reads back to the same value."""
        ...

    def scale(self, number: str, unit: str, token: Token) -> float:
        """Return a number of a prior or a range, given in `unit`, on the scale of the value."""
        ...

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the value itself."""
        ...


def text_of(node: Node, expects: str) -> str:
    """Return the text of a scalar.

    Raises
    ------
    ValueError
        If the node is a map, a list or null.
    """
    if not isinstance(node, Scalar):
        raise ValueError(f"is a {'map' if isinstance(node, Map) else 'list'}; expected {expects}")
    if node.kind == "null" or not node.text:
        raise ValueError(f"is empty; expected {expects}")
    return node.text


def plain(number: Decimal | Fraction) -> str:
    """Write a number without exponent, with an exact fraction only where no decimal is exact."""
    exact = Fraction(number)
    rest = exact.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest != 1:
        return f"{exact.numerator}/{exact.denominator}"
    value = Decimal(exact.numerator) / Decimal(exact.denominator)
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass(frozen=True, slots=True)
class Amount:
    """Tokens, as an int of the ledger's unit; `prefix` is ``G`` for votes.

    Parameters
    ----------
    prefix
        Put before the token's symbol.
    suffix
        Put after it, such as ``/gas``.
    """

    prefix: str = ""
    suffix: str = ""
    expects: str = "an amount with the token's symbol, such as 10_000 OPEN"
    uncertain: bool = True
    parts: tuple[str, ...] = ()

    def _unit(self, token: Token) -> str:
        return f"{self.prefix}{token.symbol}{self.suffix}"

    def read(self, node: Node, unit: str, token: Token) -> tuple[int, str]:
        """Parse ``450_000_000 OPEN`` exactly; negative amounts and such beyond int64 are refused."""
        symbol = self._unit(token)
        text = text_of(node, f"an amount such as 10_000 {symbol}")
        value = parse_amount(f"{text} {unit}".strip(), symbol, token.decimals)
        if value < 0:
            raise ValueError(f"'{text}' is negative; an amount is 0 or more")
        if value > INT64_MAX:
            raise ValueError(f"'{text}' is more than an int64 holds at {token.decimals} ledger decimals")
        return value, symbol

    def write(self, value: int, unit: str, token: Token) -> str:
        """Write the amount exactly, without grouping."""
        return format_amount(value, self._unit(token), token.decimals).replace(",", "")

    def scale(self, number: str, unit: str, token: Token) -> float:
        """Return ledger units."""
        return float(Fraction(parse_quantity(number).number) * 10**token.decimals)

    def schema(self) -> dict[str, Any]:
        """Text with a symbol."""
        return {"type": "string", "description": self.expects}


@dataclass(frozen=True, slots=True)
class Units:
    """A number with one of a closed list of units.

    Parameters
    ----------
    units
        Text of each unit and the factor from it to the value.
    result
        ``fraction``, ``float`` or ``int``.
    low, high
        Least and greatest value allowed, on the value's scale.
    """

    units: Mapping[str, Fraction]
    result: str = "float"
    low: Fraction | None = None
    high: Fraction | None = None
    uncertain: bool = True
    parts: tuple[str, ...] = ()

    @property
    def expects(self) -> str:
        """The units in words."""
        named = [unit for unit in self.units if unit]
        return f"a number with unit {' or '.join(named)}" if named else "a number without a unit"

    def read(self, node: Node, unit: str, token: Token) -> tuple[Number, str]:
        """Parse the number exactly, check unit and bounds, and convert it."""
        text = text_of(node, self.expects)
        quantity = parse_quantity(f"{text} {unit}".strip() if unit else text)
        if quantity.unit not in self.units:
            given = f"has unit '{quantity.unit}'" if quantity.unit else "has no unit"
            raise ValueError(f"'{text}' {given}; expected {self.expects}")
        exact = Fraction(quantity.number) * self.units[quantity.unit]
        self._check(exact, text, quantity.unit)
        return self._convert(exact, text), quantity.unit

    def _check(self, exact: Fraction, text: str, unit: str) -> None:
        factor = self.units[unit]
        low = None if self.low is None else plain(self.low / factor)
        high = None if self.high is None else plain(self.high / factor)
        if self.low is not None and exact < self.low:
            word = "is negative" if exact < 0 == self.low else f"is under {low} {unit}".rstrip()
            raise ValueError(f"'{text}' {word}; allowed {_span(low, high, unit)}")
        if self.high is not None and exact > self.high:
            raise ValueError(
                f"'{text}' is over {high} {unit}".rstrip() + f"; allowed {_span(low, high, unit)}"
            )

    def _convert(self, exact: Fraction, text: str) -> Number:
        if self.result == "fraction":
            return exact
        if self.result == "float":
            return float(exact)
        if exact.denominator != 1:
            raise ValueError(f"'{text}' is not a whole number")
        return int(exact)

    def write(self, value: Number, unit: str, token: Token) -> Any:
        """Write the number in its unit; a plain number stays a number."""
        if unit:
            exact = Fraction(repr(value)) if isinstance(value, float) else Fraction(value)
            return f"{plain(exact / self.units[unit])} {unit}"
        if isinstance(value, Fraction):
            return plain(value)
        return value

    def scale(self, number: str, unit: str, token: Token) -> float:
        """Return the number times its unit's factor."""
        return float(Fraction(parse_quantity(number).number) * self.units[unit])

    def schema(self) -> dict[str, Any]:
        """Text with a unit, or a number where the unit may be left out."""
        kinds = ["number", "string"] if "" in self.units else ["string"]
        return {"type": kinds[0] if len(kinds) == 1 else kinds, "description": self.expects}


def _span(low: str | None, high: str | None, unit: str) -> str:
    if high is None:
        return f"{low} {unit} or more".replace("  ", " ")
    return f"{low or 'less'} to {high} {unit}".rstrip()


@dataclass(frozen=True, slots=True)
class Time:
    """A duration; `calendar` says whether months are allowed."""

    calendar: bool = False
    expects: str = "a duration such as 7 d"
    uncertain: bool = False
    parts: tuple[str, ...] = ()

    def read(self, node: Node, unit: str, token: Token) -> tuple[Duration, str]:
        """Parse ``7 d`` or ``12 months``."""
        text = text_of(node, self.expects)
        value = parse_duration(f"{text} {unit}".strip())
        if value.months and not self.calendar:
            raise ValueError(f"'{text}' counts calendar months; expected s, h, d or weeks")
        return value, "months" if value.months else "d"

    def write(self, value: Duration, unit: str, token: Token) -> str:
        """Write months, whole days or seconds."""
        return str(value)

    def scale(self, number: str, unit: str, token: Token) -> float:
        """Return seconds or months, by the value's unit."""
        return float(parse_quantity(number).number) * (1 if unit == "months" else 86_400)

    def schema(self) -> dict[str, Any]:
        """Text with a unit of time."""
        return {"type": "string", "description": self.expects}


@dataclass(frozen=True, slots=True)
class Split:
    """Exact weights of the net fee.

    Parameters
    ----------
    model, stakers, contributors
        Whole weights; a party's part is its weight over their sum.
    """

    model: int
    stakers: int
    contributors: int

    @property
    def total(self) -> int:
        """Sum of the weights."""
        return self.model + self.stakers + self.contributors


_SPLIT_LIMIT = 10**6


@dataclass(frozen=True, slots=True)
class Weights:
    """The fee split as a map of whole weights."""

    expects: str = "{model: 2, stakers: 2, contributors: 5}"
    uncertain: bool = False
    parts: tuple[str, ...] = ("model", "stakers", "contributors")

    def read(self, node: Node, unit: str, token: Token) -> tuple[Split, str]:
        """Read three whole weights of which at least one is positive."""
        if not isinstance(node, Map):
            raise ValueError(f"is not a map of weights; expected {self.expects}")
        missing = [name for name in self.parts if name not in node]
        if missing:
            raise ValueError(f"has no weight for {' and '.join(missing)}; expected {self.expects}")
        weights = [_weight(name, node[name]) for name in self.parts]
        if not any(weights):
            raise ValueError("has only weights of 0; at least one must be positive")
        return Split(*weights), ""

    def write(self, value: Split, unit: str, token: Token) -> dict[str, int]:
        """Write the three weights."""
        return {"model": value.model, "stakers": value.stakers, "contributors": value.contributors}

    def scale(self, number: str, unit: str, token: Token) -> float:
        """Refuse: weights have neither prior nor range."""
        raise ValueError("a split has no range")

    def schema(self) -> dict[str, Any]:
        """A map of three integers."""
        weight = {"type": "integer", "minimum": 0, "maximum": _SPLIT_LIMIT}
        names = dict.fromkeys(self.parts, weight)
        return {"type": "object", "properties": names, "additionalProperties": False}


def _weight(name: str, node: Node) -> int:
    text = text_of(node, "a whole weight")
    if not text.replace("_", "").isdigit() or int(text) > _SPLIT_LIMIT:
        raise ValueError(f"{name} '{text}' is not a whole weight from 0 to {_SPLIT_LIMIT}")
    return int(text)


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    expects: str = "true or false"
    uncertain: bool = False
    parts: tuple[str, ...] = ()

    def read(self, node: Node, unit: str, token: Token) -> tuple[bool, str]:
        """Accept YAML's true and false alone."""
        text = text_of(node, self.expects)
        if not isinstance(node, Scalar) or node.kind != "bool":
            raise ValueError(f"'{text}' is neither true nor false")
        return text.lower() == "true", ""

    def write(self, value: bool, unit: str, token: Token) -> bool:
        """Return the value."""
        return value

    def scale(self, number: str, unit: str, token: Token) -> float:
        """Refuse: a switch has no range."""
        raise ValueError("a switch has no range")

    def schema(self) -> dict[str, Any]:
        """A boolean."""
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Either:
    """A share or a flat amount, told apart by the unit: the platform's part of a fee."""

    share: Units
    amount: Amount
    expects: str = "a share such as 10 % or a flat amount such as 0.001 OPEN"
    uncertain: bool = False
    parts: tuple[str, ...] = ()

    def _kind(self, unit: str, token: Token) -> Units | Amount:
        return self.share if unit in self.share.units else self.amount

    def read(self, node: Node, unit: str, token: Token) -> tuple[Number, str]:
        """Read by the unit: Fraction for a share, int for a flat amount."""
        text = text_of(node, self.expects)
        given = unit or parse_quantity(text).unit
        if given not in self.share.units and given != token.symbol:
            word = f"has unit '{given}'" if given else "has no unit"
            raise ValueError(f"'{text}' {word}; expected % or {token.symbol}")
        return self._kind(given, token).read(node, unit, token)

    def write(self, value: Any, unit: str, token: Token) -> Any:
        """Write by the value's own unit."""
        return self._kind(unit, token).write(value, unit, token)

    def scale(self, number: str, unit: str, token: Token) -> float:
        """Scale by the value's own unit."""
        return self._kind(unit, token).scale(number, unit, token)

    def schema(self) -> dict[str, Any]:
        """Text with a unit."""
        return {"type": "string", "description": self.expects}


def is_finite(value: Any) -> bool:
    """Whether a value is a number that is neither infinite nor nan, or no number at all."""
    return not isinstance(value, float) or math.isfinite(value)
