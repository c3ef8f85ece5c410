"""Moves of money between accounts of agents: one pass over memory for each side of a move.

Rule decided here: an amount is surveyed first (sign, sums by class, no sum beyond int64), then every side is one pass
that applies it and brings the weighted sums up to date. Blocks of agents to whom nothing happens are skipped, because
on most days most agents do nothing. Few agents' amounts come as a list of flat indices into (runs, agents). The
reference is the same in numpy (`tests/property/test_ledger_kernels.py`).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sim.kernels.blocks import BLOCK, is_empty

NOTHING, SOMETHING, NEGATIVE, TOO_MUCH = 0, 1, 2, 3
"""What a survey finds: nothing to move, something, an amount below 0, or a sum that int64 cannot hold."""

_HALF = 32
_LOW = 2**_HALF - 1
_TOO_HIGH = 2**31


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
        row = amount[r]
        whole = np.int64(0)
        for c in range(bounds.size - 1):
            part, signs, high, low = row[bounds[c] : bounds[c + 1]], np.int64(0), np.int64(0), np.int64(0)
            for i in range(part.size):
                signs |= part[i]
                high += part[i] >> _HALF
                low += part[i] & _LOW
            if signs < 0:
                return NEGATIVE
            if high + (low >> _HALF) >= _TOO_HIGH:
                return TOO_MUCH
            sums[c, r] = (high << _HALF) + low
            whole += sums[c, r]
            if whole < 0:
                return TOO_MUCH
        per_run[r] = whole
        if whole:
            found = SOMETHING
    return found


@njit(cache=True, nogil=True)
def survey_some(where, amounts, class_of, sums, per_run):  # type: ignore[no-untyped-def]
    """Sum few agents' amounts by class, and say what they are, as `survey` does.

    Parameters
    ----------
    where
        Flat index of each amount into (runs, agents), int64 (entries,).
    amounts
        int64 (entries,), gwei.
    class_of
        Class number of each column, int64 (agents,).
    sums
        int64 (classes, runs), zeros, written.
    per_run
        Sums over classes, int64 (runs,), written.
    """
    agents, found = class_of.size, NOTHING
    r = first = np.int64(0)
    for i in range(where.size):
        if where[i] < first or where[i] >= first + agents:  # division is slow, and most lists rise
            r = where[i] // agents
            first = r * agents
        c = class_of[where[i] - first]
        if amounts[i] < 0:
            return NEGATIVE
        sums[c, r] += amounts[i]
        if sums[c, r] < 0:
            return TOO_MUCH
        if amounts[i]:
            found = SOMETHING
    for row in range(sums.shape[1]):
        whole = np.int64(0)
        for k in range(sums.shape[0]):
            whole += sums[k, row]
            if whole < 0:
                return TOO_MUCH
        per_run[row] = whole
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
def _debit_row(held, amount, weights):  # type: ignore[no-untyped-def]
    least = weighted = np.int64(0)
    for first in range(0, amount.size, BLOCK):
        last = min(first + BLOCK, amount.size)
        if is_empty(amount, first, last):
            continue
        own, paid, weight = held[first:last], amount[first:last], weights[first:last]
        for i in range(paid.size):
            left = own[i] - paid[i]
            own[i] = left
            least = min(least, left)
            weighted += paid[i] * weight[i]
    return least, weighted


@njit(cache=True, nogil=True)
def debit(holdings, account, start, step, amount, weights, checksum):  # type: ignore[no-untyped-def]
    """Take amounts from agents.

    Parameters
    ----------
    holdings
        int64 (accounts, runs, agents), changed in `account`.
    account, start, step
        Number of the account, and which columns `amount` speaks of.
    amount
        int64 (runs, those agents), 0 or more.
    weights
        int64 (agents,).
    checksum
        Weighted sums modulo 2^64, int64 (runs, accounts), changed.

    Returns
    -------
    int
        First row in which an agent holds less than it pays, or -1.
    """
    short, stop = -1, start + step * amount.shape[1]
    for r in range(amount.shape[0]):
        if step == 1:
            least, weighted = _debit_row(holdings[account, r, start:stop], amount[r], weights[start:stop])
        else:
            least, weighted = _debit_row(
                holdings[account, r, start:stop:step], amount[r], weights[start:stop:step]
            )
        checksum[r, account] -= weighted
        if least < 0 and short < 0:
            short = r
    return short


@njit(cache=True, nogil=True)
def _credit_row(held, amount, weights, income, is_income):  # type: ignore[no-untyped-def]
    weighted = np.int64(0)
    for first in range(0, amount.size, BLOCK):
        last = min(first + BLOCK, amount.size)
        if is_empty(amount, first, last):
            continue
        own, given, weight = held[first:last], amount[first:last], weights[first:last]
        for i in range(given.size):
            own[i] += given[i]
            weighted += given[i] * weight[i]
        if is_income:
            earned = income[first:last]
            for i in range(given.size):
                earned[i] += given[i]
    return weighted


@njit(cache=True, nogil=True)
def credit(  # type: ignore[no-untyped-def]
    holdings, account, start, step, amount, weights, checksum, income, is_income
):
    """Give amounts to agents; parameters are those of `debit`.

    Parameters
    ----------
    income
        int64 (runs, agents), changed where `is_income`.
    is_income
        Whether the flow is income of those who receive.
    """
    stop = start + step * amount.shape[1]
    for r in range(amount.shape[0]):
        if step == 1:
            checksum[r, account] += _credit_row(
                holdings[account, r, start:stop], amount[r], weights[start:stop], income[r, start:stop], is_income
            )  # fmt: skip
        else:
            checksum[r, account] += _credit_row(
                holdings[account, r, start:stop:step], amount[r], weights[start:stop:step],
                income[r, start:stop:step], is_income,
            )  # fmt: skip


@njit(cache=True, nogil=True)
def debit_some(holdings, account, where, amounts, weights, checksum):  # type: ignore[no-untyped-def]
    """Take amounts from few agents, as `debit` does; `where` and `amounts` are those of `survey_some`."""
    agents, short = weights.size, np.int64(-1)
    r = first = np.int64(0)
    for i in range(where.size):
        if where[i] < first or where[i] >= first + agents:
            r = where[i] // agents
            first = r * agents
        a = where[i] - first
        holdings[account, r, a] -= amounts[i]
        checksum[r, account] -= amounts[i] * weights[a]
        if holdings[account, r, a] < 0 and (short < 0 or r < short):
            short = r
    return short


@njit(cache=True, nogil=True)
def credit_some(  # type: ignore[no-untyped-def]
    holdings, account, where, amounts, weights, checksum, income, is_income
):
    """Give amounts to few agents, as `credit` does; `where` and `amounts` are those of `survey_some`."""
    agents = weights.size
    r = first = np.int64(0)
    for i in range(where.size):
        if where[i] < first or where[i] >= first + agents:
            r = where[i] // agents
            first = r * agents
        a = where[i] - first
        holdings[account, r, a] += amounts[i]
        checksum[r, account] += amounts[i] * weights[a]
        if is_income:
            income[r, a] += amounts[i]


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
