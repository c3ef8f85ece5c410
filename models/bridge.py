"""Bridge: when a withdrawal arrives, what a quick exit costs, and what the escrow must equal.

Rule decided here: a withdrawal is in the first output that is published after it (one output every
interval, counted from midnight of day 0); its owner proves it against that output, and it can be
finalised once proof and output are more than the window old. OP Stack: a proof of exactly the window's
age is still refused, one second more is paid. The owner's own delay counts once for both of the manual
L1 transactions.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from models.exact import mul_div
from models.units import SECONDS_PER_DAY

Ints = NDArray[np.int64]

NOON = SECONDS_PER_DAY // 2
"""Second of the day until which a day's ordinary transactions count as made."""


def finalised_at(initiated: int, output_every: int, user_delay: int, window: int) -> int:
    """Return the first second in which a withdrawal can be paid on L1.

    Parameters
    ----------
    initiated
        Second in which it was initiated on L2, counted from midnight of day 0.
    output_every
        Seconds between two published outputs, at least 1.
    user_delay
        Seconds that the owner takes for the two L1 transactions.
    window
        Challenge window in seconds.

    Raises
    ------
    ValueError
        If the interval is below one second or another delay is negative.

    Examples
    --------
    >>> finalised_at(0, output_every=3_600, user_delay=0, window=604_800)
    608401
    """
    if output_every < 1 or min(initiated, user_delay, window) < 0:
        raise ValueError(
            f"output interval {output_every} s (1 or more), start {initiated} s, user delay {user_delay} s "
            f"and window {window} s (0 or more)"
        )
    published = (initiated // output_every + 1) * output_every
    return published + user_delay + window + 1


def withdrawal_days(
    window: Fraction | int, output_every: Fraction | int, user_delay: Fraction | int, day: int = 0
) -> int:
    """Return the days from a withdrawal made by noon to the day on which it is in the owner's L1 wallet.

    Parameters
    ----------
    window, output_every, user_delay
        As in `finalised_at`, in days; a part of a day must be a whole number of seconds.
    day
        Day of the withdrawal; it matters only where outputs are rarer than daily or do not divide a day.

    Raises
    ------
    ValueError
        If a delay is no whole number of seconds, or as `finalised_at` does.

    Examples
    --------
    A window of a week, daily outputs and one day of the owner's own; then hourly outputs and no delay:

    >>> withdrawal_days(7, 1, 1), withdrawal_days(7, Fraction(1, 24), 0)
    (9, 7)
    """
    seconds = [Fraction(days) * SECONDS_PER_DAY for days in (output_every, user_delay, window)]
    if any(value.denominator != 1 for value in seconds):
        raise ValueError(f"{window} d, {output_every} d, {user_delay} d: whole seconds are needed")
    output, delay, challenge = (int(value) for value in seconds)
    made = day * SECONDS_PER_DAY + NOON
    return finalised_at(made, output, delay, challenge) // SECONDS_PER_DAY - day


def fast_exit(amounts: Ints, numerator: int, denominator: int) -> tuple[Ints, Ints]:
    """Return what quick exits pay out and what the liquidity provider keeps.

    Parameters
    ----------
    amounts
        Ledger units given on L2, 0 or more, any shape.
    numerator, denominator
        The fee as an exact fraction from 0 to 1.

    Returns
    -------
    tuple of numpy.ndarray
        Paid out on L1, and the fee: floor(amount * numerator / denominator).

    Raises
    ------
    ValueError
        If the fraction is not between 0 and 1.

    Examples
    --------
    >>> paid, fee = fast_exit(np.array([1_000, 333]), 3, 1_000)
    >>> paid.tolist(), fee.tolist()
    ([997, 333], [3, 0])
    """
    if denominator < 1 or not 0 <= numerator <= denominator:
        raise ValueError(f"fee {numerator}/{denominator} is outside 0..1")
    fee, _ = mul_div(amounts, numerator, denominator)
    return np.asarray(amounts, dtype=np.int64) - fee, fee


def escrow_residual(
    escrow: Ints, l2_accounts: Ints, deposits_in_transit: Ints, withdrawals_in_transit: Ints, burned_l2: Ints
) -> Ints:
    """Return how far the escrow is from what it must hold; 0 everywhere in a sound ledger.

    Parameters
    ----------
    escrow
        Tokens locked on L1.
    l2_accounts
        Sum of all L2 accounts except the dead address.
    deposits_in_transit, withdrawals_in_transit
        Escrowed and not yet minted; burned on L2 and not yet paid.
    burned_l2
        What lies at the dead address of L2.

    Returns
    -------
    numpy.ndarray
        escrow - (l2 + deposits + withdrawals + burned.l2), in the shape of the inputs.

    Examples
    --------
    >>> int(escrow_residual(np.int64(10), np.int64(6), np.int64(1), np.int64(2), np.int64(1)))
    0
    """
    return np.asarray(escrow - (l2_accounts + deposits_in_transit + withdrawals_in_transit + burned_l2))
