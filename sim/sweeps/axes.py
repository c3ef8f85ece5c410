"""Axes: which value of the scenario a position of a design stands for.

Rule decided here: a position is turned into the text that a person would write with ``--set``, by the kind of the
parameter itself, so a point is an ordinary scenario. A span goes evenly or by equal factors from end to end, a prior
by its quantiles; whole numbers, days and the steps that a vote can set are kept. Of a dated value the date stays and
the value is varied.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.errors import InputError, Problem
from models.parameters import Parameter
from models.units import parse_quantity
from sim.priors import stepped
from sim.scenario.kinds import Kind, Token
from sim.scenario.priors import as_drawn, as_number
from sim.scenario.schema import Scenario
from sim.scenario.sweeping import Axis
from sim.scenario.targets import leaf_at
from sim.scenario.tree import Scalar
from sim.sweeps.design import TORNADO_ENDS

if TYPE_CHECKING:
    from models.priors import Prior

DIGITS = 9
"""Significant digits of a value between the ends of a span: no more than a person would compare."""

PRIOR_ENDS = (0.001, 0.999)
"""Quantiles of a prior without ends that stand for positions 0 and 1."""


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis with its values.

    Parameters
    ----------
    axis
        As it was written.
    base
        Path of the parameter, without ``.at.DATE``.
    date
        Date whose value is varied, or "".
    unit
        Unit of the values, or "".
    texts
        Values of a list in that unit, or ().
    kind, model
        How a number becomes a text, and a value of its type; None for a plain value.
    ends
        Ends of a span on the parameter's scale.
    prior
        The distribution, or None.
    token
        What amounts are counted in.
    """

    axis: Axis
    base: str
    date: str
    unit: str
    texts: tuple[str, ...]
    kind: Kind | None
    model: Any
    ends: tuple[float, float]
    prior: Prior | None
    token: Token

    @property
    def size(self) -> int:
        """How many values a grid takes."""
        return len(self.texts) or self.axis.steps

    @property
    def tornado_ends(self) -> tuple[float, float]:
        """Positions of the two bars of a tornado."""
        return TORNADO_ENDS if self.prior is not None else (0.0, 1.0)

    def text(self, position: float) -> str:
        """Return the value at a position in [0, 1] as a file would say it."""
        if self.texts:
            return self.texts[round(position * (len(self.texts) - 1))]
        if self.kind is None:
            return f"{self._between(position):.0f}"
        number = self._quantile(position) if self.prior is not None else self._between(position)
        value = stepped(self.base, as_drawn(float(f"{number:.{DIGITS}g}"), self.model))
        return str(self.kind.write(value, self.unit, self.token))

    def _between(self, position: float) -> float:
        low, high = self.ends
        if self.axis.scale == "log":
            return math.exp(math.log(low) + (math.log(high) - math.log(low)) * position)
        return low + (high - low) * position

    def _quantile(self, position: float) -> float:
        assert self.prior is not None
        low, high = PRIOR_ENDS if not all(map(math.isfinite, self.prior.ends)) else (0.0, 1.0)
        return float(self.prior.quantile(np.array([min(max(position, low), high)]))[0])

    def override(self, text: str) -> str:
        """Return the ``path=value`` that sets the axis."""
        return f"{self.base}={{at: {{{self.date}: {text}}}}}" if self.date else f"{self.base}={text}"

    def number(self, text: str) -> float | None:
        """Return the number of a text, or None where it is a word."""
        try:
            return float(parse_quantity(text).number)
        except ValueError:
            return None


def scales_of(scenario: Scenario, axes: Sequence[Axis]) -> list[Scale]:
    """Return every axis with its values.

    Parameters
    ----------
    scenario
        The scenario that is varied.
    axes
        What is varied.

    Raises
    ------
    InputError
        With every value that is none of its parameter, and every axis that cannot be varied so.
    """
    known, problems, scales = dict(scenario.parameters()), [], []
    twice = {axis.path for axis in axes if [other.path for other in axes].count(axis.path) > 1}
    problems += [Problem(f"{path}: is varied twice", "sweep.over") for path in sorted(twice)]
    for axis in axes:
        try:
            scales.append(_scale(scenario, axis, known))
        except ValueError as error:
            problems.append(Problem(f"{axis.path}: {error}", "sweep.over", str(axis.place)))
    if problems:
        raise InputError(problems)
    return scales


def _scale(scenario: Scenario, axis: Axis, known: dict[str, Parameter[Any]]) -> Scale:
    token = Token(scenario.token.symbol, scenario.token.ledger_decimals)
    base, _, day = axis.path.partition(".at.")
    parameter = known.get(base)
    if parameter is None:
        return _plain(axis, token)
    if axis.by_prior and parameter.prior is None:
        raise ValueError("has no prior; say from and to")
    if not day and parameter.is_dated:
        if len(parameter.values) > 1:
            raise ValueError(f"has several dates; name one, such as {base}.at.{parameter.values[0][0]}")
        day = parameter.values[0][0].isoformat()
    kind = leaf_at(Scenario, base).kind
    read = [_read(kind, text, parameter, token) for text in (*axis.values, *axis.ends)]
    unit = read[0][1] if read else parameter.unit
    if any(type(value) is not type(read[0][0]) for value, _ in read):
        raise ValueError("mixes two units of different sorts")
    values = [value for value, _ in read]
    ends = _ends(axis, values) if axis.ends else (0.0, 0.0)
    return Scale(
        axis, base, day, unit, tuple(str(kind.write(value, unit, token)) for value in values) if axis.values else (),
        kind, values[0] if values else parameter.value, ends, parameter.prior if axis.by_prior else None, token,
    )  # fmt: skip


def _read(kind: Kind, text: str, parameter: Parameter[Any], token: Token) -> tuple[Any, str]:
    value, unit = kind.read(Scalar(text, "str", parameter.place, Path()), "", token)
    if parameter.range is not None and not parameter.range[0] <= value <= parameter.range[1]:
        low, high = (kind.write(bound, parameter.unit, token) for bound in parameter.range)
        raise ValueError(f"'{text}' is outside the parameter's range; allowed {low} to {high}")
    return value, unit


def _ends(axis: Axis, values: Sequence[Any]) -> tuple[float, float]:
    low, high = (as_number(value) for value in values)
    if low >= high:
        raise ValueError(f"goes from {axis.ends[0]} to {axis.ends[1]}; the first must be less")
    if axis.scale == "log" and low <= 0:
        raise ValueError(f"scale log needs a value above 0, not {axis.ends[0]}")
    return low, high


def _plain(axis: Axis, token: Token) -> Scale:
    """Return the axis of a value that is no parameter: a count, a name, a switch."""
    if axis.by_prior:
        raise ValueError("has no prior; say from and to")
    if axis.values:
        return Scale(axis, axis.path, "", "", axis.values, None, None, (0.0, 0.0), None, token)
    if not all(text.replace("_", "").isdigit() for text in axis.ends):
        raise ValueError("is no parameter with a unit; its span needs whole numbers, or give a list")
    ends = _ends(axis, [int(text.replace("_", "")) for text in axis.ends])
    return Scale(axis, axis.path, "", "", (), None, None, ends, None, token)
