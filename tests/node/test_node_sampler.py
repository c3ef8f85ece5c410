"""Tokens are drawn by seed and index alone, from the nucleus, in the right proportions."""
# ruff: noqa: E402 (imports of torch follow importorskip)

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs the node extra (torch)")

from reference_node import sampler
from reference_node.request import GREEDY, Sampling
from reference_node.sampler import NO_TOKEN, next_tokens, uniform

pytestmark = pytest.mark.node

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("row", "token"),
    [
        ([0.0, 2.0, 1.0], 1),
        ([2.0, 1.0, 2.0], 0),  # the lowest id among equals
        ([-INF, -3.0, -INF], 1),
        ([1.0, NAN, 2.0], NO_TOKEN),
        ([1.0, INF, 2.0], NO_TOKEN),
        ([-INF, -INF, -INF], NO_TOKEN),
    ],
)
@pytest.mark.parametrize("sampling", [GREEDY, Sampling(temperature=1e-4), Sampling(1e-12, top_p=0.5)])
def test_largest_logit(row, token, sampling):
    if row.count(max(row)) > 1 and sampling.temperature:
        sampling = Sampling(sampling.temperature, top_p=0.4)  # of two equals only the first is in the nucleus
    assert next_tokens(torch.tensor([row]), [sampling], [0]) == [token]


def test_a_row_that_is_no_number_changes_no_other():
    logits = torch.randn((6, 50), generator=torch.Generator().manual_seed(0))
    samplings = [Sampling(1.0, 0.9, seed=i) if i % 2 else GREEDY for i in range(6)]
    clean = next_tokens(logits, samplings, range(6))
    logits[2], logits[3, 7] = NAN, NAN
    assert next_tokens(logits, samplings, range(6)) == [*clean[:2], NO_TOKEN, NO_TOKEN, *clean[4:]]


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32), top_p=st.sampled_from([0.1, 0.5, 0.9, 1.0]), data=st.data())
def test_a_draw_does_not_depend_on_the_batch(seed, top_p, data):
    logits = 3 * torch.randn((8, 40), generator=torch.Generator().manual_seed(seed))
    samplings = [Sampling(0.7 + 0.1 * i, top_p, seed=seed + i) if i != 3 else GREEDY for i in range(8)]
    indices = [5 * i for i in range(8)]
    together = next_tokens(logits, samplings, indices)
    rows = data.draw(st.permutations(range(8)))[:5]
    some = next_tokens(logits[rows], [samplings[i] for i in rows], [indices[i] for i in rows])
    assert some == [together[i] for i in rows]


def test_draws_are_functions_of_seed_and_index_and_look_uniform():
    # SHA-256 is the same everywhere; a completion can be checked years later.
    assert (uniform(7, 0), uniform(7, 1)) == (0.8428104653763138, 0.4811279317353322)
    draws = np.array(
        [[uniform(seed, index) for index in range(200)] for seed in (-(2**63), -1, 0, 1, 2**63 - 1)]
    )
    assert len(np.unique(draws)) == draws.size
    assert draws.min() >= 0
    assert draws.max() < 1
    # Kolmogorov-Smirnov distance of 1,000 draws from the uniform distribution: 1.63 / sqrt(n) is the 1 % bound.
    steps = np.arange(1, draws.size + 1) / draws.size
    assert np.abs(np.sort(draws, axis=None) - steps).max() < 1.63 / math.sqrt(draws.size)


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [
        (0.2, [0]),
        (0.4, [0]),
        (0.41, [0, 1]),
        (0.7, [0, 1]),
        (0.71, [0, 1, 2]),
        (0.9, [0, 1, 2]),
        (1.0, [0, 1, 2, 3]),
    ],
)
def test_the_nucleus_is_the_smallest_set_that_reaches_top_p_in_the_right_proportions(
    monkeypatch, top_p, kept
):
    chance = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
    count = 1000
    monkeypatch.setattr(sampler, "uniform", lambda seed, index: (index + 0.5) / count)
    # Shares just above a bound, so that rounding of the logits to float32 does not move it.
    logits = chance.log().float().repeat(count, 1)[:, [2, 0, 3, 1]]
    drawn = next_tokens(logits, [Sampling(1.0, top_p - 1e-6)] * count, range(count))
    share = np.bincount([[2, 0, 3, 1][token] for token in drawn], minlength=4) / count
    expected = torch.zeros(4, dtype=torch.float64)
    expected[kept] = chance[kept] / chance[kept].sum()
    assert np.abs(share - expected.numpy()).max() <= 1.5 / count


def test_temperature_sharpens_and_flattens(monkeypatch):
    count, logits = 500, torch.tensor([[1.0, 0.0]])
    monkeypatch.setattr(sampler, "uniform", lambda seed, index: (index + 0.5) / count)
    for temperature in (0.25, 1.0, 4.0):
        drawn = next_tokens(logits.repeat(count, 1), [Sampling(temperature)] * count, range(count))
        expected = 1 / (1 + math.exp(-1 / temperature))
        assert drawn.count(0) / count == pytest.approx(expected, abs=2 / count)
