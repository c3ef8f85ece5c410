"""Reading priors: a distribution in the unit of the value for which it stands.

Rule decided here: every number of a prior is read as the value itself would be, unit and bounds included; only the
spread of a logarithm and the shapes of a beta are bare. Normal and lognormal are truncated to the range, and to what
the field allows at all. Whole durations are drawn in days, other whole numbers to the nearest one.
"""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from models.parameters import Parameter
from models.priors import KINDS, PLAIN, TRUNCATED, Prior
from models.units import SECONDS_PER_DAY, Duration
from sim.scenario.kinds import read_day
from sim.scenario.tree import Map, Scalar, Sequence
from sim.scenario.words import did_you_mean

if TYPE_CHECKING:
    from sim.scenario.forms import Long


def as_number(value: Any) -> float:
    """Return a value on the scale of its prior; durations count in days.

    Examples
    --------
    >>> as_number(Fraction(1, 20)), as_number(Duration(seconds=43_200))
    (0.05, 0.5)
    """
    if isinstance(value, Duration):
        return value.seconds / SECONDS_PER_DAY
    return float(value)


def as_value(number: float, model: Any) -> Any:
    """Return a number of a prior as it was written, in the type of `model`.

    A rational is the one that people would write for the number.

    Examples
    --------
    >>> as_value(0.05, Fraction(1)), str(as_value(0.5, Duration()))
    (Fraction(1, 20), '43200 s')
    """
    if isinstance(model, Fraction):
        return Fraction(repr(float(number)))
    if isinstance(model, Duration):
        return Duration(seconds=round(number * SECONDS_PER_DAY))
    return round(number) if isinstance(model, int) else float(number)


def as_drawn(number: float, model: Any) -> Any:
    """Return a drawn number in the type of `model`; durations are whole days, other integers the nearest.

    Examples
    --------
    >>> as_drawn(2.6, 1), str(as_drawn(2.6, Duration()))
    (3, '3 d')
    """
    return as_value(float(round(number)) if isinstance(model, Duration) else number, model)


def read_prior(long: Long, node: Map, unit: str) -> Parameter[Any] | None:
    """Return the uncertain parameter that the long form `node` says, or note what is wrong with it.

    Parameters
    ----------
    long
        Reads values of the field's kind and collects mistakes.
    node
        The long form; it has the key ``prior``.
    unit
        The ``unit:`` beside the prior, or "".
    """
    named = _named(long, node["prior"])
    if named is None:
        return None
    name, numbers = named
    read = [_number(long, name, index, item, unit) for index, item in enumerate(numbers)]
    begins, why = _begins(long, node), _rationale(long, node)
    if long.mistakes:
        return None
    values = [pair for pair in read if isinstance(pair, tuple)]
    if not values:
        _prior(long, name, (), "", numbers, (-math.inf, math.inf))
        return None
    value, unit = values[0]
    if any(type(other) is not type(value) for other, _ in values):
        long.mistake("mixes two units of different sorts", numbers.place, f"prior.{name}")
        return None
    bounds = long.bounds(node["range"], unit) if "range" in node else None
    arguments = tuple(as_number(pair[0]) if isinstance(pair, tuple) else float(pair or 0.0) for pair in read)
    if bounds is not None and name not in TRUNCATED:
        for other, _ in values:
            long.inside(other, bounds, unit, node.place)
    prior = _prior(long, name, arguments, why, numbers, _ends(long, unit, bounds))
    if long.mistakes or prior is None:
        return None
    from sim.scenario.forms import told

    fields = {**told(numbers[0], unit, long.kind), "place": node.place, "prior": prior, "range": bounds}
    return replace(Parameter.constant(None, **fields), values=((begins, as_drawn(prior.central, value)),))


def _named(long: Long, node: Any) -> tuple[str, Sequence] | None:
    """Return name and numbers of a distribution, or note what is wrong."""
    if not long.kind.uncertain:
        long.mistake("takes no prior: this value must be certain", node.place, "prior")
        return None
    if not isinstance(node, Map) or len(node) != 1:
        long.mistake(f"expected one of {', '.join(KINDS)} with its numbers", node.place, "prior")
        return None
    name, numbers = next(iter(node.items()))
    if name not in KINDS:
        hint = did_you_mean(name, tuple(KINDS))
        long.mistake(f"prior '{name}' is unknown{hint}", node.key_places[name], "prior")
        return None
    if not isinstance(numbers, Sequence) or not all(isinstance(item, Scalar) for item in numbers):
        wanted = ", ".join(KINDS[name]) or "value, ..."
        long.mistake(f"expected the list [{wanted}]", numbers.place, f"prior.{name}")
        return None
    return name, numbers


def _number(long: Long, name: str, index: int, item: Scalar, unit: str) -> Any:
    """Return value and unit of one number of a distribution, or a float where it has no unit."""
    below = f"prior.{name}.{index}"
    if index not in PLAIN.get(name, ()):
        return long.value(item, unit, below)
    try:
        return float(item.text)
    except ValueError:
        long.mistake(f"'{item.text}' is not a number", item.place, below)
        return None


def _prior(
    long: Long,
    name: str,
    arguments: tuple[float, ...],
    why: str,
    numbers: Sequence,
    ends: tuple[float, float],
) -> Prior | None:
    try:
        low, high = ends if name in TRUNCATED else (-math.inf, math.inf)
        return Prior(name, arguments, low, high, why)
    except ValueError as error:
        long.mistake(str(error), numbers.place, f"prior.{name}")
        return None


def _ends(long: Long, unit: str, bounds: tuple[Any, Any] | None) -> tuple[float, float]:
    """Return what both the range and the field itself allow, on the scale of the prior."""
    low, high = long.kind.limits(unit)
    if bounds is None:
        return low, high
    return max(low, as_number(bounds[0])), min(high, as_number(bounds[1]))


def _begins(long: Long, node: Map) -> date:
    told = node.get("from")
    if told is None:
        return date.min
    try:
        return read_day(told.text if isinstance(told, Scalar) else "")
    except ValueError as error:
        long.mistake(str(error), told.place, "from")
        return date.min


def _rationale(long: Long, node: Map) -> str:
    told = node.get("rationale")
    if told is None:
        return ""
    if not isinstance(told, Scalar):
        long.mistake("a rationale is a text", told.place, "rationale")
        return ""
    return told.text
