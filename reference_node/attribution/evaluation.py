"""How good shares are, against the truth that retraining found.

Rules decided here. Every measure is a number per query, its figure the mean over queries and its standard error that of
a bootstrap over queries. LDS is the Spearman correlation, over coalitions, of summed values and true log-likelihoods;
rho that of values and Shapley values over players; top-1 whether both name the same first; TV half the sum of absolute
differences of shares, which is the part of the money that goes to the wrong ones; noise the share of a noise player.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.shapley import shapley_values
from reference_node.attribution.method import shares

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BOOTSTRAPS, BOOTSTRAP_SEED = 2000, 17


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over queries and its standard error."""

    value: float
    error: float


def figure(per_query: Floats) -> Figure:
    """Return the mean and the standard error by a bootstrap over queries."""
    drawn = np.random.default_rng(BOOTSTRAP_SEED).integers(0, len(per_query), (BOOTSTRAPS, len(per_query)))
    return Figure(float(per_query.mean()), float(per_query[drawn].mean(axis=1).std(ddof=1)))


def member_matrix(coalitions: Ints, players: int) -> Floats:
    """Return who is in which coalition, (coalitions, players), 1 or 0."""
    return (np.asarray(coalitions)[:, None] >> np.arange(players) & 1).astype(np.float64)


def ranks(values: Floats) -> Floats:
    """Return ranks along the last axis, equal values sharing their mean rank."""
    ordered = np.sort(values, axis=-1)
    found = np.empty(values.shape)
    for place in np.ndindex(values.shape[:-1]):
        low = np.searchsorted(ordered[place], values[place], "left")
        high = np.searchsorted(ordered[place], values[place], "right")
        found[place] = (low + high - 1) / 2
    return found


def spearman(left: Floats, right: Floats) -> Floats:
    """Return the rank correlation of rows, (queries,); 0 where one side is constant."""
    x, y = (r - r.mean(axis=-1, keepdims=True) for r in (ranks(left), ranks(right)))
    spread = np.sqrt((x**2).sum(-1) * (y**2).sum(-1))
    return np.asarray((x * y).sum(-1) / np.where(spread > 0, spread, 1.0))


def lds(values: Floats, outputs: Floats, coalitions: Ints) -> Floats:
    """Return LDS by query.

    Parameters
    ----------
    values
        Of players, (queries, players).
    outputs
        True log-likelihoods, (queries, coalitions).
    coalitions
        Which, as sums of 2^player.
    """
    return spearman(values @ member_matrix(coalitions, values.shape[1]).T, outputs)


def total_variation(found: Floats, true: Floats) -> Floats:
    """Return half the sum of absolute differences of shares, (queries,)."""
    return np.asarray(np.abs(found - true).sum(axis=1) / 2)


@dataclass(frozen=True, slots=True)
class Target:
    """What values are compared with.

    Parameters
    ----------
    table
        True value of every coalition, (queries, 2^players).
    noise
        The noise player.
    """

    table: Floats
    noise: int

    @property
    def shapley(self) -> Floats:
        """Exact Shapley values, (queries, players)."""
        return shapley_values(self.table)

    @property
    def players(self) -> int:
        """Number of players."""
        return int(self.table.shape[1]).bit_length() - 1

    def measures(self, values: Floats, level: Floats | float = 0.0) -> dict[str, Floats]:
        """Return the measures that need Shapley values, by query.

        Parameters
        ----------
        values
            (queries, players).
        level
            Null level that shares subtract.
        """
        exact, found = self.shapley, shares(values, level)
        return {
            "rho": spearman(values, exact),
            "top1": (values.argmax(axis=1) == exact.argmax(axis=1)).astype(np.float64),
            "tv": total_variation(found, shares(exact)),
            "noise": found[:, self.noise],
        }
