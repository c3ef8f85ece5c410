"""Governance: vectorised quorum and states against the contract's arithmetic in Python integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.governance import ProposalState, Timetable, quorum, quorum_reached, state, states

CAP = 10**18
WEI = 10**9


@st.composite
def tallies(draw):
    """Supply, fraction and a vote count at the boundary or anywhere."""
    denominator = draw(st.sampled_from([100, 10_000, 3, 7, 10**9]))
    numerator = draw(st.integers(0, denominator))
    supply = draw(st.one_of(st.integers(0, 60), st.integers(0, CAP), st.just(CAP)))
    edge = supply * WEI * numerator // denominator // WEI
    votes = draw(st.one_of(st.integers(0, CAP), st.sampled_from([edge - 1, edge, edge + 1])))
    return max(votes, 0), supply, numerator, denominator


@settings(max_examples=400, deadline=None)
@given(tallies())
def test_quorum_is_the_contracts_in_wei(tally):
    votes, supply, numerator, denominator = tally
    expected = votes * WEI >= quorum(supply * WEI, numerator, denominator)
    assert bool(quorum_reached(votes, supply, numerator, denominator)) is expected
    exact = votes >= quorum(supply, numerator, denominator)
    assert bool(quorum_reached(votes, supply, numerator, denominator, unit=1)) is exact


def openzeppelin_state(now, snapshot, deadline, passed, canceled, executed, eta, grace):
    """`Governor.state` and `GovernorTimelockCompound`'s expiry, read line by line."""
    if executed:
        return ProposalState.EXECUTED
    if canceled:
        return ProposalState.CANCELED
    if snapshot >= now:
        return ProposalState.PENDING
    if deadline >= now:
        return ProposalState.ACTIVE
    if not passed:
        return ProposalState.DEFEATED
    if eta == 0:
        return ProposalState.SUCCEEDED
    if grace is not None and now >= eta + grace:
        return ProposalState.EXPIRED
    return ProposalState.QUEUED


TIMES = st.integers(1, 60)


@settings(max_examples=300, deadline=None)
@given(
    TIMES,
    st.integers(0, 20),
    st.integers(1, 20),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
    st.one_of(st.just(0), TIMES),
    st.one_of(st.none(), st.integers(1, 20)),
)
def test_states_are_the_contracts(now, delay, period, flags, eta, grace):
    passed, canceled, executed = flags
    times = Timetable.build(5, delay, period)
    expected = openzeppelin_state(now, times.snapshot, times.deadline, *flags, eta, grace)
    assert (
        state(now, times, passed=passed, canceled=canceled, executed=executed, eta=eta, grace=grace)
        is expected
    )


def test_states_of_runs_and_proposals_are_independent():
    random = np.random.default_rng(3)
    shape = (5, 4)
    snapshot = random.integers(1, 30, shape)
    deadline = snapshot + random.integers(1, 30, shape)
    flags = [random.random(shape) < 0.5 for _ in range(3)]
    eta = np.where(random.random(shape) < 0.5, deadline + 5, 0)
    now = np.full(shape, 30)
    got = states(now, snapshot, deadline, *flags, eta=eta)
    for index in np.ndindex(*shape):
        row = [bool(flag[index]) for flag in flags]
        expected = openzeppelin_state(
            30, int(snapshot[index]), int(deadline[index]), *row, int(eta[index]), None
        )
        assert got[index] == expected


def test_the_shortest_proposal_takes_fifteen_days_and_seconds():
    noon = 12 * 3600
    times = Timetable.build(noon, 86_400, 7 * 86_400)
    assert times.earliest_execution(7 * 86_400) == noon + 15 * 86_400 + 1


def test_a_denominator_too_large_for_the_comparison_is_refused():
    with pytest.raises(ValueError, match="is too large"):
        quorum_reached(1, 1, 1, denominator=2**33)
