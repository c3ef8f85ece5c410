"""Units: which text means which exact number.

Rule decided here: a quantity carries its unit in the text (``450_000_000 OPEN``, ``48 months``, ``6 %``), is
parsed through `decimal.Decimal` or `fractions.Fraction`, and a value that the unit cannot hold exactly is
refused. Money is an integer count of the ledger's smallest unit: gwei of OPEN, 10^-9 OPEN.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import NewType

Gwei = NewType("Gwei", int)
Wei = NewType("Wei", int)
Bps = NewType("Bps", int)
Seconds = NewType("Seconds", int)
Day = NewType("Day", int)
MicroUsd = NewType("MicroUsd", int)

GWEI_PER_OPEN = 10**9
WEI_PER_GWEI = 10**9
WEI_PER_OPEN = 10**18
MICRO_USD_PER_USD = 10**6
INT64_MAX = 2**63 - 1
SECONDS_PER_DAY = 86_400

MAX_DIGITS = 60
"""Digits before or after the point beyond which a number is a mistake and exact arithmetic would not end."""

_NUMBER = r"[+-]?(?:\d[\d_,]*)(?:\.\d[\d_]*)?(?:[eE][+-]?\d+)?"
_QUANTITY = re.compile(rf"^\s*(?P<number>{_NUMBER})\s*(?P<unit>.*?)\s*$")

_DURATION_UNITS = {
    "s": "second", "second": "second", "seconds": "second",
    "h": "hour", "hour": "hour", "hours": "hour",
    "d": "day", "day": "day", "days": "day",
    "week": "week", "weeks": "week",
    "month": "month", "months": "month",
    "year": "year", "years": "year",
}  # fmt: skip
_SECONDS = {"second": 1, "hour": 3600, "day": SECONDS_PER_DAY, "week": 7 * SECONDS_PER_DAY}


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number as written, with the text of its unit ("" for none)."""

    number: Decimal
    unit: str


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A length of time that keeps calendar months apart from seconds.

    Parameters
    ----------
    months
        Calendar months (a year is 12).
    seconds
        Exact seconds beside them.
    """

    months: int = 0
    seconds: int = 0

    @property
    def days(self) -> int:
        """Whole days; a duration in months or with a part of a day has none.

        Raises
        ------
        ValueError
            If the duration is not a whole number of days.
        """
        if self.months or self.seconds % SECONDS_PER_DAY:
            raise ValueError(f"{self} is not a whole number of days")
        return self.seconds // SECONDS_PER_DAY

    @property
    def ceil_days(self) -> int:
        """Days rounded up, for a duration without months."""
        if self.months:
            raise ValueError(f"{self} counts calendar months, not days")
        return -(-self.seconds // SECONDS_PER_DAY)

    def __str__(self) -> str:
        """Return the duration as a person would write it."""
        parts = []
        if self.months:
            parts.append(f"{self.months} months")
        if self.seconds % SECONDS_PER_DAY:
            parts.append(f"{self.seconds} s")
        elif self.seconds or not self.months:
            parts.append(f"{self.seconds // SECONDS_PER_DAY} d")
        return " ".join(parts)


def parse_quantity(text: str | int | float | Decimal) -> Quantity:
    """Split a text such as ``0.10 USD/1M tokens`` into number and unit.

    Parameters
    ----------
    text
        The quantity; underscores and commas may group digits.

    Returns
    -------
    Quantity
        The exact number and the unit's text.

    Raises
    ------
    ValueError
        If the text does not begin with a number.

    Examples
    --------
    >>> parse_quantity("450_000_000 OPEN")
    Quantity(number=Decimal('450000000'), unit='OPEN')
    """
    if isinstance(text, bool):
        raise ValueError(f"{text} is not a quantity")
    match = _QUANTITY.match(repr(text) if isinstance(text, float) else str(text))
    if match is None:
        raise ValueError(f"'{text}' is not a number with a unit")
    try:
        number = Decimal(match["number"].replace("_", "").replace(",", ""))
    except InvalidOperation as error:  # pragma: no cover - the pattern admits only what Decimal reads
        raise ValueError(f"'{text}' is not a number with a unit") from error
    if number and abs(number.adjusted()) > MAX_DIGITS:
        raise ValueError(f"'{text}' has more than {MAX_DIGITS} digits before or after the point")
    return Quantity(number, match["unit"])


def parse_amount(text: str, symbol: str = "OPEN", decimals: int = 9) -> int:
    """Parse an amount of a token into its ledger unit, exactly.

    Parameters
    ----------
    text
        Amount with its symbol, such as ``450_000_000 OPEN``.
    symbol
        The token's symbol.
    decimals
        Ledger decimals: 9 makes the unit a gwei.

    Returns
    -------
    int
        Amount in ledger units.

    Raises
    ------
    ValueError
        If the symbol is missing or another, or the amount has a part smaller than the unit.

    Examples
    --------
    >>> parse_amount("1.5 OPEN")
    1500000000
    """
    if not isinstance(text, str):
        raise ValueError(f"{text!r} has no unit; write '{text} {symbol}'")
    quantity = parse_quantity(text)
    if quantity.unit != symbol:
        given = f"unit '{quantity.unit}'" if quantity.unit else "no unit"
        raise ValueError(f"'{text}' has {given}; expected {symbol}")
    units = Fraction(quantity.number) * 10**decimals
    if units.denominator != 1:
        raise ValueError(f"'{text}' has a part smaller than 10^-{decimals} {symbol}")
    return int(units)


def parse_share(text: str | float) -> Fraction:
    """Parse a share such as ``6 %``, ``600 bps`` or a plain number between 0 and 1, exactly.

    Raises
    ------
    ValueError
        If the unit is neither ``%`` nor ``bps`` nor absent.
    """
    quantity = parse_quantity(text)
    scale = {"%": 100, "bps": 10_000, "": 1}.get(quantity.unit)
    if scale is None:
        raise ValueError(f"'{text}' has unit '{quantity.unit}'; expected % or bps")
    return Fraction(quantity.number) / scale


def parse_duration(text: str) -> Duration:
    """Parse a duration such as ``7 d``, ``12 months`` or ``30 s``.

    Raises
    ------
    ValueError
        If the unit is unknown, the number is negative, or it is not a whole count of seconds or months.
    """
    if not isinstance(text, str):
        raise ValueError(f"{text!r} has no unit; write '{text} d'")
    quantity = parse_quantity(text)
    unit = _DURATION_UNITS.get(quantity.unit)
    if unit is None:
        given = f"unit '{quantity.unit}'" if quantity.unit else "no unit"
        raise ValueError(f"'{text}' has {given}; expected s, h, d, weeks, months or years")
    if quantity.number < 0:
        raise ValueError(f"'{text}' is negative; a duration is 0 or more")
    if unit in ("month", "year"):
        months = quantity.number * (12 if unit == "year" else 1)
        if months != months.to_integral_value():
            raise ValueError(f"'{text}' is not a whole number of months")
        return Duration(months=int(months))
    seconds = quantity.number * _SECONDS[unit]
    if seconds != seconds.to_integral_value():
        raise ValueError(f"'{text}' is not a whole number of seconds")
    return Duration(seconds=int(seconds))


def format_amount(units: int, symbol: str = "OPEN", decimals: int = 9) -> str:
    """Write an amount of ledger units as people read it, exactly.

    Examples
    --------
    >>> format_amount(1_500_000_000)
    '1.5 OPEN'
    """
    whole, part = divmod(abs(units), 10**decimals)
    fraction = f".{part:0{decimals}d}".rstrip("0") if part else ""
    return f"{'-' if units < 0 else ''}{whole:,}{fraction} {symbol}"
