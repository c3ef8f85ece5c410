"""Fixture, truth table and first methods: what retraining found, and how near one backward pass comes to it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the node extra (torch)")

from models.errors import InputError
from models.influence import datainf_scores, dual_scores
from models.shapley import quotient_values, shapley_values
from reference_node.attribution.cache import Cache
from reference_node.attribution.datainf import PoaSmall
from reference_node.attribution.ef_base import EfBase
from reference_node.attribution.evaluation import Target, figure, lds, spearman
from reference_node.attribution.fixtures.answers import document_texts, query_texts
from reference_node.attribution.fixtures.f1 import f1
from reference_node.attribution.fixtures.f2 import f2
from reference_node.attribution.fixtures.store import (
    base_hash,
    data_folder,
    load_base,
    load_checkpoints,
    load_truth,
)
from reference_node.attribution.method import player_sums
from reference_node.attribution.retrain import Recipe
from reference_node.attribution.start_gradients import StartPoint

pytestmark = pytest.mark.node

PUBLISHED = {
    "words": "cc129c68d15c8d74be4ef133420d85dd0cf312c1504e47d18789a61d4029cb2e",
    "documents": "8b93a7740a56f82d26bf1310fe86e10c846586c880b18ba6b652d08840c98eb7",
    "queries": "f7ea1a32445629d450080c54324bfd54d49674f77191252684ef78e3aa6a4878",
}
NOISE = 6
"""The contributor of random documents."""
SIZE_4 = np.array([one for one in range(256) if one.bit_count() == 4])


@pytest.fixture(scope="module")
def world():
    """Fixture one with its base model, the truth table, and each document's owner."""
    fixture = f1()
    base = load_base(data_folder() / "f1_base.safetensors", len(fixture.words))
    truth = load_truth(fixture, base_hash(base), data_folder() / "f1_truth.npz")
    return fixture, base, truth, np.array([one.owner for one in fixture.documents])


def table(truth, seeds=slice(None)):
    """Return the mean value of every coalition over seeds, float64 (queries, 256)."""
    return np.nanmean(truth.values[seeds].astype(np.float64), axis=0).T


def test_fixture_one_is_the_one_that_is_specified():
    fixture = f1()
    assert fixture.digests() == PUBLISHED
    assert (len(fixture.documents), len(fixture.queries), fixture.contributors) == (134, 58, 8)
    assert f2().digests() == f2().digests() != PUBLISHED


def test_every_coalition_was_retrained_and_shapley_shares_out_the_whole_gain(world):
    _, _, truth, _ = world
    assert truth.values.shape[1:] == (256, 58)
    assert not np.isnan(truth.values[0]).any()
    values = table(truth)
    phi = shapley_values(values)
    assert np.allclose(phi.sum(axis=1), values[:, -1] - values[:, 0], atol=1e-9)
    assert phi[:, NOISE].mean() < 0.05 * phi.sum(axis=1).mean()
    merged = shapley_values(quotient_values(values, np.array([0, 1, 2, 3, 4, 5, 6, 3])))
    assert np.allclose(merged.sum(axis=1), phi.sum(axis=1), atol=1e-9)


def test_another_seed_agrees_as_far_as_seeds_do(world):
    """The ceiling of every method: one seed's values against another's over coalitions of four."""
    _, _, truth, _ = world
    one, other = (truth.values[seed][SIZE_4].T.astype(np.float64) for seed in (0, 1))
    assert not np.isnan(other).any()
    ceiling = figure(spearman(one, other))
    assert 0.6 < ceiling.value < 0.85
    assert ceiling.error < 0.05


def test_a_truth_table_of_another_base_is_refused(world, tmp_path):
    fixture, base, *_ = world
    with pytest.raises(InputError, match="another fixture or another base model"):
        load_truth(f2(), base_hash(base), data_folder() / "f1_truth.npz")
    with pytest.raises(InputError, match="another fixture or another base model"):
        load_truth(fixture, "00" * 32, data_folder() / "f1_truth.npz")
    with pytest.raises(InputError, match="no truth table"):
        load_truth(fixture, base_hash(base), tmp_path / "none.npz")


def test_datainf_is_its_closed_form_with_the_sign_that_pays_what_helps():
    """The mean of per-sample inverses, to 1e-6; and a query equal to a sample pays that sample."""
    drawn = np.random.default_rng(5)
    samples, queries = drawn.normal(size=(30, 12)), drawn.normal(size=(4, 12))
    parts = [slice(0, 5), slice(5, 12)]
    expected = np.zeros((4, 30))
    for part in parts:
        g, v = samples[:, part], queries[:, part]
        level = 0.1 * (g**2).sum(axis=1).mean() / g.shape[1]
        inverse = np.mean(
            [np.linalg.inv(level * np.eye(g.shape[1]) + np.outer(one, one)) for one in g], axis=0
        )
        expected += v @ inverse @ g.T
    found = datainf_scores(queries, samples, parts)
    assert np.abs(found - expected).max() < 1e-6
    own = datainf_scores(samples, samples, parts)
    assert (np.diag(own) > 0).all()


def test_the_dual_is_the_damped_fisher_system():
    drawn = np.random.default_rng(6)
    samples, queries = drawn.normal(size=(9, 20)), drawn.normal(size=(3, 20))
    kernel = samples @ samples.T
    level = 0.1 * np.diag(kernel).mean()
    primal = queries @ np.linalg.inv(samples.T @ samples + level * np.eye(20)) @ samples.T
    assert np.allclose(dual_scores(queries @ samples.T, kernel), primal, atol=1e-8)
    with pytest.raises(ValueError, match=r"damping -1.* allowed above 0"):
        dual_scores(queries @ samples.T, kernel, -1)


def test_gradients_at_the_base_beat_the_published_formula_on_the_memorised_adapter(world, tmp_path):
    """Money mis-paid: about half by DataInf at the final adapter, about a fifth at the base."""
    fixture, base, truth, owner = world
    documents, queries = document_texts(fixture), query_texts(fixture, truth.answers)
    adapter = load_checkpoints(data_folder() / "f1_adapter.safetensors")[Recipe().epochs][1]
    target = Target(table(truth), NOISE)
    outputs = target.table[:, SIZE_4]
    cache = Cache(tmp_path)
    found = {}
    for method in (
        PoaSmall(base, adapter, documents, cache),
        EfBase(StartPoint(base, Recipe(), 301, sketch=64), documents, cache),
    ):
        values = player_sums(method.scores(queries), owner, 8)
        measured = {name: figure(rows).value for name, rows in target.measures(values).items()}
        found[method.name] = measured | {"lds": figure(lds(values, outputs, SIZE_4)).value}
    published, ours = found["poa_small"], found["ef_base"]
    assert published["lds"] < 0.4
    assert published["tv"] > 0.4
    assert ours["lds"] > 0.6
    assert ours["tv"] < 0.25
    assert ours["noise"] < 0.02
