"""Inequality measures against their definitions in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.inequality import decile_of, decile_shares, gini, hhi, lorenz, nakamoto, top_share

AMOUNTS = st.lists(st.one_of(st.integers(0, 20), st.integers(0, 10**18 // 40)), min_size=1, max_size=40)


@settings(max_examples=200)
@given(AMOUNTS)
def test_gini_is_the_mean_difference(amounts):
    count, total = len(amounts), sum(amounts)
    pairs = sum(abs(a - b) for a in amounts for b in amounts)
    expected = Fraction(pairs, 2 * count * total) if total else Fraction(0)
    assert float(gini(np.array([amounts]))[0]) == pytest.approx(float(expected), abs=1e-12)


@settings(max_examples=200)
@given(AMOUNTS)
def test_hhi_and_top_share_are_ratios_of_the_amounts(amounts):
    total = sum(amounts)
    squares = Fraction(sum(a * a for a in amounts), total * total) if total else Fraction(0)
    assert float(hhi(np.array([amounts]))[0]) == pytest.approx(float(squares), rel=1e-12)
    holders = -(-len(amounts) * 1000 // 10_000)
    top = Fraction(sum(sorted(amounts)[-holders:]), total) if total else Fraction(0)
    assert float(top_share(np.array([amounts]), bps=1000)[0]) == pytest.approx(float(top), rel=1e-12)


@settings(max_examples=200)
@given(AMOUNTS)
def test_nakamoto_is_the_fewest_holders_of_a_majority(amounts):
    total, largest = sum(amounts), sorted(amounts, reverse=True)
    majorities = [count for count in range(1, len(amounts) + 1) if 2 * sum(largest[:count]) > total]
    assert int(nakamoto(np.array([amounts]))[0]) == min(majorities, default=0)


@settings(max_examples=100)
@given(AMOUNTS)
def test_the_lorenz_curve_rises_below_the_diagonal_and_its_area_is_the_gini(amounts):
    row = np.array([amounts])
    curve = lorenz(row, points=len(amounts) + 1)[0]
    assert curve[0] == 0
    assert curve[-1] == pytest.approx(1)
    assert (np.diff(curve) >= 0).all()
    assert (curve <= np.linspace(0, 1, curve.size) + 1e-12).all()
    area = float(((curve[1:] + curve[:-1]) / 2).sum() / len(amounts))
    assert 1 - 2 * area == pytest.approx(float(gini(row)[0]), abs=1e-9)
    assert float(decile_shares(row).sum()) == pytest.approx(1)


def test_a_lognormal_of_sigma_3_2_has_the_gini_and_top_share_of_its_formula():
    """Gini = 2 Phi(sigma / sqrt 2) - 1 = 0.976 and a top 1 % of 80.9 % in the limit."""
    from statistics import NormalDist

    normal = NormalDist()
    count = 200_000
    z = np.array([normal.inv_cdf((i + 0.5) / count) for i in range(count)])
    amounts = np.floor(np.exp(3.2 * z) * 10**6).astype(np.int64)[None, :]
    assert float(gini(amounts)[0]) == pytest.approx(0.976, abs=2e-3)
    assert float(top_share(amounts)[0]) == pytest.approx(0.809, abs=1e-2)


def test_deciles_are_equally_large_and_follow_the_amounts():
    amounts = np.random.default_rng(2).integers(0, 1000, (3, 250))
    deciles = decile_of(amounts)
    for run in range(3):
        assert np.bincount(deciles[run]).tolist() == [25] * 10
        order = np.argsort(deciles[run], kind="stable")
        means = amounts[run][order].reshape(10, 25).mean(axis=1)
        assert (np.diff(means) > 0).all()


@pytest.mark.parametrize("measure", [gini, hhi, nakamoto, lorenz, top_share, decile_of])
def test_no_agents_are_refused(measure):
    with pytest.raises(ValueError, match="at least one agent"):
        measure(np.zeros((3, 0), np.int64))


def test_arguments_out_of_range_are_refused():
    with pytest.raises(ValueError, match="points is 1"):
        lorenz(np.array([[1]]), points=1)
    with pytest.raises(ValueError, match="bps is 0"):
        top_share(np.array([[1]]), bps=0)
