"""The published small-model formula: its closed form, its sign, and dattri's scores for the same gradients."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the node extra (torch)")

from hypothesis import given
from hypothesis import strategies as st

from models.influence import datainf_scores, dual_scores
from reference_node.attribution.cache import Cache
from reference_node.attribution.datainf import PoaSmall
from reference_node.attribution.evaluation import spearman
from reference_node.attribution.fixtures.answers import document_texts
from reference_node.attribution.fixtures.world import load_world
from tests.node.dattri_oracle import QUERIES, RECORDING

pytestmark = pytest.mark.node

seeds = st.integers(0, 2**32 - 1)
dampings = st.floats(1e-3, 1e3)


@pytest.fixture(scope="module")
def world():
    return load_world("f1")


@pytest.fixture(scope="module")
def ours(world):
    """Scores of all documents for the recorded queries."""
    last = world.states[max(world.states)][1]
    method = PoaSmall(world.model, last, document_texts(world.fixture), Cache())
    return method.scores([world.queries[i] for i in QUERIES])


def agree(found: np.ndarray, expected: np.ndarray) -> None:
    assert np.abs(found - expected).max() < 2e-3 * np.abs(expected).max()
    assert spearman(found, expected).min() > 0.999


def test_scores_and_ranks_are_those_that_dattri_computed(world, ours):
    recorded = json.loads(RECORDING.read_text())
    assert recorded["made_by"]["dattri"] == "0.3.0"
    assert recorded["base_sha256"] == world.truth.facts["base_sha256"]
    assert recorded["queries"] == list(QUERIES)
    agree(ours, np.array(recorded["scores"]))


@given(seeds, st.integers(1, 20), st.integers(1, 12), dampings)
def test_whoever_is_asked_for_is_paid(seed, samples, width, damping):
    """A query equal to a sample pays that sample, for any data and damping: the sign cannot be turned."""
    drawn = np.random.default_rng(seed).normal(0, 3, (samples, width))
    own = np.diag(datainf_scores(drawn, drawn, [slice(0, width)], damping))
    assert (own > 0).all()


def test_a_tensor_without_gradients_adds_nothing_and_bad_input_is_refused():
    drawn = np.random.default_rng(1).normal(size=(5, 4))
    wide = np.concatenate([drawn, np.zeros((5, 3))], axis=1)
    parts = [slice(0, 4), slice(4, 7)]
    assert np.array_equal(datainf_scores(wide, wide, parts), datainf_scores(drawn, drawn, [slice(0, 4)]))
    assert not dual_scores(np.zeros((2, 3)), np.zeros((3, 3))).any()
    with pytest.raises(ValueError, match="damping 0 is out of range; allowed above 0"):
        datainf_scores(drawn, drawn, [slice(0, 4)], 0)
    with pytest.raises(ValueError, match=r"shapes \(5, 4\) and \(0, 4\)"):
        datainf_scores(drawn, drawn[:0], [slice(0, 4)])
