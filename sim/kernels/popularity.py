"""The table of choice of models, built once a month.

Rule decided here: the same integers as `cells_of` of `sim/phases/demand_reference.py`, whose ranking they take from an
order of the models that is found once.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sim.kernels.apportion import apportion

Int = NDArray[np.int64]


@njit(cache=True, nogil=True)
def _weigh(order, offered, each, table, weights):  # type: ignore[no-untyped-def]
    """Fill `weights` (runs, classes, models) by each model's rank among the active models of a class."""
    weights[:] = 0
    classes, models = weights.shape[1], weights.shape[2]
    for r in range(order.shape[0]):
        for k in range(classes):
            has_own = False
            for m in range(k, models, classes):
                has_own |= offered[r, m // each]
            rank = 0
            for i in range(models):
                m = order[r, i]
                if offered[r, m // each] and (not has_own or m % classes == k):
                    weights[r, k, m] = table[rank]
                    rank += 1
            if rank == 0:
                weights[r, k, 0] = 1


@njit(cache=True, nogil=True)
def _fill(counts, each, cells):  # type: ignore[no-untyped-def]
    """Fill `cells` (rows, cells) with builders, each as often as its models count (rows, models)."""
    for row in range(counts.shape[0]):
        cell = 0
        for m in range(counts.shape[1]):
            for _ in range(counts[row, m]):
                cells[row, cell] = m // each
                cell += 1


def cells_of(
    order: NDArray[np.int32], offered: NDArray[np.bool_], each: int, table: Int, classes: int, cells: int
) -> NDArray[np.int32]:
    """Return the builder of each cell, (runs, classes * cells).

    Parameters
    ----------
    order
        Models in the order of their popularity, (runs, models).
    offered
        Active builders, (runs, builders).
    each
        Models of a builder.
    table
        Weight of each rank, int64 (models,).
    classes, cells
        Query classes, and cells of each.
    """
    runs, models = order.shape
    weights = np.empty((runs, classes, models), np.int64)
    _weigh(order, offered, each, table, weights)
    counts = apportion(cells, weights.reshape(-1, models))
    found = np.empty((runs * classes, cells), np.int32)
    _fill(counts, each, found)
    return found.reshape(runs, -1)
