"""Vesting: monotone, closes exactly, the daily path and the table agree with the scalar definition."""

from __future__ import annotations

from datetime import date, timedelta
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from models.calendar import add_months, month_index, month_position
from models.units import Duration
from models.vesting import Schedule, instalments, unlock_dates, vested_on, vested_path

CAP = 10**18
DAYS = st.dates(date(2020, 1, 1), date(2030, 12, 31))
CLIFFS = st.one_of(
    st.none(),
    st.integers(0, 30).map(lambda months: Duration(months=months)),
    st.integers(0, 400).map(lambda days: Duration(seconds=86_400 * days)),
)


@st.composite
def linear_words(draw):
    """Words of a cliff and equal instalments."""
    every = draw(st.sampled_from(["month", "day", "second"]))
    length = Duration(months=draw(st.integers(1, 50)))
    if every != "month" and draw(st.booleans()):
        length = Duration(seconds=86_400 * draw(st.integers(1, 900)))
    allocation = draw(st.one_of(st.integers(1, 50), st.integers(1, CAP), st.just(CAP)))
    return {
        "allocation": allocation,
        "tge": draw(st.integers(0, allocation)),
        "start": draw(DAYS),
        "cliff": draw(CLIFFS),
        "catch_up": draw(st.booleans()),
        "linear": length,
        "linear_of": draw(st.sampled_from(["remainder", "allocation"])),
        "every": every,
    }


@settings(max_examples=150, deadline=None)
@given(linear_words(), st.integers(-40, 1200), st.integers(0, 60))
def test_the_path_is_the_definition_day_by_day(words, offset, days):
    schedule = Schedule.build(**words)
    first = words["start"] + timedelta(days=offset)
    path = vested_path(schedule, first, days)
    assert path.tolist() == [vested_on(schedule, first + timedelta(days=day)) for day in range(days + 1)]
    assert (path[1:] >= path[:-1]).all()


@settings(max_examples=150, deadline=None)
@given(linear_words())
def test_every_calendar_begins_at_nothing_and_closes_at_the_allocation(words):
    schedule = Schedule.build(**words)
    assert vested_on(schedule, words["start"] - timedelta(days=1)) == 0
    last = unlock_dates(schedule)[-1]
    assert vested_on(schedule, last) == words["allocation"]
    assert vested_on(schedule, last - timedelta(days=1)) < words["allocation"]


@settings(max_examples=150, deadline=None)
@given(linear_words())
def test_a_contract_that_pays_from_the_table_pays_the_same_in_gwei_and_in_wei(words):
    schedule = Schedule.build(**words)
    dates, numerators, denominator = instalments(schedule)
    rest = schedule.allocation - schedule.tge
    for day, numerator in list(zip(dates, numerators, strict=True))[:: max(1, len(dates) // 20)]:
        in_gwei = schedule.tge + rest * numerator // denominator
        in_wei = (schedule.tge * 10**9) + (rest * 10**9) * numerator // denominator
        assert in_gwei == vested_on(schedule, day) == in_wei // 10**9


@settings(max_examples=100, deadline=None)
@given(st.integers(1, CAP), st.integers(1, 60), st.integers(0, 24), DAYS)
def test_monthly_instalments_are_the_published_rule(allocation, count, cliff, start):
    schedule = Schedule.build(
        allocation=allocation, start=start, cliff=Duration(months=cliff), linear=Duration(months=count)
    )
    for month in range(cliff + count + 2):
        k = min(max(month - cliff, 0), count)
        assert vested_on(schedule, add_months(start, month)) == allocation * k // count


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(0, 9)), min_size=1, max_size=6),
    st.integers(1, CAP),
    DAYS,
)
def test_steps_pay_their_parts(lengths, allocation, start):
    total = sum(weight for _, weight in lengths)
    if total == 0:
        return
    steps, month = [], 1
    for length, weight in lengths:
        steps.append((month, month + length - 1, Fraction(weight, total)))
        month += length
    schedule = Schedule.build(allocation=allocation, start=start, steps=steps)
    paid = Fraction(0)
    for _first, last, part in steps:
        paid += part
        assert vested_on(schedule, add_months(start, last)) == allocation * paid.numerator // paid.denominator


@given(DAYS, DAYS)
def test_months_from_a_start_tile_the_calendar(start, day):
    index = month_index(start, day)
    assert add_months(start, index) <= day < add_months(start, index + 1)
    position, length = month_position(start, day)
    assert 0 <= position < length
    assert 28 <= length <= 31
