"""Largest remainder: the vectorised form against the definition, up to the cap and beyond 2^31 weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.apportion import _FEW, apportion, apportion_floor, apportion_reference
from models.exact import mul_div

CAP = 10**18
TOTALS = st.one_of(st.integers(0, 1000), st.integers(0, CAP), st.just(CAP))


@st.composite
def weight_rows(draw, most=CAP):
    """Weights (3, payees) of very different sizes; often equal, often 0."""
    payees = draw(st.sampled_from([1, 2, 3, 7, _FEW, _FEW + 1, 60]))
    top = draw(st.sampled_from([1, 3, 1000, 2**31, most // payees]))
    return draw(hnp.arrays(np.int64, (3, payees), elements=st.integers(0, top)))


@settings(max_examples=300, deadline=None)
@given(st.lists(TOTALS, min_size=3, max_size=3), weight_rows())
def test_vectorised_equals_the_definition(totals, weights):
    parts = apportion(np.array(totals), weights)
    expected = [apportion_reference(total, row) for total, row in zip(totals, weights.tolist(), strict=True)]
    assert parts.tolist() == expected


@settings(max_examples=100, deadline=None)
@given(st.lists(TOTALS, min_size=3, max_size=3), weight_rows())
def test_floors_and_dust_are_what_they_say(totals, weights):
    parts, dust = apportion_floor(np.array(totals), weights)
    for total, row, got, left in zip(totals, weights.tolist(), parts.tolist(), dust.tolist(), strict=True):
        whole = sum(row)
        assert got == [total * weight // whole if whole else 0 for weight in row]
        assert left == total - sum(got)
        assert left < len(row) or whole == 0


@settings(max_examples=100, deadline=None)
@given(TOTALS, weight_rows(), st.randoms(use_true_random=False))
def test_parts_move_with_their_weights_where_no_two_remainders_are_equal(total, weights, random):
    row = np.unique(weights[0])
    whole = int(row.sum())
    assume(whole and len({total * weight % whole for weight in row.tolist()}) == row.size)
    order = list(range(row.size))
    random.shuffle(order)
    straight = apportion(total, row[None, :])[0]
    shuffled = apportion(total, row[order][None, :])[0]
    assert shuffled.tolist() == straight[order].tolist()


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**61), st.integers(0, 2**61), st.integers(1, 2**61))
def test_mul_div_is_exact(a, b, c):
    if a * b // c >= 2**63:
        a %= c
    if a * b // c >= 2**63:
        b %= c
    quotient, remainder = mul_div(a, b, c)
    assert (int(quotient), int(remainder)) == divmod(a * b, c)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 2**61), st.integers(0, 2), st.integers(0, 2))
def test_mul_div_is_exact_beside_its_divisor(c, below_a, below_b):
    a, b = max(c - below_a, 0), max(c - below_b, 0)
    quotient, remainder = mul_div(a, b, c)
    assert (int(quotient), int(remainder)) == divmod(a * b, c)


def test_a_large_population_at_the_cap():
    random = np.random.default_rng(4)
    weights = np.floor(np.exp(random.normal(20, 3.2, (2, 6000)))).astype(np.int64)
    weights[:, ::7] = 1000
    parts = apportion(np.array([CAP, 12_345_678_901]), weights)
    assert parts[0].tolist() == apportion_reference(CAP, weights[0].tolist())
    assert parts[1].tolist() == apportion_reference(12_345_678_901, weights[1].tolist())


@pytest.mark.parametrize("bad", [np.array([1, 2]), np.zeros((2, 2, 2), np.int64)])
def test_weights_of_another_shape_are_refused(bad):
    with pytest.raises(ValueError, match="shape"):
        apportion(1, bad)


def test_no_runs_and_no_payees_are_allowed():
    assert apportion(1, np.zeros((0, 3), np.int64)).shape == (0, 3)
    assert apportion(np.array([5, 5]), np.zeros((2, 0), np.int64)).shape == (2, 0)
