"""Methods behind one interface: gradients, span credit, tier 1, the bank, sampled payouts, the cache."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the node extra (torch)")

import torch

from models.errors import InputError
from reference_node.attribution.cache import Cache
from reference_node.attribution.coalition_bank import BankPlan, CoalitionBank, fitted_values
from reference_node.attribution.corpus import make_corpus
from reference_node.attribution.decoder import GroupedLora
from reference_node.attribution.ef_base import EfBase
from reference_node.attribution.evaluation import member_matrix, ranks, spearman, total_variation
from reference_node.attribution.gradients import GradientPoint, document_rows
from reference_node.attribution.likelihood import Text, Window, log_likelihoods, padded
from reference_node.attribution.method import document_texts, inside_players, player_sums, shares
from reference_node.attribution.planted import planted_documents
from reference_node.attribution.poa_llm import PoaLlm
from reference_node.attribution.retrain import fresh_adapter, train_adapters
from reference_node.attribution.sampled import is_sampled, sampling_error
from reference_node.attribution.spans import SpanIndex
from reference_node.attribution.spans_corpus import SpanDocument
from reference_node.attribution.start_gradients import StartPoint
from reference_node.attribution.tier1 import Tier1
from reference_node.attribution.tracin import TracIn
from tests.node.attribution_world import (
    RECIPE,
    WORDS,
    Flat,
    small_corpus,
    small_documents,
    small_model,
    small_queries,
)

pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def trained():
    """The small model and an adapter of all documents."""
    model, texts = small_model(), document_texts(small_documents())
    return model, train_adapters(model, padded(texts), [range(len(texts))], [1], RECIPE)


@pytest.fixture
def index(tmp_path):
    return SpanIndex.build(small_documents(), tmp_path / "spans")


def one_by_one(model, lora, text, sides):
    """Gradient of one text by plain autograd."""
    a = {place: t.clone().requires_grad_() for place, t in lora.a.items()}
    b = {place: t.clone().requires_grad_() for place, t in lora.b.items()}
    total = log_likelihoods(
        model, padded([text]).take(torch.zeros(1, 1, dtype=int)), GroupedLora(a, b, lora.scale)
    )
    wanted = [*(a.values() if "a" in sides else ()), *(b.values() if "b" in sides else ())]
    return torch.cat([g.flatten() for g in torch.autograd.grad(total.sum(), wanted)]).numpy()


def test_gradient_rows_are_those_of_each_text_alone(trained):
    model, lora = trained
    texts = [*document_texts(small_documents()), *small_queries()]
    point = GradientPoint(model, lora)
    rows = point.rows(texts)
    for text, row in zip(texts, rows, strict=True):
        expected = one_by_one(model, lora, text, "ab")
        assert np.abs(row - expected).max() < 1e-3 * max(1.0, np.abs(expected).max())
    widths = [part.stop - part.start for part in point.tensors]
    assert sum(widths) == rows.shape[1]
    assert len(widths) == 2 * len(lora.b)


def test_at_the_start_only_b_has_a_gradient_and_one_backward_pass_of_the_base_gives_it():
    model, texts = small_model(), [*document_texts(small_documents()), *small_queries()]
    whole = StartPoint(model, RECIPE, 7, sketch=0, targets=RECIPE.targets)
    rows = GradientPoint(model, whole.lora).rows(texts)
    half = sum(t.numel() for t in whole.lora.a.values())
    assert not rows[:, :half].any()
    assert np.abs(rows[:, half:] - whole.rows(texts)).max() < 1e-5 * np.abs(rows).max()
    some = StartPoint(model, RECIPE, 7, sketch=0)
    assert {name for _, name in some.places} == {"o_proj", "down_proj"}
    assert some.rows(texts).shape[1] < whole.rows(texts).shape[1]


def test_a_sketch_keeps_inner_products_and_is_a_part_of_the_point():
    model, texts = small_model(), document_texts(small_documents())
    whole, sketched = (StartPoint(model, RECIPE, 7, sketch=k) for k in (0, 512))
    exact, found = whole.rows(texts), sketched.rows(texts)
    assert found.shape[1] == 512 * RECIPE.rank * len(sketched.places)
    kernels = exact @ exact.T, found @ found.T
    assert np.abs(kernels[0] - kernels[1]).max() < 0.15 * kernels[0].max()
    hashes = {StartPoint(model, RECIPE, seed, k).sha256 for seed in (7, 8) for k in (0, 16)}
    assert len(hashes) == 4


def test_of_a_long_answer_a_window_is_read_that_its_tokens_name():
    window, tokens = Window(answer=4, context=3), tuple(range(100, 130))
    short = Text(tokens[:6], start=3)
    assert window.of(short) is short
    found = window.of(Text(tokens, start=10))
    assert len(found.tokens) == 7
    assert found.start == 3
    first = found.tokens[found.start] - 100
    assert 10 <= first <= 26
    assert found == window.of(Text(tokens, start=10))
    firsts = {window.of(Text((*tokens[:29], i), start=10)).tokens[3] for i in range(200)}
    assert firsts >= set(range(110, 126))  # all places but perhaps the last, whose token varies
    assert window.of(Text(tokens[:12], start=10)) == Text(tokens[7:12], start=3)
    with pytest.raises(ValueError, match="a window of 0 tokens after 3; allowed 1 and above"):
        Window(answer=0, context=3)


def test_vectorised_rows_equal_torch_func(trained):
    model, lora = trained
    places = list(lora.b)
    tokens = torch.tensor(small_queries()[0].tokens)

    def value(parts, ids):
        one = GroupedLora(lora.a, dict(zip(places, parts, strict=True)), lora.scale)
        from reference_node.attribution.likelihood import Padded

        counted = torch.ones(1, 1, len(ids) - 1, dtype=torch.bool)
        return log_likelihoods(model, Padded(ids[None, None], counted), one).sum()

    parts = tuple(lora.b[place] for place in places)
    grads = torch.func.grad(value)(parts, tokens)
    expected = torch.cat([g.flatten() for g in grads]).numpy()
    found = GradientPoint(model, lora).rows([Text(tuple(tokens.tolist()))])[0, -len(expected) :]
    assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()


def test_a_gradient_that_is_not_finite_is_refused_with_its_text(trained):
    model, lora = trained
    broken = {
        place: torch.full_like(t, math.nan) if place == (0, "v_proj") else t for place, t in lora.b.items()
    }
    point = GradientPoint(model, GroupedLora(lora.a, broken, lora.scale))
    with pytest.raises(InputError, match=r"text 0: its gradient is not finite"):
        point.rows(small_queries())


def test_documents_that_cannot_be_scored_are_refused_by_name():
    with pytest.raises(InputError, match="the corpus holds no document"):
        document_texts([])
    with pytest.raises(InputError, match="document 'x': has fewer than two tokens"):
        document_texts([SpanDocument("x", "ana", (1,))])
    with pytest.raises(InputError, match="the corpus holds no document"):
        make_corpus([])


def test_tracin_at_one_state_is_the_gradient_product_and_over_states_a_weighted_sum(trained):
    model, lora = trained
    texts, queries, start = (
        document_texts(small_documents()),
        small_queries(),
        fresh_adapter(trained[0], RECIPE, 1),
    )
    last = TracIn("gradient_dot", model, [(0.5, lora)], texts, Cache()).scores(queries)
    point = GradientPoint(model, lora)
    assert np.allclose(last, 0.5 * point.rows(queries) @ point.rows(texts).T, rtol=1e-4, atol=1e-4)
    first = TracIn("gradient_dot", model, [(0.0, start)], texts, Cache()).scores(queries)  # weight 3e-4
    both = TracIn("tracin_cp", model, [(0.0, start), (0.5, lora)], texts, Cache())
    assert np.allclose(both.scores(queries), first + last, rtol=1e-4, atol=1e-4)
    assert both.params["states"] == 2


def plain_credit(documents, query, least=1):
    """The published rule, word by word."""
    found = np.zeros(len(documents))
    for place in range(query.start, len(query.tokens)):
        for length in range(place + 1, 0, -1):
            span = query.tokens[place - length + 1 : place + 1]
            where = [
                number
                for number, one in enumerate(documents)
                for first in range(len(one.tokens) - length + 1)
                if one.tokens[first : first + length] == span
            ]
            if where:
                break
        if where and length >= least:
            for number in where:
                found[number] += 1 / len(where)
    return found


@pytest.mark.parametrize("least", [1, 2])
def test_span_credit_is_the_published_rule(index, least):
    documents = small_documents()
    queries = [
        *small_queries(),
        Text((1, 3, 4, 5, 6), start=1),
        Text((*documents[6].tokens[2:8], 9), start=2),
    ]
    found = PoaLlm(index, least).scores(queries)
    for row, query in zip(found, queries, strict=True):
        assert np.allclose(row, plain_credit(documents, query, least))
    assert (found.sum(axis=1) <= [len(query.tokens) - query.start for query in queries]).all()


def test_span_credit_by_first_registration_gives_copies_nothing(index):
    corpus, queries = small_corpus(), small_queries()
    found = PoaLlm(index, 2, corpus.clusters.leaders[: corpus.real]).scores(queries)
    assert not found[:, corpus.clusters.duplicates[: corpus.real]].any()
    alone = np.stack([plain_credit(small_documents()[:8], query, 2) for query in queries])
    assert np.allclose(found[:, :8], alone)


def test_copies_change_no_score_of_tier_1(index, tmp_path):
    model, queries = small_model(), small_queries()
    documents = small_documents()
    planted = planted_documents(documents, WORDS, count=4, seed=1)
    honest, attacked = (make_corpus(some, planted) for some in (documents[:8], documents))
    without = SpanIndex.build(documents[:8], tmp_path / "honest")
    before = Tier1(model, RECIPE, honest, without, Cache()).scores(queries)
    after = Tier1(model, RECIPE, attacked, index, Cache())
    found = after.scores(queries)
    assert np.allclose(found[:, :8], before[:, :8], atol=1e-5)
    assert not found[:, 8:11].any()
    assert np.allclose(found[:, 11:], before[:, 8:], atol=1e-5)
    assert after.params["poa_llm.least_tokens"] == 2


def test_the_dual_names_the_document_that_is_asked_for():
    model, texts, queries = small_model(), document_texts(small_documents()[:8]), small_queries()
    found = EfBase(StartPoint(model, RECIPE, 301, sketch=16), texts, Cache()).scores(queries)
    assert found.argmax(axis=1).tolist() == [0, 3, 6]


def test_players_are_contributors_joined_with_whom_they_copy():
    joined, alone = small_corpus(), small_corpus(clustered=False)
    assert joined.holders == alone.holders == ("ana", "ben", "cid", "dan")
    assert joined.player_of_holder().tolist() == [0, 1, 2, 1]
    assert alone.player_of_holder().tolist() == [0, 1, 2, 3]
    assert (joined.players, alone.players, joined.real) == (3, 4, 11)
    scores = np.arange(15.0)[None]
    assert joined.folded(scores)[0, 3:6].tolist() == [3 + 8, 4 + 9, 5 + 10]
    assert joined.folded(scores)[0, 8:11].tolist() == [0, 0, 0]


def test_planted_documents_look_like_the_corpus_and_say_nothing():
    documents = small_documents()
    planted = planted_documents(documents, WORDS, count=50, seed=3)
    assert planted == planted_documents(documents, WORDS, count=50, seed=3)
    assert {len(one.tokens) for one in planted} <= {len(one.tokens) for one in documents}
    assert all((one.tokens[0], one.tokens[-1], one.owner) == (1, 2, "") for one in planted)


def test_a_banks_states_are_the_base_everybody_and_pairs():
    found = BankPlan(states=48).coalitions(8)
    assert (found[0], found[1], len(set(found))) == (0, 255, 48)
    assert all(one ^ other == 255 for one, other in zip(found[2::2], found[3::2], strict=True))
    assert {one.bit_count() for one in found[2:]} <= set(range(2, 7))
    assert BankPlan(states=24).coalitions(8) == found[:24]
    with pytest.raises(ValueError, match="48 states of 4 players; allowed 4 to 8"):
        BankPlan(states=48).coalitions(4)
    with pytest.raises(ValueError, match="states even and at least 4"):
        BankPlan(states=7)
    assert len(set(BankPlan(states=48).coalitions(40))) == 48


def test_the_fit_finds_an_additive_game_and_leans_on_the_prior_where_rows_are_silent():
    drawn = np.random.default_rng(2)
    worth = drawn.normal(size=(5, 8))
    members = member_matrix(np.array(BankPlan(states=48).coalitions(8)), 8)
    outputs = worth @ members.T - 7.0
    none = np.zeros((5, 8))
    assert np.abs(fitted_values(outputs, members, none, BankPlan(states=48, ridge=1e-9)) - worth).max() < 1e-6
    prior = shares(np.abs(worth))
    gain = np.maximum(worth.sum(axis=1), 0)[:, None]
    assert np.allclose(
        fitted_values(outputs, members, prior, BankPlan(states=48, ridge=1e9)), prior * gain, atol=1e-6
    )


def test_a_bank_shares_out_by_states_and_keeps_what_it_trained(tmp_path):
    corpus, model, queries = small_corpus(clustered=False), small_model(), small_queries()
    plan = BankPlan(states=8, ridge=0.5)
    bank = CoalitionBank(model, corpus, RECIPE, plan, Flat(corpus), Cache(tmp_path), Cache(tmp_path))
    outputs, values, scores = bank.outputs(queries), bank.values(queries), bank.scores(queries)
    base = log_likelihoods(model, padded(queries).take(torch.arange(len(queries))[None]))[0]
    assert np.allclose(outputs[:, 0], base.numpy(), atol=1e-5)
    gained = outputs[:, 1] > outputs[:, 0]
    assert gained.any()
    by_player = player_sums(scores[:, : corpus.real], corpus.player_of, corpus.players)
    assert np.allclose(by_player.sum(axis=1)[gained], values.sum(axis=1)[gained])
    assert not scores[:, corpus.clusters.duplicates][gained].any()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert len(files) == plan.states  # seven adapters and the outputs
    again = CoalitionBank(model, corpus, RECIPE, plan, Flat(corpus), Cache(), Cache(None, tmp_path))
    assert np.array_equal(again.outputs(queries), outputs)  # from the outputs, nothing trained
    assert again.params == {
        "states": 8,
        "seed": 7000,
        "ridge_per_million": 500_000,
        "window": "16+12",
        "prior": "flat",
    }


def test_an_answer_that_all_data_made_no_likelier_is_scored_by_tier_1(tmp_path):
    corpus, queries = small_corpus(clustered=False), small_queries()

    class Harmed(CoalitionBank):
        def outputs(self, queries):
            return np.tile(np.linspace(-1.0, -2.0, self.plan.states), (len(queries), 1))

    tier1 = Flat(corpus)
    bank = Harmed(small_model(), corpus, RECIPE, BankPlan(states=8), tier1, Cache())
    assert np.array_equal(bank.scores(queries), tier1.scores(queries))


def test_values_are_divided_inside_a_player_and_never_lost():
    scores = np.array([[3.0, 1.0, -2.0, 0.0, -1.0]])
    player_of = np.array([0, 0, 0, 1, 1])
    found = inside_players(np.array([[8.0, -4.0]]), scores, player_of)
    assert found.tolist() == [[6.0, 2.0, 0.0, -2.0, -2.0]]
    assert shares(np.array([[3.0, -1.0, 1.0]])).tolist() == [[0.75, 0.0, 0.25]]
    assert shares(np.array([[3.0, -1.0, 1.0]]), 4.0).tolist() == [[0.0, 0.0, 0.0]]


def test_tier_2_looks_at_the_stated_part_of_the_answers():
    ids = [f"{i:032x}" for i in range(20_000)]
    part = np.mean([is_sampled(one, 50_000) for one in ids])
    assert abs(part - 0.05) < 0.005
    assert [is_sampled(one, 50_000) for one in ids[:50]] == [is_sampled(one, 50_000) for one in ids[:50]]
    assert all(is_sampled(one, 100_000) for one in ids if is_sampled(one, 50_000))


def test_the_sampling_error_falls_with_the_rate_and_is_none_at_its_ends():
    drawn = np.random.default_rng(5)
    first, second = (shares(drawn.random((400, 4))) for _ in range(2))
    never, rare, often, always = (
        sampling_error(first, second, second, rate, answers=300, epochs=30, seed=1)
        for rate in (0.0, 0.05, 0.5, 1.0)
    )
    assert never["tv_sampled"] == never["tv_tier1"] > rare["tv_of_sampling"] > often["tv_of_sampling"]
    assert always["tv_of_sampling"] == always["tv_answer"] == always["tv_full"] == 0.0
    assert rare["tv_answer"] > often["tv_answer"] > 0


def test_rank_correlation_is_scipys_with_ties():
    left = np.array([[1.0, 2.0, 2.0, 3.0], [1.0, 1.0, 1.0, 1.0]])
    right = np.array([[4.0, 3.0, 3.0, 1.0], [1.0, 2.0, 3.0, 4.0]])
    assert ranks(left)[0].tolist() == [0.0, 1.5, 1.5, 3.0]
    assert spearman(left, right) == pytest.approx([-1.0, 0.0])
    assert total_variation(np.array([[1.0, 0.0]]), np.array([[0.25, 0.75]])).tolist() == [0.75]


def test_the_cache_reads_what_it_wrote_and_computes_broken_files_anew(tmp_path):
    made = []

    def build():
        made.append(1)
        return np.arange(3.0)

    cache = Cache(tmp_path / "own", tmp_path / "shipped")
    for _ in range(2):
        assert cache.array({"x": 1}, build).tolist() == [0.0, 1.0, 2.0]
    assert len(made) == 1
    (path,) = (tmp_path / "own").iterdir()
    path.write_bytes(path.read_bytes()[:-5])
    assert cache.array({"x": 1}, build).tolist() == [0.0, 1.0, 2.0]
    assert len(made) == 2
    cache.array({"x": 2}, build)
    assert len(made) == 3
    (tmp_path / "own").rename(tmp_path / "shipped")
    cache.array({"x": 1}, build)
    assert len(made) == 3
    assert len(list((tmp_path / "shipped").iterdir())) == 2


def test_rows_are_kept_under_what_they_depend_on(tmp_path, trained):
    model, lora = trained
    texts = document_texts(small_documents())
    cache = Cache(tmp_path)
    document_rows(GradientPoint(model, lora), texts, cache)
    document_rows(GradientPoint(model, lora), texts, cache)
    StartPoint(model, RECIPE, 1, sketch=4).document_rows(texts, cache)
    document_rows(GradientPoint(model, lora), texts[:-1], cache)
    assert len(list(tmp_path.iterdir())) == 3
