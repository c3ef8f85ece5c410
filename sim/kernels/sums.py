"""Sums of the ledger's agent accounts.

Rule decided here: what an account holds, its least element below 0 and its weighted sum are found in one pass over
memory, from the balances alone and from nothing that the ledger keeps beside them; the reference is numpy's `sum`,
`min` and `World.checksum_of_holdings`. A stretch of columns counts as if every other element of its row were 0.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _eight(a, b, c, d, e, f, g, h, weights):  # type: ignore[no-untyped-def]
    """Return sums and weighted sums of eight rows, and bits that are a number below 0 where some element is.

    What one row waits for, another fills: memory has eight streams to fetch ahead, which short rows need most.
    """
    sa = sb = sc = sd = se = sf = sg = sh = wa = wb = wc = wd = we = wf = wg = wh = bits = np.int64(0)
    for i in range(weights.size):
        weight = weights[i]
        ha, hb, hc, hd, he, hf, hg, hh = a[i], b[i], c[i], d[i], e[i], f[i], g[i], h[i]
        bits |= ha | hb | hc | hd | he | hf | hg | hh
        sa, sb, sc, sd = sa + ha, sb + hb, sc + hc, sd + hd
        se, sf, sg, sh = se + he, sf + hf, sg + hg, sh + hh
        wa, wb, wc, wd = wa + ha * weight, wb + hb * weight, wc + hc * weight, wd + hd * weight
        we, wf, wg, wh = we + he * weight, wf + hf * weight, wg + hg * weight, wh + hh * weight
    return (sa, sb, sc, sd, se, sf, sg, sh), (wa, wb, wc, wd, we, wf, wg, wh), bits


@njit(cache=True, nogil=True)
def _one(row, weights):  # type: ignore[no-untyped-def]
    total = weighted = bits = np.int64(0)
    for i in range(weights.size):
        total += row[i]
        weighted += row[i] * weights[i]
        bits |= row[i]
    return total, weighted, bits


@njit(cache=True, nogil=True)
def audit(holdings, stretches, weights, totals, least, weighted):  # type: ignore[no-untyped-def]
    """Sum, least element and weighted sum of each (account, run) row, from one reading of what agents hold.

    Parameters
    ----------
    holdings
        int64 (accounts, runs, agents).
    stretches
        What is read: account, first column and the one after the last, int64 (stretches, 3).
    weights
        int64 (agents,).
    totals, least
        int64 (runs, accounts), written; the least element is 0 where none is below.
    weighted
        Sums of holdings times weights modulo 2^64, int64 (runs, accounts), written.
    """
    totals[:], least[:], weighted[:] = 0, 0, 0
    runs = holdings.shape[1]
    whole = runs - runs % 8
    for k, first, last in stretches:
        own = slice(first, last)
        held, weight = holdings[k], weights[own]
        for r in range(0, whole, 8):
            sums, products, bits = _eight(
                held[r, own], held[r + 1, own], held[r + 2, own], held[r + 3, own],
                held[r + 4, own], held[r + 5, own], held[r + 6, own], held[r + 7, own], weight,
            )  # fmt: skip
            for i in range(8):
                totals[r + i, k] += sums[i]
                weighted[r + i, k] += products[i]
                if bits < 0:  # nobody owes on any day that does not stop the run
                    least[r + i, k] = min(least[r + i, k], held[r + i, own].min())
        for r in range(whole, runs):
            total, product, bits = _one(held[r, own], weight)
            totals[r, k] += total
            weighted[r, k] += product
            if bits < 0:
                least[r, k] = min(least[r, k], held[r, own].min())
