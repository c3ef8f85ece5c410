"""Goldens: the unlocked supply of the OPEN token under every reading, and the behaviour of a tiny run."""

from __future__ import annotations

import math
import sys
from functools import cache
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from models.calendar import add_months
from models.errors import InputError
from models.vesting import vested_on
from sim.accounts import BUCKET_ROLES
from sim.engine import build_economy, run_batch
from sim.scenario import load

sys.path.insert(0, str(Path(__file__).parent))
import regenerate

SCENARIOS = regenerate.ROOT / "scenarios"
CAP = 10**18
DAYS = 1461
EXACT = {
    0: 215_500_000_000_000_000,
    1: 224_908_333_333_333_332,
    12: 328_400_000_000_000_000,
    13: 347_055_555_555_555_553,
    24: 552_266_666_666_666_666,
    36: 776_133_333_333_333_333,
    47: 981_344_444_444_444_443,
    48: CAP,
}
"""Reading A, gwei at the ends of months."""
VECTOR = """
215.50 224.91 234.32 243.72 253.13 262.54 271.95 281.36 290.77 300.18 309.58 318.99
328.40 347.06 365.71 384.37 403.02 421.68 440.33 458.99 477.64 496.30 514.96 533.61
552.27 570.92 589.58 608.23 626.89 645.54 664.20 682.86 701.51 720.17 738.82 757.48
776.13 794.79 813.44 832.10 850.76 869.41 888.07 906.72 925.38 944.03 962.69 981.34
1000.00
"""
"""Reading A, millions of OPEN at the ends of months 0 to 48."""
MONTHS_OF_READINGS = (6, 8, 12, 13, 24)
READINGS = {
    "baseline": (272.0, 290.8, 328.4, 347.1, 552.3),
    "presets/reading_a_prime": (272.0, 290.8, 337.6, 356.3, 561.5),
    "presets/reading_b": (292.6, 318.4, 369.8, 391.9, 635.0),
    "presets/reading_c": (272.0, 290.8, 411.6, 428.0, 607.8),
    "presets/reading_d": (215.5, 234.3, 272.0, 290.6, 495.8),
    "presets/reading_e": (263.2, 279.1, 310.9, 328.1, 517.3),
}
"""Reading -> millions of OPEN unlocked at those months."""
CLOSES_AT = {"presets/reading_d": 54}
"""Month at which a reading has unlocked everything, where it is not month 48."""


def month_end(start, month):
    """Return the day on which month `month` ends: the day of its unlock."""
    return (add_months(start, month) - start).days


@cache
def economy_of(reading):
    """Return an economy without its fleet, which takes a second and unlocks nothing."""
    with mock.patch("sim.engine.fleet_of", return_value=None):
        return build_economy(load(SCENARIOS / f"{reading}.yaml"), agents=30)


def unlocked_path(economy):
    return sum(economy.vested[role] for role in BUCKET_ROLES)


@pytest.mark.slow
class TestRunOfReadingA:
    @pytest.fixture(scope="class")
    @staticmethod
    def unlocked():
        """Unlocked supply that a run records, at the ends of months 0 to 48."""
        economy = build_economy(load(SCENARIOS / "baseline.yaml"), agents=30)
        column = run_batch(economy, np.arange(1)).metrics["unlocked_gwei"]
        assert column.shape == (1, DAYS + 1)
        start = economy.scenario.start
        return [int(column[0, month_end(start, month)]) for month in range(49)]

    def test_golden_integers(self, unlocked):
        assert {month: unlocked[month] for month in EXACT} == EXACT

    def test_golden_vector(self, unlocked):
        assert [f"{gwei / 10**15:.2f}" for gwei in unlocked] == VECTOR.split()


@pytest.mark.parametrize("reading", READINGS)
class TestReadings:
    @pytest.fixture
    def economy(self, reading):
        return economy_of(reading)

    def test_vested_paths_pass_through_the_published_points(self, economy, reading):
        path, start = unlocked_path(economy), economy.scenario.start
        got = [int(path[month_end(start, month)]) / 10**15 for month in MONTHS_OF_READINGS]
        assert got == pytest.approx(READINGS[reading], abs=0.0501, rel=0)  # published to one decimal

    def test_it_closes_at_exactly_the_cap_unless_it_is_marked_not_to(self, economy, reading):
        sums_to_cap = economy.scenario.token.sums_to_cap
        assert sums_to_cap == (reading != "presets/reading_e")
        last = add_months(economy.scenario.start, CLOSES_AT.get(reading, 48))
        before = add_months(economy.scenario.start, CLOSES_AT.get(reading, 48) - 1)
        everything = CAP if sums_to_cap else 930_000_000_000_000_000
        assert sum(vested_on(s, last) for s in economy.schedules.values()) == everything
        assert sum(vested_on(s, before) for s in economy.schedules.values()) < everything
        assert economy.minted == everything

    def test_what_is_not_vested_on_the_last_day_is_still_counted(self, economy, reading):
        path = unlocked_path(economy)
        assert int(path[-1]) + sum(economy.unvested_after.values()) == economy.minted


def test_a_reading_that_does_not_sum_is_refused_unless_it_says_so():
    with pytest.raises(InputError, match=r"70.?000.?000|7 %|7\.00 %"):
        load(SCENARIOS / "presets" / "reading_e.yaml", ["token.sums_to_cap=true"])


def test_behaviour():
    got, golden = regenerate.rows(), regenerate.read()
    assert [row[:3] for row in got] == [row[:3] for row in golden]
    for (name, run, day, value), (*_, expected) in zip(got, golden, strict=True):
        same = math.isclose(value, expected, rel_tol=1e-6) or (math.isnan(value) and math.isnan(expected))
        assert same, f"{name}, run {run}, day {day}: {value!r}, golden {expected!r}"


def test_the_golden_run_is_alive():
    """A golden of zeros would hold nothing."""
    values = {}
    for name, _, day, value in regenerate.read():
        values.setdefault(name, {})[day] = value
    assert len(values) >= 15
    for name, by_day in values.items():
        known = [value for value in by_day.values() if not math.isnan(value)]
        assert max(known) > 0, name
        assert len(set(known)) > 1, name
