"""Turnout: whose votes exist, who casts them, and which way.

Rule decided here. Votes are delegated tokens: what nobody delegated has none. A small core always votes
(the 90-9-1 rule of participation); everybody else votes by a logit in the logarithm of the voting power
relative to the median voter's, with log-odds added for having voted last time and for the salience of
the proposal; direct voters lose interest at a yearly rate, delegates leave for good at theirs. Sources
of the forms: the Uniswap and Compound figures for the logit, decay and attrition; Aave's participation
for the core. Which way: a voter follows its own payoff with noise (random utility), or the tendency on a
routine proposal.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.units import GWEI_PER_OPEN

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

UNDELEGATED = -1
"""Value of `delegate_to` of an agent whose tokens nobody may vote with."""
SELF = -2
"""Value of `delegate_to` of an agent that votes itself."""
BPS = 10_000
DAYS_PER_YEAR = 365.25


def voting_power(wrapped: Ints, delegate_to: NDArray[np.int32], first_delegate: int) -> Ints:
    """Return the votes that each agent can cast, exactly.

    Parameters
    ----------
    wrapped
        GOPEN of each agent in one run, int64 `(agents,)`.
    delegate_to
        `SELF`, `UNDELEGATED` or the index of a delegate, `(agents,)`.
    first_delegate
        Column of delegate 0 on the agent axis.

    Returns
    -------
    numpy.ndarray
        int64 `(agents,)`; the sum is what is delegated, and what is undelegated appears nowhere.

    Examples
    --------
    >>> voting_power(np.array([5, 7, 11, 1]), np.array([SELF, 0, UNDELEGATED, SELF], np.int32), 3).tolist()
    [5, 0, 0, 8]
    """
    power = np.where(delegate_to == SELF, wrapped, 0)
    given = np.flatnonzero((delegate_to >= 0) & (wrapped > 0))
    np.add.at(power, first_delegate + delegate_to[given], wrapped[given])
    return power


def logistic(log_odds: Floats) -> Floats:
    """Return 1 / (1 + exp(-x)), without overflow for any x.

    Examples
    --------
    >>> logistic(np.array([-1000.0, 0.0, 1000.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    small = np.exp(-np.abs(log_odds))
    return np.asarray(np.where(log_odds >= 0, 1.0, small) / (1.0 + small))


def yearly(rate: float, days: float) -> float:
    """Return what is left after `days` of a loss of `rate` per year, compounding.

    Examples
    --------
    >>> round(yearly(0.12, 365.25), 2)
    0.88
    """
    return float((1.0 - rate) ** (days / DAYS_PER_YEAR))


def leaves_on(draws: Floats, rate: float) -> Ints:
    """Return the day on which each delegate stops voting for good, from one uniform draw each.

    Parameters
    ----------
    draws
        Uniforms in (0, 1), any shape.
    rate
        Share of delegates that leaves in a year, 0 to 1.

    Returns
    -------
    numpy.ndarray
        Days from the start, exponential with the yearly rate, at most 2^31 - 1 ("never").

    Examples
    --------
    >>> leaves_on(np.array([0.5]), 0.5).tolist()
    [365]
    """
    never = 2**31 - 1
    if rate <= 0:
        return np.full(np.shape(draws), never, np.int64)
    if rate >= 1:
        return np.zeros(np.shape(draws), np.int64)
    days = np.log(draws) / np.log1p(-rate) * DAYS_PER_YEAR
    return np.asarray(np.minimum(days, never).astype(np.int64))


def delegate_choice(draws: Floats, count: int, exponent: float) -> NDArray[np.int32]:
    """Return which delegate each agent chooses: rank r with a weight of r^-exponent.

    Parameters
    ----------
    draws
        Uniforms in (0, 1), any shape.
    count
        Number of delegates, at least 1.
    exponent
        Concentration; 0 is an even choice, 1 Zipf's law.

    Returns
    -------
    numpy.ndarray
        int32 indices from 0, in the shape of `draws`.

    Raises
    ------
    ValueError
        If there are no delegates.

    Examples
    --------
    >>> delegate_choice(np.array([0.1, 0.7, 0.99]), 2, 1.0).tolist()
    [0, 1, 1]
    """
    if count < 1:
        raise ValueError("no delegate to choose from")
    weights = np.arange(1, count + 1, dtype=np.float64) ** -exponent
    edges = np.cumsum(weights) / weights.sum()
    rank = np.minimum(np.searchsorted(edges, draws, side="left"), count - 1)
    return np.asarray(rank.astype(np.int32))


def vote_probability(
    power: Ints,
    *,
    base: float,
    stake_slope: float,
    habit: float,
    voted_before: Flags,
    salience_slope: float,
    salience: Floats | float,
) -> Floats:
    """Return the chance that each voter outside the core votes, before decay.

    Parameters
    ----------
    power
        Votes that each agent can cast, int64 `(agents,)` or any other shape.
    base
        Log-odds of voting with one token's votes, without habit, on a proposal of no salience.
    stake_slope
        Log-odds per e-fold of voting power.
    habit
        Log-odds added for having voted on the proposal before.
    voted_before
        Who did, bool, in the shape of `power`.
    salience_slope, salience
        Log-odds added at salience 1, and the proposal's salience from 0 to 1, which broadcasts to that shape.

    Returns
    -------
    numpy.ndarray
        Probabilities in that shape, 0 for those without votes.

    Examples
    --------
    >>> args = dict(base=0.0, stake_slope=0.0, habit=0.0, salience_slope=0.0, salience=0.0)
    >>> vote_probability(np.array([0, 10**9]), voted_before=np.zeros(2, bool), **args).tolist()
    [0.0, 0.5]
    """
    has = power > 0
    tokens = np.log(np.maximum(power, 1) / GWEI_PER_OPEN)
    log_odds = base + stake_slope * tokens + habit * voted_before + salience_slope * salience
    return np.where(has, logistic(log_odds), 0.0)


def turns_out(probability: Floats, draws: Floats, core: Flags, interest: Floats | float) -> Flags:
    """Return who votes: the core, and whoever's draw is below its chance times its remaining interest.

    Parameters
    ----------
    probability
        As from `vote_probability`, `(agents,)` or any other shape; who has no votes has 0.
    draws
        Uniforms in that shape.
    core
        Who belongs to the core.
    interest
        Part of the first day's interest that is left, 0 for a delegate that left.

    Examples
    --------
    >>> core = np.array([True, False, False])
    >>> turns_out(np.array([0.1, 0.4, 0.4]), np.array([0.9, 0.3, 0.3]), core, np.array([1, 1, 0])).tolist()
    [True, True, False]
    """
    return np.asarray((probability > 0) & (core | (draws < probability * interest)))


def in_favour(payoff_percent: Floats, noise_percent: float, draws: Floats) -> Flags:
    """Return who finds a proposal good for itself: payoff plus logistic noise is positive.

    Parameters
    ----------
    payoff_percent
        Change of the voter's own value if the proposal executes, in percent.
    noise_percent
        Scale of what else moves a voter, in the same unit; 0 votes by payoff alone and refuses a payoff of 0.
    draws
        Uniforms of the payoff's shape.

    Examples
    --------
    >>> in_favour(np.array([0.5, -0.5]), 0.5, np.array([0.5, 0.5])).tolist()
    [True, False]
    """
    if noise_percent <= 0:
        return np.asarray(payoff_percent > 0)
    return np.asarray(draws < logistic(np.asarray(payoff_percent) / noise_percent))


def capture_votes(supply: Ints, quorum_bps: Ints, usual_votes: Ints) -> Ints:
    """Return how many new votes reach quorum and win alone against all that usually vote.

    Parameters
    ----------
    supply
        GOPEN supply `(runs,)`; what an attacker wraps is added to it.
    quorum_bps
        Quorum in basis points of the supply, below 10,000.
    usual_votes
        Votes cast last time, all taken to be Against, `(runs,)`.

    Returns
    -------
    numpy.ndarray
        The least x with x >= quorum of (supply + x) and x > usual votes, `(runs,)`; -1 where the quorum is
        the whole supply.

    Examples
    --------
    >>> capture_votes(np.array([950, 950]), np.array([500, 500]), np.array([0, 80])).tolist()
    [50, 81]
    """
    rest = BPS - quorum_bps
    whole, part = np.divmod(supply, np.maximum(rest, 1))
    quorum = whole * quorum_bps + -(-part * quorum_bps // np.maximum(rest, 1))
    return np.where(rest > 0, np.maximum(quorum, usual_votes + 1), -1)
