"""Demand in plain numpy: the references of `sim.kernels.users` and `sim.kernels.popularity`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.demand import popularity_cells, zipf_weights

Int = NDArray[np.int64]
Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
Words = NDArray[np.uint32]


def adopt(threshold: Words, level: NDArray[np.uint64], active: Int) -> tuple[Int, Bool]:
    """Return how many use the service, (runs,), and who left it, (runs, users).

    Parameters
    ----------
    threshold
        Users with one below the level use the service, (runs, users).
    level
        uint64 (runs,).
    active
        How many used it yesterday: the first of each run, (runs,).
    """
    now = threshold < level[:, None]
    return now.sum(axis=1), first_of(active, now.shape[1]) & ~now


def first_of(active: Int, users: int) -> Bool:
    """Return who uses the service, (runs, users), where the first `active` of each run do, (runs,)."""
    return np.asarray(np.arange(users) < active[:, None])


def keep_credit(
    active: Bool, pays: Bool, accounts: tuple[Int, Int, Int, Int], targets: Int, refill_at: float, usd: Float
) -> tuple[Int, Int]:
    """Return what users order in micro-USD, and what the credit of those who can deposit lacks, (runs, users).

    Parameters
    ----------
    active, pays
        Who uses the service, and who pays for access.
    accounts
        Prepaid credit, L2 wallet, transit and L1 wallet, gwei (runs, users) each.
    targets
        Wanted credit without and with access, gwei (2, runs).
    refill_at
        Part of the target below which a user buys.
    usd
        Micro-USD per gwei, (runs,).
    """
    credit, l2, transit, l1 = accounts
    target = np.where(active, np.where(pays, targets[1, :, None], targets[0, :, None]), 0)
    have = credit + l2 + transit + l1
    orders = np.where(have < target * refill_at, np.floor((target - have) * usd[:, None]), 0).astype(np.int64)
    lacking = np.maximum(target - credit, 0)
    return orders, np.where(l2 > 0, lacking, 0)


def ask(
    active: Bool, access: Int, credit: Int, volume: Float, price: Float, mean_in: Float, mean_out: Float
) -> tuple[Int, Int]:
    """Return the tokens in and out that users ask for, (runs, users).

    Parameters
    ----------
    active
        Who uses the service, (runs, users).
    access
        The day's access fee of each user, gwei (runs, users).
    credit
        Prepaid gwei, (runs, users).
    volume
        Today's use over the mean, (runs, users).
    price
        Gwei of a mean user's tokens times 10^6, (runs,).
    mean_in, mean_out
        Mean tokens, (runs,).
    """
    full = price[:, None] * volume / 1e6 + access
    # the rest of a gwei that floors may add is kept back
    covered = np.minimum(np.maximum(credit - access - 1, 0) / np.maximum(full - access, 1.0), 1.0)
    cut = volume * active * covered
    return (cut * mean_in[:, None]).astype(np.int64), (cut * mean_out[:, None]).astype(np.int64)


def cells_of(order: Int, offered: Bool, each: int, zipf: float, classes: int, cells: int) -> Int:
    """Return the builder of each cell, (runs, classes * cells): Zipf within each class over the models on offer.

    Parameters
    ----------
    order
        Models in the order of their popularity, (runs, models).
    offered
        Active builders, (runs, builders).
    each
        Models of a builder.
    zipf
        Exponent.
    classes, cells
        Query classes, and cells of each.
    """
    runs, models = order.shape
    on_offer, tables = np.repeat(offered, each, axis=1), []
    place_of = np.argsort(order, axis=1)
    for k in range(classes):
        served = on_offer & (np.arange(models) % classes == k)
        served |= on_offer & ~served.any(axis=1, keepdims=True)  # a class without models of its own uses any
        place = np.argsort(np.argsort(np.where(served, place_of, models), axis=1, kind="stable"), axis=1)
        weights = zipf_weights(np.where(served, place, -1), zipf)
        weights[~served.any(axis=1), 0] = 1  # nobody builds: use falls to the first builder's model
        tables.append(popularity_cells(weights, cells) // each)
    return np.concatenate(tables, axis=1).reshape(runs, -1)
