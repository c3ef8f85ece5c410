"""Worth: the month's values and weights of contributors, run by run in cache.

Rule decided here: the same integers as `models.attribution.cluster_values` and `net_weights`, which are the references
and are asked wherever dividing by estimates would not do. Floats are added in the order in which numpy's `bincount`
adds them.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from models.attribution import FINE, WHOLE, net_weights
from sim.kernels.apportion import divide_run, whole_of

Int = NDArray[np.int64]
Float = NDArray[np.float64]

_TINY = np.finfo(np.float64).tiny
_FINE = np.float64(FINE)


@njit(cache=True, nogil=True)
def values(counted, noise, size, words, floor, out):  # type: ignore[no-untyped-def]
    """Value contributors above the noise floor; what is found to be copied counts nothing, for its origin neither.

    Parameters
    ----------
    counted, noise
        Who takes part and was not found to copy, and whose data is noise, bool (runs, contributors).
    size
        Useful data that each brings, float64 (runs, contributors).
    words
        Draw of what noise seems to be worth, which scatters around the floor, uint32 (runs, contributors).
    floor
        Noise floor, float64 (runs,).
    out
        float64 (runs, contributors), written.
    """
    for r in range(out.shape[0]):
        counts, is_noise, own, word, value = counted[r], noise[r], size[r], words[r], out[r]
        widest = 2.0 * floor[r]
        for a in range(value.size):
            chance = widest * ((np.float64(word[a]) + 0.5) * 2.0**-32)
            score = chance if is_noise[a] else own[a]
            value[a] = max((score if counts[a] else 0.0) - floor[r], 0.0)


@njit(cache=True, nogil=True)
def _inside(value, net, whole):  # type: ignore[no-untyped-def]
    """Turn values into shares of their DataNet, whose values are added up in `whole`."""
    whole[:] = 0.0
    for a in range(value.size):
        whole[np.uint64(net[a])] += value[a]
    for a in range(value.size):
        value[a] /= max(whole[np.uint64(net[a])], _TINY)


@njit(cache=True, nogil=True)
def _scaled(share, net, inside, worth, scaled):  # type: ignore[no-untyped-def]
    """Fill `scaled` with each one's worth in 2^-40 of the highest, rounded down; return whether it is finite."""
    top, is_fine = 0.0, True
    for a in range(worth.size):
        worth[a] = share[np.uint64(net[a])] * inside[a]
        top = max(top, worth[a])
        is_fine &= 0.0 <= worth[a] < np.inf
    unit = top if top > 0.0 else 1.0
    if is_fine:
        for a in range(worth.size):
            scaled[a] = np.int64(np.floor(worth[a] / unit * _FINE))
    return is_fine


@njit(cache=True, nogil=True)
def _weigh(of_nets, nets, value, weights):  # type: ignore[no-untyped-def]
    """Fill `weights` (runs, classes, contributors); return whether the estimates were good enough."""
    count = value.shape[1]
    whole, inside, worth = np.empty(of_nets.shape[2]), np.empty(count), np.empty(count)
    scaled, parts, remainders = (
        np.empty(count, np.int64),
        np.empty(count, np.int64),
        np.empty(count, np.int64),
    )
    for r in range(value.shape[0]):
        inside[:] = value[r]
        _inside(inside, nets[r], whole)
        for k in range(of_nets.shape[1]):
            if not _scaled(of_nets[r, k], nets[r], inside, worth, scaled):
                return False
            sum_of_scaled = whole_of(scaled, WHOLE)
            if sum_of_scaled < 0:
                return False
            if sum_of_scaled == 0:
                weights[r, k] = 0
                continue
            divide_run(WHOLE, scaled, sum_of_scaled, parts, remainders, True)
            weights[r, k] = parts
    return True


def weigh(of_nets: Float, nets: Int, value: Float, weights: NDArray[np.int32]) -> None:
    """Find integer weights in each query class, as `models.attribution.net_weights` does.

    Parameters
    ----------
    of_nets
        Share of each DataNet in each query class, float64 (runs, classes, DataNets).
    nets
        DataNet of each contributor, int64 (runs, contributors).
    value
        Value of each contributor, 0 or more, float64 (runs, contributors).
    weights
        int32 (runs, classes, contributors), written.
    """
    if not _weigh(of_nets, nets, value, weights):
        weights[:] = net_weights(of_nets, nets, value)
