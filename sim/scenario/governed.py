"""The parameters that a vote may change, and the integers that stand for them.

Rule decided here: a governed value is a few int64 columns of shape (runs,) in the simulation and the same
integers in calldata: shares in basis points, USD in micro-USD, tokens in ledger units, durations in
seconds. A value that these cannot hold exactly is refused. What is not listed here no vote can change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from models.units import Duration
from sim.scenario.composites import Split

_DAY = 86_400
_YEAR = 365 * _DAY
_MAX_AMOUNT = 10**18
_MAX_USD = 10**12


@dataclass(frozen=True, slots=True)
class Governed:
    """One governed parameter.

    Parameters
    ----------
    path
        Dotted path in the scenario.
    columns
        Names of its int64 columns.
    unit
        What one step of a column is.
    minimum, maximum
        Least and greatest integer of any column.
    encoder, decoder
        From the value to exact rationals, one per column, and from integers back.
    """

    path: str
    columns: tuple[str, ...]
    unit: str
    minimum: int
    maximum: int
    encoder: Callable[[Any], tuple[Fraction, ...]]
    decoder: Callable[[tuple[int, ...]], Any]

    def encode(self, value: Any) -> tuple[int, ...]:
        """Return the integers of `value`, one per column.

        Raises
        ------
        ValueError
            If a part of the value is smaller than one step, or is out of bounds.
        """
        exact = self.encoder(value)
        for number in exact:
            if number.denominator != 1:
                raise ValueError(
                    f"{float(number):.12g} is not a whole number of {self.unit}, which is what a vote can set"
                )
            if not self.minimum <= number <= self.maximum:
                raise ValueError(
                    f"{number} {self.unit} is out of bounds; allowed {self.minimum} to {self.maximum}"
                )
        return tuple(int(number) for number in exact)

    def decode(self, numbers: tuple[int, ...]) -> Any:
        """Return the value that the integers stand for."""
        return self.decoder(numbers)


def _exact(value: float | int | Fraction) -> Fraction:
    return Fraction(repr(value)) if isinstance(value, float) else Fraction(value)


def _share(path: str, maximum: int = 10_000) -> Governed:
    return Governed(
        path, (path,), "basis points", 0, maximum,
        lambda value: (Fraction(value) * 10_000,), lambda numbers: Fraction(numbers[0], 10_000),
    )  # fmt: skip


def _rate(path: str) -> Governed:
    """Return a rate: a float is USD and becomes micro-USD; an int is ledger units."""
    return Governed(
        path, (path,), "micro-USD (or ledger units) per 1M tokens", 0, _MAX_USD,
        lambda value: (Fraction(value) if isinstance(value, int) else _exact(value) * 10**6,),
        lambda numbers: numbers[0] / 10**6,
    )  # fmt: skip


def _usd(path: str) -> Governed:
    return Governed(
        path, (path,), "micro-USD", 0, _MAX_USD,
        lambda value: (_exact(value) * 10**6,), lambda numbers: numbers[0] / 10**6,
    )  # fmt: skip


def _amount(path: str) -> Governed:
    return Governed(
        path, (path,), "ledger units", 0, _MAX_AMOUNT,
        lambda value: (Fraction(value),), lambda numbers: numbers[0],
    )  # fmt: skip


def _seconds(path: str, minimum: int, maximum: int) -> Governed:
    return Governed(
        path, (path,), "seconds", minimum, maximum,
        lambda value: (Fraction(value.seconds),), lambda numbers: Duration(seconds=numbers[0]),
    )  # fmt: skip


def _encode_platform(value: Fraction | int) -> tuple[Fraction, Fraction]:
    if isinstance(value, int):
        return Fraction(0), Fraction(value)
    return value * 10_000, Fraction(0)


def _decode_platform(numbers: tuple[int, ...]) -> Fraction | int:
    return numbers[1] if numbers[1] else Fraction(numbers[0], 10_000)


_PLATFORM = Governed(
    "fees.platform", ("fees.platform", "fees.platform_flat"), "basis points and ledger units", 0, _MAX_AMOUNT,
    _encode_platform, _decode_platform,
)  # fmt: skip

_SPLIT = Governed(
    "fees.split", ("fees.split.model", "fees.split.stakers", "fees.split.contributors"), "weights", 0, 10**6,
    lambda value: (Fraction(value.model), Fraction(value.stakers), Fraction(value.contributors)),
    lambda numbers: Split(*numbers),
)  # fmt: skip

_TIMES_GAS = Governed(
    "attribution.min_claim.times_gas", ("attribution.min_claim.times_gas",), "thousandths", 0, 10**9,
    lambda value: (_exact(value) * 1000,), lambda numbers: numbers[0] / 1000,
)  # fmt: skip

_ALL = (
    _rate("fees.input"),
    _rate("fees.output"),
    _share("fees.access.paid_models"),
    _usd("fees.access.price"),
    _PLATFORM,
    _SPLIT,
    _share("fees.burn"),
    _rate("operator_pay.rate"),
    *(_amount(f"emission.monthly.{name}") for name in ("contributors", "builders", "stakers", "operators")),
    _share("attribution.slash.duplicate"),
    _TIMES_GAS,
    _seconds("staking.locks.flexible", 0, 4 * _YEAR),
    _seconds("staking.locks.long", 0, 4 * _YEAR),
    _amount("governance.threshold"),
    _seconds("governance.delay", 0, _YEAR),
    _seconds("governance.period", 3600, _YEAR),
    _share("governance.quorum"),
    _seconds("governance.timelock", 0, _YEAR),
    _amount("grants.monthly"),
    _share("grants.public_goods"),
)

GOVERNED: dict[str, Governed] = {entry.path: entry for entry in _ALL}
"""Every parameter that a vote may change, by its path."""
