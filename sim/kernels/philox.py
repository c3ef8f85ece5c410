"""Philox4x32-10 in numba: the words of keyed draws.

Rule decided here: the generator is the counter-based one of Salmon et al., "Parallel random numbers: as easy as 1, 2,
3" (SC11); its known-answer vectors are those of the Random123 library. `sim.draws.philox_reference` is its reference.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_M0 = np.uint64(0xD2511F53)
_M1 = np.uint64(0xCD9E8D57)
_W0 = np.uint64(0x9E3779B9)
_W1 = np.uint64(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


@njit(cache=True, nogil=True, inline="always")
def block(c0, c1, c2, c3, k0, k1):  # type: ignore[no-untyped-def]
    """Return the four words of a block, each uint64 below 2^32; the arguments are such words too."""
    for _ in range(10):
        p0 = _M0 * c0
        p1 = _M1 * c2
        c0, c1, c2, c3 = (p1 >> _32) ^ c1 ^ k0, p1 & _LOW, (p0 >> _32) ^ c3 ^ k1, p0 & _LOW
        k0 = (k0 + _W0) & _LOW
        k1 = (k1 + _W1) & _LOW
    return c0, c1, c2, c3


@njit(cache=True, nogil=True, inline="always")
def key_words(seed):  # type: ignore[no-untyped-def]
    """Return the two words of a block's key, from the seed as uint64."""
    return seed & _LOW, seed >> _32


@njit(cache=True, nogil=True)
def philox_words(  # type: ignore[no-untyped-def]
    seed, stream, runs, day, first_agent, word, out
):
    """Fill `out` (runs, agents), uint32, with word `word` of block (agent, day, run, stream) under key `seed`.

    Parameters
    ----------
    seed, stream, day, first_agent, word
        uint64 scalars; `first_agent` is the agent word of column 0.
    runs
        Run numbers, uint64 (runs,).
    out
        uint32 (runs, agents), written.
    """
    k0, k1 = key_words(seed)
    for r in range(out.shape[0]):
        for a in range(out.shape[1]):
            c0, c1, c2, c3 = block(first_agent + np.uint64(a), day, runs[r], stream, k0, k1)
            if word == 0:
                out[r, a] = c0
            elif word == 1:
                out[r, a] = c1
            elif word == 2:
                out[r, a] = c2
            else:
                out[r, a] = c3


def new_words(runs: int, agents: int) -> NDArray[np.uint32]:
    """Return an uninitialised uint32 array (runs, agents) for `philox_words`."""
    return np.empty((runs, agents), np.uint32)
