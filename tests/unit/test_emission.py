"""Emission and rewards: whole months pay their budget, pots are never overdrawn."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.calendar import add_months
from models.emission import daily_part
from models.staking import apr, apy, rewards
from models.supply import inflation


@given(st.dates(date(2020, 1, 1), date(2030, 1, 1)), st.integers(0, 30), st.integers(0, 10**18))
def test_a_month_pays_exactly_its_budget(start, month, budget):
    first, after = add_months(start, month), add_months(start, month + 1)
    days = [first + timedelta(days=d) for d in range((after - first).days)]
    paid = [int(daily_part(budget, start, day)) for day in days]
    assert sum(paid) == budget
    assert max(paid) - min(paid) <= 1


def test_a_budget_that_a_vote_changes_in_one_run_changes_there_alone():
    day = date(2026, 3, 20)
    before = daily_part(np.array([3100, 3100]), date(2025, 9, 8), day)
    after = daily_part(np.array([3100, 6200]), date(2025, 9, 8), day)
    assert before.tolist() == [100, 100]
    assert after.tolist() == [100, 200]


@given(
    st.integers(0, 10**18), st.integers(0, 10**18), st.lists(st.integers(0, 10**16), min_size=1, max_size=60)
)
def test_rewards_sum_to_what_the_pot_can_pay(pot, due, stakes):
    paid = rewards(np.array([pot]), np.array([due]), np.array([stakes]))
    assert int(paid.sum()) == (min(pot, due) if any(stakes) else 0)
    assert not paid[0][np.array(stakes) == 0].any()


def test_compounding_more_often_earns_more_up_to_the_continuous_limit():
    rate = np.array([0.12])
    yearly, daily, continuous = (float(apy(rate, n)[0]) for n in (1, 365, None))
    assert yearly == pytest.approx(0.12)
    assert yearly < daily < continuous


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: apr(np.array([1]), np.array([1]), days=0), "days is 0"),
        (lambda: apy(np.array([0.1]), per_year=0), "per_year is 0"),
        (lambda: inflation(np.array([1]), np.array([1]), days=0), "days is 0"),
    ],
)
def test_periods_of_nothing_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
