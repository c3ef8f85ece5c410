"""Priors: the quantile transform of every distribution against an independent implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from models.beta import beta_cdf, beta_quantile
from models.priors import KINDS, Prior

U = (np.arange(401) + 0.5) / 401


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (1.0, 3.0), (2.0, 5.0), (40.0, 3.0), (300.0, 700.0)])
def test_beta_against_scipy(a: float, b: float) -> None:
    np.testing.assert_allclose(beta_cdf(U, a, b), stats.beta.cdf(U, a, b), rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(beta_quantile(U, a, b), stats.beta.ppf(U, a, b), rtol=1e-9)


LOGNORMAL = stats.lognorm(0.8, scale=3.0)
PRIORS = {
    "uniform": (Prior("uniform", (2.0, 6.0)), stats.uniform(2.0, 4.0)),
    "triangular": (Prior("triangular", (0.0, 1.0, 4.0)), stats.triang(0.25, 0.0, 4.0)),
    "normal": (Prior("normal", (1.0, 2.0)), stats.norm(1.0, 2.0)),
    "normal truncated": (Prior("normal", (1.0, 2.0), 0.0, 1.5), stats.truncnorm(-0.5, 0.25, 1.0, 2.0)),
    "lognormal": (Prior("lognormal", (3.0, 0.8)), LOGNORMAL),
    "pert": (Prior("pert", (10.0, 20.0, 50.0)), stats.beta(2.0, 4.0, 10.0, 40.0)),
    "beta": (Prior("beta", (-1.0, 1.0, 2.0, 3.0)), stats.beta(2.0, 3.0, -1.0, 2.0)),
}


@pytest.mark.parametrize("name", PRIORS)
def test_quantiles_against_scipy(name: str) -> None:
    prior, reference = PRIORS[name]
    np.testing.assert_allclose(prior.quantile(U), reference.ppf(U), rtol=1e-7, atol=1e-7)


def test_a_truncated_lognormal_keeps_its_shape_between_its_bounds() -> None:
    prior = Prior("lognormal", (3.0, 0.8), 2.0, 9.0)
    low, high = LOGNORMAL.cdf(2.0), LOGNORMAL.cdf(9.0)
    np.testing.assert_allclose(prior.quantile(U), LOGNORMAL.ppf(low + (high - low) * U), rtol=1e-9)
    assert prior.ends == (2.0, 9.0)


def test_a_choice_is_as_likely_as_it_is_often_written() -> None:
    drawn = Prior("choice", (1.0, 5.0, 5.0, 2.0)).quantile(U)
    assert [int((drawn == value).sum()) for value in (1.0, 5.0, 2.0)] == [100, 201, 100]


@pytest.mark.parametrize("name", PRIORS)
def test_draws_rise_with_the_uniform_and_stay_between_the_ends(name: str) -> None:
    prior, _ = PRIORS[name]
    edge = np.array([2.0**-33, *U, 1 - 2.0**-33])
    drawn = prior.quantile(edge)
    assert (np.diff(drawn) >= 0).all()
    assert prior.ends[0] <= drawn.min()
    assert drawn.max() <= prior.ends[1]
    assert prior.ends[0] <= prior.central <= prior.ends[1]


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [
        ("uniform", (3.0, 3.0)),
        ("triangular", (3.0, 3.0, 3.0)),
        ("pert", (3.0, 3.0, 3.0)),
        ("normal", (3.0, 0.0)),
        ("lognormal", (3.0, 0.0)),
        ("beta", (3.0, 3.0, 1.0, 1.0)),
        ("choice", (3.0,)),
    ],
)
def test_a_distribution_of_one_point(kind: str, numbers: tuple[float, ...]) -> None:
    assert (Prior(kind, numbers).quantile(U) == 3.0).all()


@pytest.mark.parametrize(
    ("kind", "numbers", "message"),
    [
        ("uniforms", (1.0, 2.0), "prior 'uniforms' is unknown; expected one of uniform, triangular"),
        ("pert", (1.0, 2.0), "prior pert takes 3 numbers, not 2"),
        ("choice", (), "prior choice takes one number or more, not 0"),
        ("beta", (1.0, 0.0, 2.0, 2.0), r"rising order, not \[1.0, 0.0\]"),
        ("beta", (0.0, 1.0, 2.0, 0.0), r"shapes above 0, not \[2.0, 0.0\]"),
        ("normal", (1.0, -1.0), "negative spread -1.0"),
        ("lognormal", (0.0, 1.0), "median above 0, not 0.0"),
        ("uniform", (0.0, math.inf), "a number that is not finite"),
    ],
)
def test_what_is_no_distribution(kind: str, numbers: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Prior(kind, numbers)


def test_a_middle_outside_the_bounds() -> None:
    with pytest.raises(ValueError, match="prior normal has its middle 5 outside 0 to 1"):
        Prior("normal", (5.0, 1.0), 0.0, 1.0)


def test_every_kind_is_tested() -> None:
    assert {prior.kind for prior, _ in PRIORS.values()} | {"choice"} == set(KINDS)
