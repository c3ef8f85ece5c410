"""Kinds of values that have several parts or several units: the fee split, and amounts that may be shares.

Rule decided here: a split is three whole weights, never rounded percents; a value with two possible kinds
is told apart by its unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from models.units import parse_quantity
from sim.scenario.kinds import Amount, Number, Token, Units, text_of
from sim.scenario.tree import Map, Node


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

    def limits(self, unit: str) -> tuple[float, float]:
        """Refuse: weights have neither prior nor range."""
        raise ValueError("a split has no range")

    def schema(self) -> dict[str, Any]:
        """Return a map of three integers."""
        weight = {"type": "integer", "minimum": 0, "maximum": _SPLIT_LIMIT}
        names = {
            **dict.fromkeys(self.parts, weight),
            "class": {"type": "string"},
            "source": {"type": "string"},
        }
        return {"type": "object", "properties": names, "additionalProperties": False}


def _weight(name: str, node: Node) -> int:
    text = text_of(node, "a whole weight")
    if not text.replace("_", "").isdigit() or int(text) > _SPLIT_LIMIT:
        raise ValueError(f"{name} '{text}' is not a whole weight from 0 to {_SPLIT_LIMIT}")
    return int(text)


@dataclass(frozen=True, slots=True)
class Either:
    """A share or a flat amount, told apart by the unit: the platform's part of a fee."""

    share: Units
    amount: Amount
    expects: str = "a share such as 10 % or a flat amount such as 0.001 OPEN"
    uncertain: bool = True
    parts: tuple[str, ...] = ()

    def _kind(self, unit: str) -> Units | Amount:
        return self.share if unit in self.share.units else self.amount

    def read(self, node: Node, unit: str, token: Token) -> tuple[Number, str]:
        """Read by the unit: Fraction or float for the first kind, int for an amount."""
        text = text_of(node, self.expects)
        given = unit or parse_quantity(text).unit
        units = (*self.share.units, self.amount.unit(token))
        if given not in units:
            word = f"has unit '{given}'" if given else "has no unit"
            raise ValueError(f"'{text}' {word}; expected {' or '.join(units)}")
        return self._kind(given).read(node, unit, token)

    def write(self, value: Any, unit: str, token: Token) -> Any:
        """Write by the value's own unit."""
        return self._kind(unit).write(value, unit, token)

    def limits(self, unit: str) -> tuple[float, float]:
        """Return the limits of the value's own unit."""
        return self._kind(unit).limits(unit)

    def schema(self) -> dict[str, Any]:
        """Text with a unit."""
        return {"type": "string", "description": self.expects}
