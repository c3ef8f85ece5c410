"""Estates: what agents own at the end of an epoch, all their accounts and unclaimed payouts together.

Rule decided here: runs are read a few at a time, so that all that is asked of them is found while they are in cache; of
what each agent owns nothing is kept but these figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.inequality import gini_of_sums
from sim.kernels import people as kernel
from sim.kernels.ranks import ranked
from sim.picks import room

if TYPE_CHECKING:
    from sim.world import World

Int = NDArray[np.int64]
Float = NDArray[np.float64]

DECILES = 10
_ROWS = 8
"""Runs that are read at once."""


@dataclass(frozen=True, slots=True)
class Estates:
    """What agents own.

    Parameters
    ----------
    by_class
        Gwei of each class, int64 (runs, classes).
    by_decile
        Gwei of each decile of holders, int64 (runs, deciles); zeros where there are none.
    half
        How many of the largest owners together own more than half, int64 (runs,).
    gini, hhi
        Concentration among holders, float64 (runs,).
    """

    by_class: Int
    by_decile: Int
    half: Int
    gini: Float
    hhi: Float


def survey(world: World) -> Estates:
    """Return what agents own today."""
    runs, agents = world.earned.shape
    starts, holders, deciles = world.layout.starts, world.layout.slice("holders"), deciles_of(world)
    by_class, half = np.empty((runs, len(starts)), np.int64), np.empty(runs, np.int64)
    by_decile, gini, concentration = np.zeros((runs, DECILES), np.int64), np.empty(runs), np.empty(runs)
    of_holders = world.layout.number("holders")
    room_of_terms = np.empty((_ROWS, holders.stop - holders.start))
    for first in range(0, runs, _ROWS):
        some = slice(first, first + _ROWS)
        owned = room(half[some].size * agents)[0].reshape(-1, agents)
        kernel.owned(world.holdings, world.earned, first, owned)
        kernel.by_class(owned, starts, by_class[some])
        kernel.nakamoto(owned, half[some])
        if deciles is not None:
            kernel.by_group(owned[:, holders], deciles[some], by_decile[some])
        held, terms = by_class[some, of_holders], room_of_terms[: len(owned)]
        kernel.squared_shares(owned[:, holders], held, terms)
        concentration[some] = terms.sum(axis=1)
        kernel.gini_terms(ranked(owned[:, holders]), terms)
        gini[some] = gini_of_sums(terms.sum(axis=1), held, terms.shape[1])
    return Estates(by_class, by_decile, half, gini, concentration)


def deciles_of(world: World) -> NDArray[np.uint8] | None:
    """Return the tenth of the holders to which each belongs by what it held on day 0, None where they are too few."""
    holding, holders = world.holding, world.layout.count("holders")
    if holding.decile is None and holders >= DECILES:
        order = np.argsort(holding.baseline_holding, axis=1, kind="stable")
        holding.decile = np.empty(order.shape, np.uint8)
        of_rank = np.repeat(np.arange(DECILES, dtype=np.uint8), sizes(holders))
        np.put_along_axis(holding.decile, order, of_rank[None, :], axis=1)
    return holding.decile


def sizes(holders: int) -> Int:
    """Return how many holders each decile has."""
    return np.diff(np.arange(DECILES + 1) * holders // DECILES)
