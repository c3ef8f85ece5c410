"""The table of choice of models, built once a month.

Rule decided here: the same integers as `cells_of` of `sim/phases/demand_reference.py`, whose ranking they take from an
order of the models that is found once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sim.kernels.apportion import apportion

Int = NDArray[np.int64]

_ROWS = 16
"""Runs whose tables are built at once, so that their weights stay in cache."""


@njit(cache=True, nogil=True)
def _weigh(order, offered, each, table, weights):  # type: ignore[no-untyped-def]
    """Fill `weights` (runs, classes, models) by each model's rank among the active models of a class."""
    weights[:] = 0
    classes, models = weights.shape[1], weights.shape[2]
    builder, own = np.empty(models, np.int64), np.empty(models, np.int64)
    for m in range(models):
        builder[m], own[m] = m // each, m % classes
    for r in range(order.shape[0]):
        rank = np.zeros(classes, np.int64)
        for i in range(models):
            m = order[r, i]
            if offered[r, builder[m]]:
                weights[r, own[m], m] = table[rank[own[m]]]
                rank[own[m]] += 1
        for k in range(classes):
            if rank[k] == 0:  # a class without an active model of its own is served by those of all
                place = 0
                for i in range(models):
                    m = order[r, i]
                    if offered[r, builder[m]]:
                        weights[r, k, m] = table[place]
                        place += 1
                if place == 0:
                    weights[r, k, 0] = 1


@njit(cache=True, nogil=True)
def _fill(counts, each, cells):  # type: ignore[no-untyped-def]
    """Fill `cells` (rows, cells) with builders, each as often as its models count (rows, models)."""
    for row in range(counts.shape[0]):
        own, out, first = counts[row], cells[row], np.int64(0)
        for builder in range(own.size // each):
            last = first
            for m in range(each):
                last += own[np.uint64(builder * each + m)]
            for cell in range(first, last):
                out[np.uint64(cell)] = builder
            first = last


def cells_of(
    order: NDArray[np.int32], offered: NDArray[np.bool_], each: int, table: Int, classes: int, cells: int
) -> NDArray[np.unsignedinteger[Any]]:
    """Return the builder of each cell in the smallest type that holds all, (runs, classes * cells).

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
    found = np.empty((runs, classes * cells), np.min_scalar_type(offered.shape[1]))
    room = np.empty((min(runs, _ROWS), classes, models), np.int64)
    for first in range(0, runs, _ROWS):
        own, active, out = (rows[first : first + _ROWS] for rows in (order, offered, found))
        weights = room[: len(own)]
        _weigh(own, active, each, table, weights)
        counts = apportion(cells, weights.reshape(-1, models))
        _fill(counts, each, out.reshape(-1, cells))
    return found
