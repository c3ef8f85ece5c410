"""Designs: which points of the unit cube a sweep tries.

Rule decided here: a design says points as positions in [0, 1] per axis and nothing about what an axis means, so that
an economy and a plain function with known indices go through the same code. Samples are keyed by a seed; more points
of the same seed begin with the points of fewer (Sobol, Morris), so an extended sweep computes only what is missing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

MORRIS_LEVELS = 4
TORNADO_ENDS = (0.05, 0.95)
"""Positions of the two bars of a tornado where an axis is a distribution; a span or a list gives its own ends."""


@dataclass(frozen=True, slots=True)
class Design:
    """Points of a sweep.

    Parameters
    ----------
    mode
        Name of the design, one of `sim.scenario.sweeping.MODES`.
    names
        Axes, in the order of the columns.
    positions
        float64 (points, axes) in [0, 1]; NaN leaves the axis as the scenario has it.
    seed
        Key of the sample.
    """

    mode: str
    names: tuple[str, ...]
    positions: Float
    seed: int = 0

    @property
    def problem(self) -> dict[str, Any]:
        """What SALib calls the problem: names and bounds of the axes."""
        return {
            "num_vars": len(self.names),
            "names": list(self.names),
            "bounds": [[0.0, 1.0]] * len(self.names),
        }


def grid(names: Sequence[str], sizes: Sequence[int]) -> Design:
    """Return every combination of evenly spaced positions, the last axis changing fastest.

    Parameters
    ----------
    names
        Axes.
    sizes
        Positions of each, 1 or more.

    Examples
    --------
    >>> grid(["a", "b"], [2, 1]).positions.tolist()
    [[0.0, 0.5], [1.0, 0.5]]
    """
    steps = [_even(size) for size in sizes]
    return Design("grid", tuple(names), np.array(list(itertools.product(*steps)), np.float64))


def zipped(names: Sequence[str], size: int) -> Design:
    """Return the points at which all axes have their first position, all their second, and so on."""
    return Design("zip", tuple(names), np.repeat(_even(size)[:, None], len(names), axis=1))


def _even(size: int) -> Float:
    return np.linspace(0.0, 1.0, size) if size > 1 else np.array([0.5])


def tornado(names: Sequence[str], ends: Sequence[tuple[float, float]]) -> Design:
    """Return the scenario as it is, then every axis alone at its low and its high end.

    Examples
    --------
    >>> tornado(["a"], [(0.0, 1.0)]).positions.tolist()
    [[nan], [0.0], [1.0]]
    """
    positions = np.full((1 + 2 * len(names), len(names)), np.nan)
    for index, pair in enumerate(ends):
        positions[1 + 2 * index : 3 + 2 * index, index] = pair
    return Design("tornado", tuple(names), positions)


def latin(names: Sequence[str], points: int, seed: int) -> Design:
    """Return a Latin hypercube: every axis has one point in each of `points` equal slices."""
    from scipy.stats import qmc

    sample = qmc.LatinHypercube(d=len(names), rng=_generator(seed)).random(points)
    return Design("latin", tuple(names), np.asarray(sample, np.float64), seed)


def sobol(names: Sequence[str], points: int, seed: int) -> Design:
    """Return Saltelli's sample on a scrambled Sobol sequence: points x (axes + 2) rows, from which S1 and ST follow.

    Parameters
    ----------
    names
        Axes.
    points
        Size of the base sample, a power of 2.
    seed
        Key of the scrambling.
    """
    from SALib.sample import sobol as sampler

    empty = Design("sobol", tuple(names), np.empty((0, len(names))), seed)
    sample = sampler.sample(empty.problem, points, calc_second_order=False, seed=_generator(seed))
    return Design("sobol", tuple(names), np.asarray(sample, np.float64), seed)


def morris(names: Sequence[str], trajectories: int, seed: int) -> Design:
    """Return Morris trajectories: trajectories x (axes + 1) rows, each differing from the one before in one axis."""
    from SALib.sample import morris as sampler

    empty = Design("morris", tuple(names), np.empty((0, len(names))), seed)
    sample = sampler.sample(empty.problem, trajectories, num_levels=MORRIS_LEVELS, seed=_word(seed))
    return Design("morris", tuple(names), np.asarray(sample, np.float64), seed)


def _generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed)))


def _word(seed: int) -> int:
    """Return 32 bits of a seed of up to 64, for samplers that take no generator."""
    return int(np.random.SeedSequence(seed).generate_state(1)[0])


def evaluate(design: Design, function: Callable[[Float], float]) -> Float:
    """Return a function's value at every point of a design, float64 (points,).

    Parameters
    ----------
    design
        The points.
    function
        From positions (axes,) to a number.
    """
    return np.array([function(point) for point in design.positions], np.float64)
