"""Kernels of sums: integer for integer what numpy finds."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sim.kernels import sums


@given(st.integers(0, 2**32 - 1), st.integers(1, 19), st.integers(1, 150))
def test_an_audit_is_sum_least_and_weighted_sum_of_what_it_reads(seed, runs, agents):
    draw = np.random.default_rng(seed)
    holdings = draw.integers(-(10**12), 10**18 // agents, (4, runs, agents))
    holdings[draw.random(holdings.shape) < 0.5] = 0
    weights = draw.integers(-(2**62), 2**62, agents) * 2 + 1
    cuts = [np.sort(draw.integers(0, agents, 2, endpoint=True)) for _ in range(4)]
    # account 0 is read whole, 1 in two stretches, 2 not at all, 3 in one stretch that may be empty
    reads = [(0, 0, agents), (1, 0, cuts[1][0]), (1, cuts[1][1], agents), (3, *cuts[3])]
    read = np.zeros(holdings.shape, bool)
    for account, first, last in reads:
        read[account, :, first:last] = True
    found = [draw.integers(0, 9, (runs, 4)) for _ in range(3)]
    sums.audit(holdings, np.array(reads, np.int64), weights, *found)
    kept = np.where(read, holdings, 0)
    assert (found[0] == kept.sum(axis=2).T).all()
    assert (found[1] == np.minimum(kept.min(axis=2), 0).T).all()
    assert (found[2] == np.einsum("kra,a->rk", kept, weights)).all()
