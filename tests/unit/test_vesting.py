"""Vesting where integers of 64 bits would fail, and words that contradict each other."""

from __future__ import annotations

from datetime import date

import pytest

from models.units import Duration
from models.vesting import Schedule, unlock_dates, unlocked_on, vested_on, vested_path

START = date(2025, 9, 8)
GWEI = 10**9
READING_A = [
    Schedule.build(allocation=517_100_000 * GWEI, tge=145_500_000 * GWEI, start=START, linear=Duration(48)),
    Schedule.build(allocation=100_000_000 * GWEI, tge=20_000_000 * GWEI, start=START, linear=Duration(48)),
    Schedule.build(allocation=50_000_000 * GWEI, tge=50_000_000 * GWEI, start=START),
    Schedule.build(allocation=182_900_000 * GWEI, start=START, cliff=Duration(12), linear=Duration(36)),
    Schedule.build(allocation=150_000_000 * GWEI, start=START, cliff=Duration(12), linear=Duration(36)),
]


def test_days_of_a_whole_run_sum_to_the_cap_and_step_at_month_ends_alone():
    total = sum(vested_path(schedule, START, 1461) for schedule in READING_A)
    assert total[0] == 215_500_000 * GWEI
    assert total[-1] == 10**18
    steps = [day for day in range(1, 1462) if total[day] > total[day - 1]]
    assert len(steps) == 48
    assert total[30] == 224_908_333_333_333_332
    assert total[29] == 215_500_000 * GWEI


def test_the_largest_bucket_would_overflow_int64_if_it_multiplied_first():
    rest = 371_600_000 * GWEI
    assert rest * 48 > 2**63
    assert vested_on(READING_A[0], date(2029, 8, 8)) == 145_500_000 * GWEI + rest * 47 // 48


def test_unlock_dates_of_all_buckets_are_the_month_ends():
    dates = sorted({day for schedule in READING_A for day in unlock_dates(schedule)})
    assert len(dates) == 49
    assert dates[:2] == [START, date(2025, 10, 8)]
    assert unlocked_on(READING_A, dates[-1]) == 10**18


def test_a_negative_number_of_days_is_refused():
    with pytest.raises(ValueError, match="days is -1"):
        vested_path(READING_A[0], START, -1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dates": (START,), "numerators": (), "denominator": 1}, "1 dates, 0 numerators"),
        ({"dates": (START, START), "numerators": (1, 2), "denominator": 2}, "dates must rise"),
        ({"dates": (START,), "numerators": (0,), "denominator": 1}, "numerators must rise"),
        ({"dates": (START,), "numerators": (1,), "denominator": 2}, "never unlock completely"),
        ({"dates": (), "numerators": (), "denominator": 0}, "over 0"),
    ],
)
def test_a_table_that_is_out_of_order_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Schedule(allocation=10, tge=0, tge_date=START, **fields)


def test_linear_of_something_else_is_refused():
    with pytest.raises(ValueError, match="linear_of 'share' is unknown"):
        Schedule.build(allocation=10, start=START, linear=Duration(1), linear_of="share")
