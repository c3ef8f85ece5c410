"""Sensitivity: which axis moves an outcome, with intervals.

Rule decided here: Sobol indices by Saltelli's estimators and elementary effects by Morris, both by SALib with
bootstrap intervals of 95 %; a Latin hypercube gives Spearman's rank correlation with Fisher's interval. An outcome is
one number per point; where it is a mean over runs, all points have the same runs, so that their luck cancels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.sweeps.design import MORRIS_LEVELS, Design

Float = NDArray[np.float64]

LEVEL = 0.95
RESAMPLES = 1000
_Z = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Index:
    """One number that says how much an axis matters.

    Parameters
    ----------
    axis
        Name of the axis.
    name
        ``S1``, ``ST``, ``mu_star``, ``sigma`` or ``rank_correlation``.
    value
        The estimate; NaN where the outcome is the same at all points.
    low, high
        Ends of its 95 % interval; NaN where there is none.
    """

    axis: str
    name: str
    value: float
    low: float
    high: float


def indices(design: Design, outcome: Float) -> list[Index]:
    """Return the indices that belong to a design; none for grid, zip and tornado.

    Parameters
    ----------
    design
        The points.
    outcome
        One number per point, float64 (points,), none of them NaN.

    Raises
    ------
    ValueError
        If the outcome has another length than the design, or a NaN.
    """
    if len(outcome) != len(design.positions):
        raise ValueError(f"{len(outcome)} outcomes for {len(design.positions)} points")
    if np.isnan(outcome).any():
        raise ValueError(f"the outcome is missing at {int(np.isnan(outcome).sum())} of {len(outcome)} points")
    analyse = {"sobol": _sobol, "morris": _morris, "latin": _rank}.get(design.mode)
    if analyse is None:
        return []
    if float(np.ptp(outcome)) == 0:
        return [
            Index(axis, name, math.nan, math.nan, math.nan)
            for axis in design.names
            for name in _NAMES[design.mode]
        ]
    return analyse(design, np.asarray(outcome, np.float64))


_NAMES = {"sobol": ("S1", "ST"), "morris": ("mu_star", "sigma"), "latin": ("rank_correlation",)}


def _sobol(design: Design, outcome: Float) -> list[Index]:
    from SALib.analyze import sobol

    found = sobol.analyze(
        design.problem, outcome, calc_second_order=False, num_resamples=RESAMPLES, conf_level=LEVEL, seed=1
    )
    return _listed(design, found, {"S1": "S1_conf", "ST": "ST_conf"})


def _morris(design: Design, outcome: Float) -> list[Index]:
    from SALib.analyze import morris

    found = morris.analyze(
        design.problem, design.positions, outcome, num_resamples=RESAMPLES, conf_level=LEVEL,
        num_levels=MORRIS_LEVELS, seed=1,
    )  # fmt: skip
    return _listed(design, found, {"mu_star": "mu_star_conf", "sigma": ""})


def _listed(design: Design, found: Any, names: dict[str, str]) -> list[Index]:
    """Return SALib's arrays as indices; its intervals are half-widths."""
    listed = []
    for position, axis in enumerate(design.names):
        for name, half_name in names.items():
            value = float(found[name][position])
            half = float(found[half_name][position]) if half_name else math.nan
            listed.append(Index(axis, name, value, value - half, value + half))
    return listed


def _rank(design: Design, outcome: Float) -> list[Index]:
    from scipy.stats import rankdata

    ranks, count = rankdata(outcome), len(outcome)
    listed = []
    for position, axis in enumerate(design.names):
        rho = float(np.corrcoef(rankdata(design.positions[:, position]), ranks)[0, 1])
        half = _Z / math.sqrt(count - 3) if count > 3 else math.inf
        centre = math.atanh(min(max(rho, -1 + 1e-15), 1 - 1e-15))
        listed.append(
            Index(axis, "rank_correlation", rho, math.tanh(centre - half), math.tanh(centre + half))
        )
    return listed
