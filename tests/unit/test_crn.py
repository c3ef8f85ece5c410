"""Common random numbers: the measure itself, and that the economy has them."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sim.experiment.crn import crn_variance_ratio, variance_ratio
from sim.priors import with_scenario
from sim.scenario import load

sys.path.insert(0, str(Path(__file__).parent))
import small_world as small


class TestMeasure:
    def test_a_shift_with_a_little_noise(self) -> None:
        generator = np.random.Generator(np.random.Philox(1))
        luck, other = generator.standard_normal((2, 20_000))
        noise = 0.05 * generator.standard_normal(20_000)
        found = variance_ratio(luck, luck + 0.3 + noise, other + 0.3)
        assert found.ratio == pytest.approx(2 / 0.05**2, rel=0.05)
        assert found.effect == pytest.approx(0.3, abs=0.01)

    def test_no_noise_at_all(self) -> None:
        assert (
            variance_ratio(np.array([1.0, 2.0]), np.array([2.0, 3.0]), np.array([0.0, 9.0])).ratio == math.inf
        )

    def test_what_is_no_comparison(self) -> None:
        with pytest.raises(ValueError, match="2, 3 and 2 runs"):
            variance_ratio(np.ones(2), np.ones(3), np.ones(2))
        with pytest.raises(ValueError, match="two or more"):
            variance_ratio(np.ones(1), np.ones(1), np.ones(1))


@pytest.mark.slow
def test_the_economy_gives_both_arms_the_same_luck() -> None:
    base = small.economy(agents=120, days=30)
    change = "agents.holders.sell.monthly=2.1 %"
    changed = with_scenario(base, load(small.BASELINE, ["days=30", change]), [change.partition("=")[0]])
    found = crn_variance_ratio(base, changed, 12)
    assert found.ratio > 50
    assert found.effect < 0, "who sells more lowers the price"
    same = crn_variance_ratio(base, base, 3)
    assert (same.paired, same.ratio) == (0.0, math.inf)


def test_other_worlds_are_no_pair() -> None:
    base = small.economy(agents=120, days=30)
    with pytest.raises(ValueError, match="the worlds differ in days"):
        crn_variance_ratio(base, replace(base, days=29), 2)
