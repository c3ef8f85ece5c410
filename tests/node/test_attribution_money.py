"""From scores to money: policies by name, null level, copies that gain nothing, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from models.attribution import POLICIES as SIMULATED
from models.attribution import cluster_values
from models.disputes import DisputeTerms, decide
from models.errors import InputError
from models.value_split import POLICIES, HolderSplit, null_level, split_policy, split_values
from reference_node.attribution.clusters import Clusters, Likeness, find_clusters
from reference_node.attribution.clusters_attack import copy_gains, exact_copies, measure_gain
from reference_node.attribution.pipeline_money import PLANTED, money_weights
from reference_node.attribution.policy import MoneyPolicy, Noise
from reference_node.attribution.spans_corpus import SpanDocument

pytestmark = pytest.mark.node

PLAIN = MoneyPolicy(null_level="none.v1")


def corpus(count: int = 12, seed: int = 0) -> list[SpanDocument]:
    rng = np.random.default_rng(seed)
    return [
        SpanDocument(f"d{i}", f"o{i % 3}", tuple(rng.integers(0, 300, 20).tolist())) for i in range(count)
    ]


def overlap(documents, queries=8, seed=3):
    """Score like a span method does: shared tokens with each query, which are parts of the first documents."""
    rng = np.random.default_rng(seed)
    texts = [set(rng.integers(0, 300, 60).tolist()) for _ in range(queries)]
    return np.array([[len(text & set(one.tokens)) - 3.0 for one in documents] for text in texts])


def test_the_simulations_policy_is_one_of_these_and_means_the_same() -> None:
    assert set(SIMULATED) <= set(POLICIES)
    rng = np.random.default_rng(5)
    scores, leaders = rng.normal(1, 2, (6, 9)), np.array([0, 0, 2, 3, 3, 3, 6, 7, 8])
    duplicates = np.array([0, 1, 0, 0, 0, 1, 0, 0, 0], bool)
    expected = cluster_values(
        scores, np.broadcast_to(leaders, scores.shape), np.broadcast_to(duplicates, scores.shape)
    )
    assert (split_values(split_policy("cluster_sum_clip.v1"), scores, leaders, duplicates) == expected).all()


def test_clip_order_matters_where_a_cluster_has_harmful_parts() -> None:
    scores, leaders, alone = np.array([[3.0, -1.0, 2.0]]), np.array([0, 0, 2]), np.zeros(3, bool)
    values = {
        name: split_values(policy, scores, leaders, alone).tolist()[0] for name, policy in POLICIES.items()
    }
    assert values["cluster_sum_clip.v1"] == [2.0, 0.0, 2.0]
    assert values["cluster_clip_sum.v1"] == [3.0, 0.0, 2.0]
    assert values["published_clip_sum.v1"] == [3.0, 0.0, 2.0]
    copied = np.array([False, True, False])
    both = np.array([[3.0, 3.0, 2.0]])
    assert split_values(POLICIES["cluster_sum_clip.v1"], both, leaders, copied).tolist() == [[3.0, 0.0, 2.0]]
    assert split_values(POLICIES["published_clip_sum.v1"], both, leaders, copied).tolist() == [
        [3.0, 3.0, 2.0]
    ]


def test_inside_a_cluster_the_first_or_all_in_equal_parts() -> None:
    weights, leaders, holders = np.array([[7, 0, 0, 3]]), np.array([0, 0, 0, 3]), np.array([2, 1, 1, 0])
    apart, family = np.arange(3), np.array([0, 2, 2])
    for policy, families, paid in (
        ("cluster_sum_clip.v1", apart, [3, 0, 7]),
        ("cluster_sum_clip_equal.v1", apart, [3, 3, 4]),
        ("cluster_sum_clip_equal.v1", family, [3, 0, 7]),
    ):
        assert HolderSplit(POLICIES[policy], leaders, holders, families).weights(weights).tolist() == [paid]


def test_the_null_level_takes_noise_out() -> None:
    documents = [*corpus(), *(SpanDocument(f"n{i}", "noise", (400 + i, 401, 402)) for i in range(4))]
    documents += [SpanDocument(f"p{i}", PLANTED, (500 + i, 501, 502)) for i in range(4)]
    rng = np.random.default_rng(2)
    scores = np.concatenate([rng.uniform(2, 6, (30, 12)), rng.uniform(-1, 1, (30, 8))], axis=1)
    kept = money_weights(scores, documents, PLAIN)
    level = money_weights(scores, documents, MoneyPolicy())
    noise = kept.holders.index("noise")
    assert PLANTED not in level.holders
    assert level.shares[:, noise].mean() < 0.01 < kept.shares[:, noise].mean()
    assert (level.weights.sum(axis=1) == 10**9).all()
    with pytest.raises(InputError, match="needs planted random documents"):
        money_weights(scores[:, :12], documents[:12], MoneyPolicy())
    with pytest.raises(ValueError, match="0 planted items"):
        null_level(scores, np.zeros(20, bool))


@pytest.mark.parametrize("split", ["cluster_sum_clip.v1", "cluster_sum_clip_equal.v1", "cluster_clip_sum.v1"])
def test_copies_gain_nothing_and_splits_gain_nothing(split: str) -> None:
    documents, policy = corpus(), MoneyPolicy(split, null_level="none.v1")
    gains = copy_gains(documents, "o1", overlap, policy)
    assert {gain.ratio for gain in gains["exact"]} == {1.0}
    assert max(gain.ratio for gain in gains["near"]) <= 1.05
    assert min(gain.found for kind in ("exact", "near") for gain in gains[kind]) == 1
    assert max(abs(gain.ratio - 1) for gain in gains["split"]) < 1e-8


def test_copies_pay_under_the_formula_as_it_was_published() -> None:
    """What the clusters are for: without them three copies of everything double a share and more."""
    documents = corpus()
    attacked = exact_copies(documents, "o1", 3)
    scores = overlap(attacked)
    policy = MoneyPolicy("published_clip_sum.v1", null_level="none.v1")
    alone = Clusters(np.arange(len(attacked)), np.zeros(len(attacked), np.int64))
    honest = money_weights(overlap(documents), documents, policy)
    copied = money_weights(scores, attacked, policy, clusters=alone)
    before = honest.shares[:, honest.holders.index("o1")].mean()
    after = copied.shares[:, [h.startswith("o1") for h in copied.holders]].sum(axis=1).mean()
    assert after > 1.5 * before


def test_influence_of_a_query_names_adapter_datanet_and_contributor() -> None:
    documents = corpus()
    weights = money_weights(overlap(documents), documents, PLAIN)
    places = {f"o{i}": ("1" * 64, "net", f"o{i}") for i in range(3)}
    params = PLAIN.params(name="overlap.v1", shift=3)
    found = weights.influence(0, "overlap.v1", params, places)
    assert sum(found.weights.values()) == 10**9
    assert json.loads(found.params)["policy"]["split"] == "cluster_sum_clip.v1"
    with pytest.raises(InputError, match="o2: has influence and is in no manifest"):
        weights.influence(0, "overlap.v1", params, {name: places[name] for name in ("o0", "o1")})


def test_where_nothing_had_influence_nobody_has_weight() -> None:
    documents = corpus(3)
    weights = money_weights(np.array([[-1.0, 0.0, -2.0]]), documents, PLAIN)
    assert not weights.weights.any()
    assert weights.influence(0, "m.v1", "{}", {}).weights == {}


def test_a_policy_is_named_by_its_choices() -> None:
    policies = [
        MoneyPolicy(),
        MoneyPolicy("cluster_clip_sum.v1"),
        MoneyPolicy(likeness=Likeness(tokens_per_edit=10)),
        MoneyPolicy(null_level="none.v1"),
        MoneyPolicy(noise=Noise(500_000)),
        MoneyPolicy(noise=Noise(500_000, keep_nulls=False)),
    ]
    assert len({policy.params(k=48) for policy in policies}) == len(policies)
    assert MoneyPolicy().params(k=48) == MoneyPolicy().params(k=48)
    with pytest.raises(ValueError, match="policy 'sum' is unknown; allowed cluster_sum_clip"):
        MoneyPolicy("sum")
    with pytest.raises(ValueError, match="null level 'x' is unknown"):
        MoneyPolicy(null_level="x")


def test_bad_scores_are_refused_by_document() -> None:
    documents = corpus(3)
    with pytest.raises(InputError, match=r"document 'd2' of 'o2': query 1 gives it the score nan"):
        money_weights(np.array([[1.0, 2, 3], [1, 2, np.nan]]), documents, PLAIN)
    with pytest.raises(InputError, match=r"shape \(1, 2\); expected \(queries, 3\)"):
        money_weights(np.ones((1, 2)), documents, PLAIN)
    with pytest.raises(ValueError, match=r"score at \(0, 1\) is inf"):
        split_values(
            POLICIES["cluster_sum_clip.v1"], np.array([[1, np.inf]]), np.arange(2), np.zeros(2, bool)
        )
    with pytest.raises(InputError, match="earns nothing without the attack"):
        measure_gain(documents, documents, "nobody", overlap, PLAIN)


def test_clusters_given_are_used_as_they_are() -> None:
    documents = corpus(4)
    scores = overlap(documents)
    found = find_clusters(documents)
    given = money_weights(scores, documents, PLAIN, clusters=found)
    assert (given.weights == money_weights(scores, documents, PLAIN).weights).all()


TERMS = DisputeTerms(bond_gwei=100, window_s=7 * 86_400, tolerance=10**7, slash_bps=1_000, reward_bps=5_000)


def test_disputes_move_bond_and_slash_and_nothing_else() -> None:
    published = np.array([600_000_000, 400_000_000])
    right = decide(TERMS, published, np.array([595_000_000, 405_000_000]), 10_001)
    assert (right.guilty, right.variation, right.publisher_gwei) == (False, 5_000_000, 100)
    wrong = decide(TERMS, published, np.array([500_000_000, 500_000_000]), 10_001)
    assert (wrong.guilty, wrong.slashed_gwei) == (True, 1_000)
    assert (wrong.challenger_gwei, wrong.treasury_gwei) == (600, 500)
    for verdict in (right, wrong):
        moved = verdict.challenger_gwei + verdict.publisher_gwei + verdict.treasury_gwei
        assert moved == TERMS.bond_gwei + verdict.slashed_gwei
    assert TERMS.admits(1_000, 1_000 + TERMS.window_s)
    assert not TERMS.admits(1_000, 1_001 + TERMS.window_s)
    assert not TERMS.admits(1_000, 999)
    with pytest.raises(ValueError, match="recomputed weights must be 0 or more and sum to"):
        decide(TERMS, published, np.array([1, 2]), 0)
    with pytest.raises(ValueError, match="cannot be compared"):
        decide(TERMS, published, np.array([10**9]), 0)
    with pytest.raises(ValueError, match="shares are 0 to 10000 bps"):
        DisputeTerms(0, 0, 0, 10_001, 0)
