"""Kinds of values: which unit a value must carry, and which exact number it becomes.

Rule decided here: each field of a scenario has one kind with a closed list of units. Amounts are integers
of the ledger's unit, shares are exact rationals, USD and counts are floats or integers; a value without its
unit is refused except where the kind is a plain number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any, Protocol

from models.units import (
    INT64_MAX,
    SECONDS_PER_DAY,
    Duration,
    format_amount,
    parse_amount,
    parse_duration,
    parse_quantity,
)
from sim.scenario.tree import Map, Node, Scalar

MAX_MONTHS = 1200
"""Longest duration, in months; beyond it dates end."""

MAX_SECONDS = 36_525 * SECONDS_PER_DAY
"""Longest duration, in seconds."""

FIRST_DAY, LAST_DAY = date(1990, 1, 1), date(2200, 12, 31)
"""Days that a scenario may speak of."""

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

    def limits(self, unit: str) -> tuple[float, float]:
        """Return the least and greatest value that the field allows in `unit`, on the scale of a prior."""
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


def read_day(text: str) -> date:
    """Return the date that `text` says.

    Raises
    ------
    ValueError
        If it is not YYYY-MM-DD or lies outside `FIRST_DAY` to `LAST_DAY`.
    """
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"'{text}' is not a date; expected YYYY-MM-DD") from None
    if not FIRST_DAY <= day <= LAST_DAY:
        raise ValueError(f"{day} is out of bounds; allowed {FIRST_DAY} to {LAST_DAY}")
    return day


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


def largest_decimals(tokens: Fraction) -> int:
    """Return the most ledger decimals at which `tokens` whole tokens fit an int64.

    Examples
    --------
    >>> largest_decimals(Fraction(10**10))
    8
    """
    decimals = 18
    while decimals > 0 and tokens * 10**decimals > INT64_MAX:
        decimals -= 1
    return decimals


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

    def unit(self, token: Token) -> str:
        """Return the unit's text for this token."""
        return f"{self.prefix}{token.symbol}{self.suffix}"

    def read(self, node: Node, unit: str, token: Token) -> tuple[int, str]:
        """Parse ``450_000_000 OPEN`` exactly; negative amounts and such beyond int64 are refused."""
        symbol = self.unit(token)
        text = text_of(node, f"an amount such as 10_000 {symbol}")
        value = parse_amount(f"{text} {unit}".strip(), symbol, token.decimals)
        if value < 0:
            raise ValueError(f"'{text}' is negative; an amount is 0 or more")
        if value > INT64_MAX:
            fits = largest_decimals(Fraction(value, 10**token.decimals))
            raise ValueError(
                f"'{text}' does not fit an int64 at {token.decimals} ledger decimals; "
                f"the most that fit are token.ledger_decimals: {fits}"
            )
        return value, symbol

    def write(self, value: int, unit: str, token: Token) -> str:
        """Write the amount exactly, without grouping."""
        return format_amount(value, self.unit(token), token.decimals).replace(",", "")

    def limits(self, unit: str) -> tuple[float, float]:
        """Return 0 and what an int64 holds."""
        return 0.0, float(INT64_MAX)

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
            word = "is negative" if self.low == 0 else f"is under {low} {unit}".rstrip()
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

    def limits(self, unit: str) -> tuple[float, float]:
        """Return the bounds of the kind, infinite where there are none."""
        low = -math.inf if self.low is None else float(self.low)
        return low, math.inf if self.high is None else float(self.high)

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
    """A duration; `calendar` says whether months are allowed, of which none is uncertain."""

    calendar: bool = False
    parts: tuple[str, ...] = ()

    @property
    def expects(self) -> str:
        """A duration in words."""
        return "a duration such as 7 d or 12 months" if self.calendar else "a duration such as 7 d"

    @property
    def uncertain(self) -> bool:
        """Whether a prior may stand for the value."""
        return not self.calendar

    def read(self, node: Node, unit: str, token: Token) -> tuple[Duration, str]:
        """Parse ``7 d`` or ``12 months``."""
        text = text_of(node, self.expects)
        value = parse_duration(f"{text} {unit}".strip())
        if value.months and not self.calendar:
            raise ValueError(f"'{text}' counts calendar months; expected s, h, d or weeks")
        if value.months > MAX_MONTHS or value.seconds > MAX_SECONDS:
            raise ValueError(f"'{text}' is longer than a century; allowed 0 to {MAX_MONTHS} months")
        return value, "months" if value.months else "d"

    def write(self, value: Duration, unit: str, token: Token) -> str:
        """Write months, whole days or seconds."""
        return str(value)

    def limits(self, unit: str) -> tuple[float, float]:
        """Return 0 and a century, in days."""
        return 0.0, MAX_SECONDS / SECONDS_PER_DAY

    def schema(self) -> dict[str, Any]:
        """Text with a unit of time."""
        return {"type": "string", "description": self.expects}
