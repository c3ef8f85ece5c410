"""Properties of turnout: conservation of votes, monotony, and the least capture."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.turnout import (
    SELF,
    UNDELEGATED,
    capture_votes,
    delegate_choice,
    in_favour,
    leaves_on,
    vote_probability,
    voting_power,
)

CAP = 10**18
amounts = st.lists(st.integers(0, CAP // 20), min_size=3, max_size=20)


@given(amounts, st.data())
def test_votes_are_what_is_delegated_and_no_more(wrapped, data):
    choices = st.lists(
        st.sampled_from([SELF, UNDELEGATED, 0, 1]), min_size=len(wrapped), max_size=len(wrapped)
    )
    to = np.array(data.draw(choices), np.int32)
    held = np.array(wrapped, np.int64)
    power = voting_power(held, to, len(wrapped) - 2)
    assert power.sum() == held[to != UNDELEGATED].sum()
    assert power.min() >= 0


@given(st.integers(0, CAP), st.integers(0, 9_999), st.integers(0, CAP // 2))
def test_a_capture_is_the_least_that_reaches_quorum_and_wins(supply, bps, usual):
    votes = int(capture_votes(np.array([supply]), np.array([bps]), np.array([usual]))[0])

    def captures(x):
        return x * 10_000 >= (supply + x) * bps and x > usual

    assert captures(votes)
    assert not captures(votes - 1)


def test_a_quorum_of_everything_cannot_be_captured():
    assert capture_votes(np.array([10]), np.array([10_000]), np.array([0])).tolist() == [-1]


def test_more_votes_make_voting_likelier():
    power = 10**9 * 10 ** np.arange(9)
    chance = vote_probability(
        power, base=-4.0, stake_slope=0.3, habit=1.0, voted_before=np.zeros(9, bool), salience_slope=1.0,
        salience=0.0,
    )  # fmt: skip
    assert (np.diff(chance) > 0).all()


def test_delegates_leave_at_their_yearly_rate():
    draws = (np.arange(100_000) + 0.5) / 100_000
    assert np.isclose((leaves_on(draws, 0.12) > 365).mean(), 0.88, atol=0.001)
    assert leaves_on(draws, 1.0).max() == 0


def test_choice_follows_zipf_weights():
    draws = (np.arange(100_000) + 0.5) / 100_000
    shares = np.bincount(delegate_choice(draws, 4, 1.0)) / 100_000
    weights = 1 / np.arange(1, 5)
    assert np.allclose(shares, weights / weights.sum(), atol=1e-4)


def test_noise_spreads_votes_around_the_payoff():
    draws = (np.arange(100_000) + 0.5) / 100_000
    assert np.isclose(in_favour(np.zeros(100_000), 0.5, draws).mean(), 0.5)
    assert np.isclose(in_favour(np.full(100_000, 0.5), 0.5, draws).mean(), 0.7311, atol=1e-4)
