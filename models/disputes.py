"""Disputes: when published weights are challenged, who is right, and who pays for it.

Rules decided here. Whoever puts up a bond within the window after publication may ask for one request to be computed
again, with the same seeds. The publisher is wrong if published and recomputed weights differ, in total variation, by
more than the tolerance: then the bond goes back and a part of the publisher's stake is slashed, a share of it to the
challenger and the rest to the treasury. Otherwise the bond is the publisher's. Nothing appears or is lost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.attribution import WHOLE, Ints, slashed

BPS = 10_000


@dataclass(frozen=True, slots=True)
class DisputeTerms:
    """Terms of disputes (``weights_dispute.v1``).

    Parameters
    ----------
    bond_gwei
        What a challenger puts up.
    window_s
        Seconds after publication in which a dispute may be opened.
    tolerance
        Largest total variation that is no offence, of 10^9.
    slash_bps
        Part of the publisher's stake that an offence costs.
    reward_bps
        Part of the slash that the challenger gets.
    """

    bond_gwei: int
    window_s: int
    tolerance: int
    slash_bps: int
    reward_bps: int

    def __post_init__(self) -> None:
        if min(self.bond_gwei, self.window_s) < 0 or not 0 <= self.tolerance <= WHOLE:
            raise ValueError(f"{self}: bond and window 0 or more, tolerance 0 to {WHOLE}")
        if not (0 <= self.slash_bps <= BPS and 0 <= self.reward_bps <= BPS):
            raise ValueError(f"{self}: shares are 0 to {BPS} bps")

    def admits(self, published_s: int, opened_s: int) -> bool:
        """Return whether a dispute that is opened then is in time."""
        return published_s <= opened_s <= published_s + self.window_s


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who was right, and what moves; bond + slash = challenger + publisher + treasury.

    Parameters
    ----------
    guilty
        Whether the publisher was wrong.
    variation
        Total variation of the two sets of weights, of 10^9.
    slashed_gwei
        Taken from the publisher's stake.
    challenger_gwei, publisher_gwei, treasury_gwei
        What each gets, of bond and slash.
    """

    guilty: bool
    variation: int
    slashed_gwei: int
    challenger_gwei: int
    publisher_gwei: int
    treasury_gwei: int


def total_variation(published: Ints, recomputed: Ints) -> int:
    """Return half the sum of the differences of two sets of weights, rounded up, of 10^9.

    Examples
    --------
    >>> total_variation(np.array([600_000_000, 400_000_000]), np.array([500_000_000, 500_000_000]))
    100000000
    """
    return -(-int(np.abs(np.asarray(published, np.int64) - np.asarray(recomputed, np.int64)).sum()) // 2)


def decide(terms: DisputeTerms, published: Ints, recomputed: Ints, stake_gwei: int) -> Verdict:
    """Decide a dispute that was opened in time.

    Parameters
    ----------
    terms
        Its terms.
    published, recomputed
        Weights of the same data, int64 `(data,)`, residual among them: both sum to 10^9.
    stake_gwei
        Stake of the publisher.

    Raises
    ------
    ValueError
        If weights do not sum to 10^9 or are of different data.
    """
    if np.shape(published) != np.shape(recomputed):
        raise ValueError(
            f"weights of {np.shape(published)} and of {np.shape(recomputed)} data cannot be compared"
        )
    for name, weights in (("published", published), ("recomputed", recomputed)):
        if int(np.sum(weights)) != WHOLE or np.min(weights) < 0:
            raise ValueError(
                f"{name} weights must be 0 or more and sum to {WHOLE}, not {int(np.sum(weights))}"
            )
    variation = total_variation(published, recomputed)
    if variation <= terms.tolerance:
        return Verdict(False, variation, 0, 0, terms.bond_gwei, 0)
    part = slashed(np.array([[stake_gwei]]), np.array([terms.slash_bps]), np.array([[True]]))
    taken = int(part[0, 0])
    reward = int(slashed(part, np.array([terms.reward_bps]), np.array([[True]]))[0, 0])
    return Verdict(True, variation, taken, terms.bond_gwei + reward, 0, taken - reward)
