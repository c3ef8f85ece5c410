"""Statistics that a referee accepts: what an interval promises is what it does."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sim.experiment.intervals import paired_interval, quantile_interval
from sim.experiment.statistics import mean_interval, student_t


class TestQuantileInterval:
    @pytest.mark.parametrize(
        ("n", "probability", "ranks"),
        # published tables of the interval of a median that belongs to the sign test
        [(20, 0.5, (6, 15)), (100, 0.5, (40, 61)), (10, 0.5, (2, 9))],
    )
    def test_ranks(self, n: int, probability: float, ranks: tuple[int, int]) -> None:
        found = quantile_interval(np.arange(1, n + 1), probability)
        assert (found.low, found.high) == ranks

    @pytest.mark.parametrize("n", [5, 17, 64, 333])
    @pytest.mark.parametrize("probability", [0.05, 0.5, 0.95])
    def test_its_coverage_is_the_binomial_sum_and_never_under_the_level(
        self, n: int, probability: float
    ) -> None:
        found = quantile_interval(np.arange(1, n + 1), probability, 0.9)
        first = 0 if math.isinf(found.low) else int(found.low)
        last = n if math.isinf(found.high) else int(found.high) - 1
        exact = sum(
            math.comb(n, k) * probability**k * (1 - probability) ** (n - k) for k in range(first, last + 1)
        )
        assert found.coverage == pytest.approx(exact, abs=1e-12)
        assert found.coverage >= 0.9

    def test_coverage_over_many_samples_of_a_skewed_distribution(self) -> None:
        generator = np.random.Generator(np.random.Philox(5))
        truth = math.exp(1.2815515655446004)  # 90th percentile of exp(normal)
        inside = 0
        for _ in range(2000):
            found = quantile_interval(np.exp(generator.standard_normal(60)), 0.9)
            inside += found.low <= truth <= found.high
        expected = found.coverage
        assert abs(inside / 2000 - expected) < 4 * math.sqrt(expected * (1 - expected) / 2000)

    def test_too_few_values_bound_one_side_only(self) -> None:
        found = quantile_interval([1.0, 2.0, 3.0], 0.95)
        assert found.high == math.inf
        assert found.coverage >= 0.95

    def test_nulls_are_left_out(self) -> None:
        assert quantile_interval([1.0, math.nan, 3.0], 0.5).n == 2
        assert math.isnan(quantile_interval([math.nan], 0.5).value)

    @pytest.mark.parametrize(
        ("probability", "level", "name"), [(5, 0.95, "probability is 5"), (0.5, 95, "level is 95")]
    )
    def test_out_of_range(self, probability: float, level: float, name: str) -> None:
        with pytest.raises(ValueError, match=f"{name}; allowed between 0 and 1"):
            quantile_interval([1.0, 2.0], probability, level)


class TestPairs:
    def test_the_interval_is_that_of_the_differences(self) -> None:
        base, other = np.array([1.0, 4.0, 2.0, math.nan]), np.array([2.0, 3.0, 5.0, 1.0])
        found, expected = paired_interval(base, other), mean_interval([1.0, -1.0, 3.0])
        assert (found.mean, found.low, found.high, found.n) == (1.0, expected.low, expected.high, 3)
        assert found.lower_share == pytest.approx(1 / 3)

    def test_other_runs_are_refused(self) -> None:
        with pytest.raises(ValueError, match="3 runs against 2"):
            paired_interval([1.0, 2.0, 3.0], [1.0, 2.0])


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (10, 2.2281), (63, 1.9983), (10**6, 1.96)],
)
def test_student_t_against_tables(freedom: int, quantile: float) -> None:
    assert student_t(0.975, freedom) == pytest.approx(quantile, abs=1e-4)
