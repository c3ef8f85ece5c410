"""Blocks of agents: what lets a kernel pass over agents to whom nothing happens.

Rule decided here: the agent axis is read in blocks of eight lines of cache; a block whose elements are all 0 is found
in a few vector instructions and skipped. Loops run over slices from 0, because only where no index can be negative does
the compiler use vector instructions (six times as fast).
"""

from __future__ import annotations

import numpy as np
from numba import njit

BLOCK = 64
"""Agents of a block."""


@njit(cache=True, nogil=True)
def is_empty(row, first, last):  # type: ignore[no-untyped-def]
    """Whether the int64 elements from `first` up to `last` are all 0."""
    block, bits = row[first:last], np.int64(0)
    for i in range(block.size):
        bits |= block[i]
    return bits == 0
