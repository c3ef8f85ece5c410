"""Designs and sensitivity: functions whose indices are known, through the code that scenarios use."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sim.sweeps.design import evaluate, grid, latin, morris, sobol, tornado, zipped
from sim.sweeps.sensitivity import indices

AXES = ("x1", "x2", "x3")
A, B = 7.0, 0.1


def ishigami(position: np.ndarray) -> float:
    """Ishigami and Homma (1990) with x uniform on [-pi, pi]."""
    x = (2 * position - 1) * math.pi
    return float(math.sin(x[0]) + A * math.sin(x[1]) ** 2 + B * x[2] ** 4 * math.sin(x[0]))


def ishigami_indices() -> dict[tuple[str, str], float]:
    """Closed form of the variances."""
    v1 = 0.5 * (1 + B * math.pi**4 / 5) ** 2
    v2, v13 = A**2 / 8, B**2 * math.pi**8 * (1 / 18 - 1 / 50)
    whole = v1 + v2 + v13
    first, total = (v1, v2, 0.0), (v1 + v13, v2, v13)
    known = {(axis, "S1"): v / whole for axis, v in zip(AXES, first, strict=True)}
    return known | {(axis, "ST"): v / whole for axis, v in zip(AXES, total, strict=True)}


class TestSobol:
    @pytest.mark.parametrize("seed", [7, 20_260_101, 2**64 - 1])
    def test_ishigami_comes_out_within_its_intervals(self, seed: int) -> None:
        design = sobol(AXES, 2048, seed)
        found = indices(design, evaluate(design, ishigami))
        known = ishigami_indices()
        assert {(index.axis, index.name) for index in found} == set(known)
        for index in found:
            assert index.low <= known[index.axis, index.name] <= index.high, index
            assert index.high - index.low < 0.2, "an interval that wide says nothing"

    def test_a_larger_sample_begins_with_the_smaller_one(self) -> None:
        small, large = sobol(AXES, 64, 7).positions, sobol(AXES, 128, 7).positions
        np.testing.assert_array_equal(large[: len(small)], small)

    def test_another_seed_is_another_sample(self) -> None:
        assert not np.array_equal(sobol(AXES, 8, 7).positions, sobol(AXES, 8, 8).positions)
        np.testing.assert_array_equal(sobol(AXES, 8, 7).positions, sobol(AXES, 8, 7).positions)


class TestMorris:
    def test_effects_of_a_linear_function_are_its_slopes(self) -> None:
        design = morris(AXES, 20, 7)
        found = {
            (index.axis, index.name): index.value
            for index in indices(design, evaluate(design, lambda p: float(5 * p[0] - 2 * p[1])))
        }
        for axis, slope in zip(AXES, (5.0, 2.0, 0.0), strict=True):
            assert found[axis, "mu_star"] == pytest.approx(slope, abs=1e-9)
            assert found[axis, "sigma"] == pytest.approx(0.0, abs=1e-9)

    def test_ishigami_interacts(self) -> None:
        design = morris(AXES, 64, 7)
        found = {(i.axis, i.name): i for i in indices(design, evaluate(design, ishigami))}
        assert found["x3", "sigma"].value > 1, "x3 matters only together with x1"
        assert found["x1", "mu_star"].low > 0


class TestLatin:
    def test_every_slice_of_every_axis_has_one_point(self) -> None:
        positions = latin(AXES, 50, 7).positions
        for column in positions.T:
            assert sorted((column * 50).astype(int).tolist()) == list(range(50))

    def test_rank_correlation_of_a_monotone_function(self) -> None:
        design = latin(AXES, 200, 7)
        found = {
            i.axis: i for i in indices(design, evaluate(design, lambda p: math.exp(5 * p[0]) - 0.0 * p[1]))
        }
        assert found["x1"].value == pytest.approx(1.0)
        assert abs(found["x2"].value) < 0.25


class TestShapes:
    def test_a_grid_is_every_combination(self) -> None:
        positions = grid(("a", "b"), (3, 2)).positions
        assert positions.tolist() == [[0, 0], [0, 1], [0.5, 0], [0.5, 1], [1, 0], [1, 1]]

    def test_zip_goes_rank_by_rank(self) -> None:
        assert zipped(("a", "b"), 3).positions.tolist() == [[0, 0], [0.5, 0.5], [1, 1]]

    def test_a_tornado_moves_one_axis_at_a_time(self) -> None:
        positions = tornado(("a", "b"), ((0.0, 1.0), (0.05, 0.95))).positions
        assert np.isnan(positions[0]).all()
        assert np.isnan(positions[1:3, 1]).all()
        assert positions[3:, 1].tolist() == [0.05, 0.95]

    def test_an_outcome_that_never_changes_has_no_indices(self) -> None:
        design = sobol(AXES, 8, 7)
        assert all(math.isnan(index.value) for index in indices(design, np.ones(len(design.positions))))

    def test_missing_outcomes_are_named(self) -> None:
        design = latin(AXES, 4, 7)
        with pytest.raises(ValueError, match="missing at 1 of 4 points"):
            indices(design, np.array([1.0, math.nan, 2.0, 3.0]))
        with pytest.raises(ValueError, match="2 outcomes for 4 points"):
            indices(design, np.array([1.0, 2.0]))
