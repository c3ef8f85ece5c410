"""Moves of money between accounts of agents: one pass over memory for each side of a move.

Rule decided here: an amount is surveyed first (sign, sums by class, no sum beyond int64), then every side is one pass
that applies it and brings the weighted sums up to date. What all agents of a class pay is taken in the same pass, so
that it is read from memory once, and given back where it is refused. Blocks of agents who receive nothing are
skipped. What few agents pay or receive comes as a list (`sim/kernels/moves_of_few.py`). The reference is the same in
numpy (`tests/property/test_ledger_kernels.py`).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sim.kernels.blocks import BLOCK, is_empty

NOTHING, SOMETHING, NEGATIVE, TOO_MUCH, OUTSIDE = 0, 1, 2, 3, 4
"""What a survey finds: nothing to move, something, an amount below 0, a sum that int64 cannot hold, or an agent of
another class."""

_HALF = 32
_LOW = 2**_HALF - 1
_TOO_HIGH = 2**31


@njit(cache=True, nogil=True)
def _found(signs, high, low, whole):  # type: ignore[no-untyped-def]
    """Return what a class's amounts are, from all their bits, their halves' sums and the run's sum up to the class."""
    if signs < 0:
        return NEGATIVE
    if high + (low >> _HALF) >= _TOO_HIGH or whole < 0:
        return TOO_MUCH
    return SOMETHING if whole else NOTHING


@njit(cache=True, nogil=True)
def survey(amount, bounds, sums, per_run):  # type: ignore[no-untyped-def]
    """Sum amounts by class, and say what they are.

    Parameters
    ----------
    amount
        int64 (runs, agents of the classes), gwei.
    bounds
        First column of each class, and the number of columns, int64 (classes + 1,).
    sums
        int64 (classes, runs), written.
    per_run
        Sums over classes, int64 (runs,), written.

    Returns
    -------
    int
        `NOTHING`, `SOMETHING`, `NEGATIVE` or `TOO_MUCH`.
    """
    found = NOTHING
    for r in range(amount.shape[0]):
        row, whole = amount[r], np.int64(0)
        for c in range(bounds.size - 1):
            part, signs, high, low = row[bounds[c] : bounds[c + 1]], np.int64(0), np.int64(0), np.int64(0)
            for i in range(part.size):
                signs |= part[i]
                high += part[i] >> _HALF
                low += part[i] & _LOW
            sums[c, r] = (high << _HALF) + low
            whole += sums[c, r]
            found = max(found, _found(signs, high, low, whole))
            if found > SOMETHING:
                return found
        per_run[r] = whole
    return found


@njit(cache=True, nogil=True)
def survey_runs(amount):  # type: ignore[no-untyped-def]
    """Say what amounts between accounts of the world are, int64 (runs,), as `survey` does."""
    found = NOTHING
    for r in range(amount.size):
        if amount[r] < 0:
            return NEGATIVE
        if amount[r]:
            found = SOMETHING
    return found


@njit(cache=True, nogil=True)
def _debit_row(held, amount, weights, bounds, r, sums, per_run):  # type: ignore[no-untyped-def]
    """Survey a run's amounts while they are taken; amounts that are refused are given back."""
    least = weighted = whole = np.int64(0)
    found = NOTHING
    for c in range(bounds.size - 1):
        first, last = bounds[c], bounds[c + 1]
        own, paid, weight = held[first:last], amount[first:last], weights[first:last]
        signs = high = low = np.int64(0)
        for i in range(paid.size):
            pay = paid[i]
            left = own[i] - pay
            own[i] = left
            least = min(least, left)
            weighted += pay * weight[i]
            signs |= pay
            high += pay >> _HALF
            low += pay & _LOW
        sums[c, r] = (high << _HALF) + low
        whole += sums[c, r]
        found = _found(signs, high, low, whole)
        if found > SOMETHING:
            for i in range(last):
                held[i] += amount[i]
            break
    per_run[r] = whole
    return found, least, weighted


@njit(cache=True, nogil=True)
def debit(  # type: ignore[no-untyped-def]
    holdings, account, start, step, amount, weights, checksum, book, is_booked, bounds, sums, per_run
):
    """Survey amounts and take them from agents in one pass.

    Parameters
    ----------
    holdings
        int64 (accounts, runs, agents), changed in `account`.
    account, start, step
        Number of the account, and which columns `amount` speaks of.
    amount
        int64 (runs, those agents).
    weights
        int64 (agents,).
    checksum
        Weighted sums modulo 2^64, int64 (runs, accounts), changed.
    book
        int64 (runs, agents), changed as the account is where `is_booked`.
    is_booked
        Whether there is a book that changes with the account.
    bounds, sums, per_run
        As in `survey`.

    Returns
    -------
    tuple of int
        What `survey` finds, and the first row in which an agent holds less than it pays, or -1. Rows from the first
        on whose amounts are refused are left as they were.
    """
    found, short, stop = NOTHING, -1, start + step * amount.shape[1]
    for r in range(amount.shape[0]):
        if step == 1:
            kind, least, weighted = _debit_row(
                holdings[account, r, start:stop], amount[r], weights[start:stop], bounds, r, sums, per_run
            )
        else:
            kind, least, weighted = _debit_row(
                holdings[account, r, start:stop:step], amount[r], weights[start:stop:step], bounds, r, sums, per_run
            )  # fmt: skip
        found = max(found, kind)
        if found > SOMETHING:
            break
        checksum[r, account] -= weighted
        if least < 0 and short < 0:
            short = r
        if is_booked:
            own, paid = book[r, start:stop:step], amount[r]
            for i in range(paid.size):
                own[i] -= paid[i]
    return found, short


@njit(cache=True, nogil=True)
def _credit_row(held, amount, weights, book, is_booked):  # type: ignore[no-untyped-def]
    weighted = np.int64(0)
    for first in range(0, amount.size, BLOCK):
        last = min(first + BLOCK, amount.size)
        if is_empty(amount, first, last):
            continue
        own, given, weight = held[first:last], amount[first:last], weights[first:last]
        for i in range(given.size):
            own[i] += given[i]
            weighted += given[i] * weight[i]
        if is_booked:
            booked = book[first:last]
            for i in range(given.size):
                booked[i] += given[i]
    return weighted


@njit(cache=True, nogil=True)
def credit(  # type: ignore[no-untyped-def]
    holdings, account, start, step, amount, weights, checksum, book, is_booked
):
    """Give amounts that were surveyed to agents; parameters are those of `debit`."""
    stop = start + step * amount.shape[1]
    for r in range(amount.shape[0]):
        if step == 1:
            checksum[r, account] += _credit_row(
                holdings[account, r, start:stop], amount[r], weights[start:stop], book[r, start:stop], is_booked
            )  # fmt: skip
        else:
            checksum[r, account] += _credit_row(
                holdings[account, r, start:stop:step], amount[r], weights[start:stop:step],
                book[r, start:stop:step], is_booked,
            )  # fmt: skip


@njit(cache=True, nogil=True)
def debit_runs(balances, account, amount):  # type: ignore[no-untyped-def]
    """Take amounts from an account of the world; returns the first row in which it is short, or -1.

    Parameters
    ----------
    balances
        int64 (runs, accounts), changed in column `account`.
    account
        Number of the account.
    amount
        int64 (runs,), 0 or more.
    """
    short = -1
    for r in range(amount.size):
        balances[r, account] -= amount[r]
        if balances[r, account] < 0 and short < 0:
            short = r
    return short


@njit(cache=True, nogil=True)
def book(sources, source, targets, target, amount):  # type: ignore[no-untyped-def]
    """Write into the books what two accounts should hold after a move.

    Parameters
    ----------
    sources, targets
        Books of the paying and of the receiving account, int64 (runs, accounts), changed.
    source, target
        Numbers of the accounts; -1 for a source that is none.
    amount
        int64 (runs,).
    """
    for r in range(amount.size):
        if source >= 0:
            sources[r, source] -= amount[r]
        targets[r, target] += amount[r]
