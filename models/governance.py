"""Governance as OpenZeppelin Governor 5 counts it, on a clock of timestamps.

Rule decided here: votes and supply are read at the snapshot, which is the end of the voting delay; the
deadline is the end of the period and still belongs to it; For and Abstain count toward the quorum, which is
a floor of GOPEN's total supply and therefore includes tokens that nobody delegated; a proposal succeeds
with For > Against, so a tie is Defeated. Mirrors `Governor.state`, `GovernorCountingSimple`,
`GovernorVotesQuorumFraction` and `TimelockController` of OpenZeppelin Contracts 5.

The chain takes its floor in wei, the ledger counts gwei. A quorum with a part of a gwei is not reached by
its gwei floor, so `quorum_reached` compares in the chain's unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from models.units import WEI_PER_GWEI

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


class ProposalState(IntEnum):
    """States of a proposal with the numbers that the contract returns."""

    PENDING = 0
    ACTIVE = 1
    CANCELED = 2
    DEFEATED = 3
    SUCCEEDED = 4
    QUEUED = 5
    EXPIRED = 6
    EXECUTED = 7


@dataclass(frozen=True, slots=True)
class Timetable:
    """Timestamps of a proposal, in seconds.

    Parameters
    ----------
    snapshot
        Votes and supply are read here; voting opens one second later.
    deadline
        Last second in which a vote counts.
    """

    snapshot: int
    deadline: int

    @classmethod
    def build(cls, proposed: int, delay: int, period: int) -> Timetable:
        """Return the timetable of a proposal.

        Parameters
        ----------
        proposed
            Timestamp of the proposal.
        delay, period
            Voting delay and voting period in seconds; the period is at least 1.

        Raises
        ------
        ValueError
            If the delay is negative or the period is below one second.

        Examples
        --------
        >>> Timetable.build(proposed=1000, delay=86_400, period=604_800)
        Timetable(snapshot=87400, deadline=692200)
        """
        if delay < 0 or period < 1:
            raise ValueError(f"delay {delay} s and period {period} s: delay is 0 or more, period 1 or more")
        return cls(proposed + delay, proposed + delay + period)

    def earliest_execution(self, timelock: int) -> int:
        """Return the first second in which the proposal can be executed if it is queued at once.

        The proposal succeeds one second after its deadline, and the timelock counts from the queueing.
        """
        return self.deadline + 1 + timelock


def may_propose(votes: int, threshold: int) -> bool:
    """Return whether an account with `votes` (one second before) may propose: votes >= threshold."""
    return votes >= threshold


def quorum(supply: int, numerator: int, denominator: int = 100) -> int:
    """Return the quorum in the unit of `supply`, as the contract floors it.

    Parameters
    ----------
    supply
        GOPEN total supply at the snapshot, delegated or not.
    numerator, denominator
        The quorum's fraction, 0 <= numerator <= denominator.

    Raises
    ------
    ValueError
        If the fraction is not between 0 and 1.

    Examples
    --------
    >>> quorum(1_000_000, 5)
    50000
    """
    _check_fraction(numerator, numerator, denominator)
    return supply * numerator // denominator


def quorum_reached(
    counted: Ints | int,
    supply: Ints | int,
    numerator: Ints | int,
    denominator: int = 100,
    unit: int = WEI_PER_GWEI,
) -> Flags:
    """Return where the counted votes reach the quorum on chain, exactly, element by element.

    Parameters
    ----------
    counted
        For + Abstain, in ledger units; shapes broadcast, such as `(runs,)` or `(runs, proposals)`.
    supply
        GOPEN total supply at the snapshot, in ledger units.
    numerator, denominator
        The quorum's fraction.
    unit
        Chain units in a ledger unit: the contract floors the quorum in chain units.

    Returns
    -------
    numpy.ndarray
        True where `counted * unit >= floor(supply * unit * numerator / denominator)`.

    Examples
    --------
    >>> quorum_reached(np.array([0, 1]), 19, 5).tolist()
    [False, True]
    """
    counted, supply, numerator = (np.asarray(value, dtype=np.int64) for value in (counted, supply, numerator))
    _check_fraction(int(numerator.min(initial=0)), int(numerator.max(initial=0)), denominator)
    if denominator > 2**31 or unit * denominator > 2**62:
        most = min(2**31, 2**62 // unit)
        raise ValueError(f"denominator {denominator} is too large; at most {most} is allowed")
    whole, rest = np.divmod(supply, denominator)
    floor = whole * numerator + rest * numerator // denominator
    remainder = rest * numerator % denominator
    return np.asarray((counted > floor) | ((counted == floor) & (remainder * unit < denominator)))


def succeeded(for_votes: Ints | int, against_votes: Ints | int) -> Flags:
    """Return where For beats Against; a tie does not.

    Examples
    --------
    >>> succeeded(np.array([2, 2]), np.array([1, 2])).tolist()
    [True, False]
    """
    return np.asarray(np.asarray(for_votes) > np.asarray(against_votes))


def counted_votes(for_votes: Ints, against_votes: Ints, abstain_votes: Ints, counts: tuple[str, ...]) -> Ints:
    """Return the votes that count toward the quorum.

    Parameters
    ----------
    for_votes, against_votes, abstain_votes
        Votes cast in ledger units, any one shape.
    counts
        Which of ``for``, ``against``, ``abstain`` count; OpenZeppelin's rule is ``("for", "abstain")``.

    Raises
    ------
    ValueError
        If `counts` names anything else.
    """
    cast = {"for": for_votes, "against": against_votes, "abstain": abstain_votes}
    unknown = sorted(set(counts) - set(cast))
    if unknown:
        raise ValueError(f"quorum counts '{unknown[0]}'; expected for, against or abstain")
    total = np.zeros_like(np.asarray(for_votes, dtype=np.int64))
    for name in sorted(set(counts)):
        total = total + cast[name]
    return total


def state(
    now: int,
    timetable: Timetable,
    *,
    passed: bool,
    eta: int = 0,
    canceled: bool = False,
    executed: bool = False,
    grace: int | None = None,
) -> ProposalState:
    """Return the state of one proposal.

    Parameters
    ----------
    now
        Timestamp in seconds.
    timetable
        Snapshot and deadline.
    passed
        Whether quorum is reached and For beats Against; read only after the deadline.
    eta
        Timestamp from which the queued proposal can be executed, or 0 while it is not queued.
    canceled, executed
        Whether it has been canceled or executed; executed wins.
    grace
        Seconds after `eta` in which it must be executed, or None where the timelock knows no expiry, as in
        `GovernorTimelockControl`.

    Returns
    -------
    ProposalState
        The contract's state.

    Examples
    --------
    >>> week = Timetable(snapshot=100, deadline=200)
    >>> [state(t, week, passed=True).name for t in (100, 101, 200, 201)]
    ['PENDING', 'ACTIVE', 'ACTIVE', 'SUCCEEDED']
    """
    flags = (np.asarray(value) for value in (passed, canceled, executed))
    times = (np.asarray(value) for value in (now, timetable.snapshot, timetable.deadline))
    return ProposalState(int(states(*times, *flags, eta=np.asarray(eta), grace=grace)))


def states(
    now: Ints,
    snapshot: Ints,
    deadline: Ints,
    passed: Flags,
    canceled: Flags,
    executed: Flags,
    *,
    eta: Ints,
    grace: int | None = None,
) -> Ints:
    """Return the states of many proposals; the parameters are those of `state` with shapes that broadcast.

    Returns
    -------
    numpy.ndarray
        Numbers of `ProposalState`, usually `(runs, proposals)`.
    """
    late = np.zeros_like(eta, dtype=np.bool_) if grace is None else np.asarray(now >= eta + grace)
    conditions = [executed, canceled, now <= snapshot, now <= deadline, ~passed, eta == 0, late]
    names = ["EXECUTED", "CANCELED", "PENDING", "ACTIVE", "DEFEATED", "SUCCEEDED", "EXPIRED"]
    values = [np.int64(ProposalState[name]) for name in names]
    return np.select([np.asarray(c) for c in conditions], values, default=np.int64(ProposalState.QUEUED))


def executable(now: Ints | int, eta: Ints | int) -> Flags:
    """Return where a queued proposal's timelock has run out: `eta` is set and not after `now`."""
    return np.asarray((np.asarray(eta) > 0) & (np.asarray(eta) <= np.asarray(now)))


def _check_fraction(least: int, most: int, denominator: int) -> None:
    if denominator < 1 or not 0 <= least <= most <= denominator:
        shown = least if least < 0 else most
        raise ValueError(f"quorum {shown}/{denominator} is outside 0..1")
