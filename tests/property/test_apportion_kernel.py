"""The apportion kernel against its reference, integer for integer, up to the cap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import apportion as reference
from sim.kernels import apportion as kernel

CAP = 10**18


@st.composite
def divisions(draw):
    """Totals and weights of a few runs; some weights alike, some nothing, some large."""
    runs, payees = draw(st.integers(1, 3)), draw(st.integers(1, 70))
    scale = draw(st.sampled_from([1, 3, 10**6, 2**40, CAP // 70]))
    weight = st.one_of(st.just(0), st.just(scale), st.integers(0, scale))
    rows = st.lists(weight, min_size=payees, max_size=payees)
    weights = draw(st.lists(rows, min_size=runs, max_size=runs))
    totals = draw(st.lists(st.integers(0, CAP), min_size=runs, max_size=runs))
    return np.array(totals, np.int64), np.array(weights, np.int64)


@given(divisions())
def test_equals_the_reference(division):
    total, weights = division
    assert (kernel.apportion(total, weights) == reference.apportion(total, weights)).all()
    for got, wanted in zip(
        kernel.apportion_floor(total, weights), reference.apportion_floor(total, weights), strict=True
    ):
        assert (got == wanted).all()


@pytest.mark.parametrize("total", [0, 1, 999, CAP])
@pytest.mark.parametrize("payees", [1, 49, 1000])
def test_equal_weights_and_random_ones(total, payees):
    generator = np.random.default_rng(payees)
    weights = np.stack(
        [np.ones(payees, np.int64), generator.integers(0, 10**9, payees), np.zeros(payees, np.int64)]
    )
    assert (kernel.apportion(total, weights) == reference.apportion(total, weights)).all()


def test_a_column_of_a_larger_array_is_read_as_it_stands():
    whole = np.arange(40, dtype=np.int64).reshape(2, 20)
    assert (kernel.apportion(100, whole[:, 3:9]) == reference.apportion(100, whole[:, 3:9])).all()


@pytest.mark.parametrize(("total", "weights"), [(-1, [[1]]), (1, [[-1, 2]]), (1, [[2**62]])])
def test_refuses_what_the_reference_refuses(total, weights):
    with pytest.raises(ValueError, match=r"must be 0 or more|is allowed"):
        kernel.apportion(total, np.array(weights))


def test_weights_near_the_limit_are_exact():
    weights = np.array([[CAP, CAP - 1, 1]], np.int64)
    for total in (CAP, CAP - 1, 2**50 + 1):
        assert (kernel.apportion(total, weights) == reference.apportion(total, weights)).all()
