"""How votes come about: the Governor's parameters, who delegates, who turns out.

Rule decided here: the shape and units of governance. Quorum counts and clock follow the contract.
"""

from __future__ import annotations

from sim.scenario.fields import DurationP, NumberP, PositiveP, QuorumP, Section, ShareP, VotesP, YearlyRateP


class Turnout(Section):
    """Who turns out: a constant core, and a logit in the log of the votes held.

    Parameters
    ----------
    core
        Part of agents that always vote.
    base
        Log-odds of voting at one token.
    stake_slope
        Log-odds per e-fold of votes.
    habit
        Log-odds of having voted last time.
    salience_slope
        Log-odds per unit of a proposal's salience.
    decay
        Yearly loss of turnout.
    """

    core: ShareP
    base: NumberP
    stake_slope: NumberP
    habit: NumberP
    salience_slope: NumberP
    decay: YearlyRateP


class Delegation(Section):
    """Who delegates, and to whom.

    Parameters
    ----------
    small, large
        Part of holders that delegate, under and over `large_from`.
    large_from
        Share of all holders' tokens from which a holder is large.
    votes_itself
        Part of those who delegate that delegate to themselves.
    concentration
        Zipf exponent of the choice among delegates.
    """

    small: ShareP
    large: ShareP
    large_from: ShareP
    votes_itself: ShareP
    concentration: PositiveP


class Routine(Section):
    """Proposals that change nothing but keep voters busy.

    Parameters
    ----------
    support
        Part of them that voters tend to support.
    consensus
        Part of voters that follow the tendency.
    """

    support: ShareP
    consensus: ShareP


class Governance(Section):
    """The Governor's parameters, delegation and turnout."""

    threshold: VotesP
    delay: DurationP
    period: DurationP
    quorum: QuorumP
    timelock: DurationP
    proposals_per_month: PositiveP
    delegation: Delegation
    routine: Routine
    turnout: Turnout
