"""Shares: the fixed weights by which the agents of a class divide what the class holds or receives.

Rule decided here: weights are integers from keyed draws of day 0. Holders' are lognormal, which fits both the Gini
and the top-1 % share that were measured over ERC-20 tokens; the others' scatter evenly around their mean.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sim import draws
from sim.draws import Decision

if TYPE_CHECKING:
    from sim.economy import Economy

Int = NDArray[np.int64]

WEIGHT_SCALE = 10**6
"""Integer weight of a median holder, so that the smallest keeps several digits."""


def even_weights(economy: Economy, decision: Decision, runs: Int, name: str) -> Int:
    """Return weights between 0.5 and 1.5 of the mean.

    Parameters
    ----------
    economy
        Says the seed and how many agents there are.
    decision
        The draw that decides.
    runs
        Run numbers, int64 (runs,).
    name
        Class of the agents.

    Returns
    -------
    numpy.ndarray
        int64 (runs, agents of the class).
    """
    u = draws.uniform(economy.seed, decision, runs, 0, name, economy.layout.count(name))
    return np.asarray(np.floor((0.5 + u) * WEIGHT_SCALE), np.int64)


def lognormal_weights(economy: Economy, runs: Int, sigma: float) -> Int:
    """Return holders' weights, int64 (runs, holders).

    Parameters
    ----------
    economy
        Says the seed and how many holders there are.
    runs
        Run numbers, int64 (runs,).
    sigma
        Standard deviation of the logarithm.
    """
    count = economy.layout.count("holders")
    z = draws.normal(economy.seed, Decision.TRAIT_BALANCE, runs, 0, "holders", count)
    scaled = np.floor(np.exp(np.minimum(z * sigma, math.log(1e11))) * WEIGHT_SCALE)
    return np.asarray(np.maximum(scaled, 1), np.int64)
