"""Plan: from a scenario and its sweep to points, each a whole scenario that has been checked.

Rule decided here: every point is read and checked before anything is computed or written. All points have the seed
and the run numbers of the scenario, so that a difference between points is never luck.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from models.errors import InputError, Problem
from models.units import Duration
from sim.scenario import load
from sim.scenario.schema import Scenario
from sim.scenario.sweeping import Sweep
from sim.sweeps import design as designs
from sim.sweeps.axes import Scale, scales_of
from sim.sweeps.design import Design

MOST_POINTS = 100_000
"""Points beyond which a sweep is a mistake."""


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a sweep.

    Parameters
    ----------
    index
        Its number, from 0, in the order of the design.
    texts
        Value of every axis as a file would say it; "" where the scenario's own holds.
    scenario
        The world at this point.
    """

    index: int
    texts: tuple[str, ...]
    scenario: Scenario


@dataclass(frozen=True, slots=True)
class Plan:
    """A sweep that is ready to be computed.

    Parameters
    ----------
    scenario
        The scenario that is varied.
    sweep
        How.
    design, scales
        Positions, and what they stand for.
    points
        One per row of the design.
    days
        Days whose values are kept, rising.
    """

    scenario: Scenario
    sweep: Sweep
    design: Design
    scales: tuple[Scale, ...]
    points: tuple[Point, ...]
    days: tuple[int, ...]


def make_plan(path: Path, overrides: Sequence[str], sweep: Sweep | None = None) -> Plan:
    """Read a scenario and every point of its sweep.

    Parameters
    ----------
    path, overrides
        As for `sim.scenario.load`.
    sweep
        The sweep instead of the scenario's own.

    Raises
    ------
    InputError
        If there is no sweep, a value is wrong, or a point is no scenario.
    """
    scenario = load(path, overrides)
    wanted = sweep or scenario.sweep
    if wanted is None:
        raise InputError(
            [Problem("is missing; a sweep needs it, or --over path=value,value", "sweep", str(path))]
        )
    scales = scales_of(scenario, wanted.over)
    design = design_of(wanted, scales, scenario.runs.seed)
    if len(design.positions) > MOST_POINTS:
        raise InputError(
            f"sweep: {wanted.mode} gives {len(design.positions):,} points; allowed up to {MOST_POINTS:,}"
        )
    points = tuple(
        _point(index, row, scales, path, overrides) for index, row in enumerate(design.positions.tolist())
    )
    return Plan(scenario, wanted, design, tuple(scales), points, _days(scenario, wanted))


def design_of(sweep: Sweep, scales: Sequence[Scale], seed: int) -> Design:
    """Return the design that a sweep asks for.

    Parameters
    ----------
    sweep
        Mode and number of points.
    scales
        The axes.
    seed
        Key of a sample.
    """
    names = [scale.axis.path for scale in scales]
    match sweep.mode:
        case "grid":
            return designs.grid(names, [scale.size for scale in scales])
        case "zip":
            return designs.zipped(names, scales[0].size)
        case "tornado":
            return designs.tornado(names, [scale.tornado_ends for scale in scales])
        case "latin":
            return designs.latin(names, sweep.points, seed)
        case "sobol":
            return designs.sobol(names, sweep.points, seed)
    return designs.morris(names, sweep.points, seed)


def _point(
    index: int, row: Sequence[float], scales: Sequence[Scale], path: Path, overrides: Sequence[str]
) -> Point:
    texts = tuple(
        "" if math.isnan(position) else scale.text(position)
        for scale, position in zip(scales, row, strict=True)
    )
    set_ = [scale.override(text) for scale, text in zip(scales, texts, strict=True) if text]
    try:
        return Point(
            index, texts, load(path, [*overrides, "sweep=null", *set_])
        )  # a point varies nothing itself
    except InputError as error:
        where = ", ".join(set_)
        raise InputError(
            [Problem(f"point {index} ({where}): {p}", "sweep") for p in error.problems]
        ) from None


def _days(scenario: Scenario, sweep: Sweep) -> tuple[int, ...]:
    days = sorted({_day(scenario, length) for length in sweep.at}) if sweep.at else [scenario.days]
    late = [day for day in days if day > scenario.days]
    if late:
        raise InputError(
            [Problem(f"day {late[0]} is after the last day; allowed 0 d to {scenario.days} d", "sweep.at")]
        )
    return tuple(days)


def _day(scenario: Scenario, length: Duration) -> int:
    from models.calendar import add_months

    return (
        add_months(scenario.start, length.months) - scenario.start + timedelta(seconds=length.seconds)
    ).days
