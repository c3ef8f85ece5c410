"""Fixtures and how their truth is made: words, differentiable decoder, training side by side, resuming."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the node extra (torch)")

import torch

from reference_node.attribution import coalitions
from reference_node.attribution.cache import Cache
from reference_node.attribution.coalitions import Game
from reference_node.attribution.decoder import GroupedLora, flattened, hidden_states, stacked, unflattened
from reference_node.attribution.fixtures.answers import greedy_answers
from reference_node.attribution.fixtures.base_model import shape
from reference_node.attribution.fixtures.catalogue import FIXTURES
from reference_node.attribution.fixtures.f2 import DIGESTS, REGISTERS, SPOKEN, f2
from reference_node.attribution.fixtures.store import BYTES_MAX, data_folder
from reference_node.attribution.fixtures.truth_plan import SEEDS, TRUTH_SEEDS, planned, truth_jobs
from reference_node.attribution.fixtures.world import load_world
from reference_node.attribution.likelihood import Text, log_likelihoods, padded
from reference_node.attribution.retrain import Recipe, fresh_adapter, train_adapters
from reference_node.model import random_model
from tests.node.attribution_world import CONFIG, RECIPE, small_documents, small_model, small_queries

pytestmark = pytest.mark.node


@pytest.fixture(params=FIXTURES)
def world(request):
    return load_world(request.param)


def test_fixture_two_is_the_one_that_is_specified():
    fixture = f2()
    assert fixture.digests() == DIGESTS
    assert (len(fixture.documents), len(fixture.queries), len(fixture.words)) == (134, 58, 310)


def test_fixture_two_is_mostly_asked_in_words_that_no_holder_used():
    fixture = f2()
    told = {(one.owner, one.tokens[1]) for one in fixture.documents if one.owner != 6}
    assert told == {
        (owner, fixture.words.index(REGISTERS[SPOKEN[owner]])) for owner in range(8) if owner != 6
    }
    holders = {"c0only": (0,), "c0&c1": (0, 1), "c1only": (1,), "c2only": (2,), "c2&c5": (2, 5)}
    holders |= {"c3only": (3,), "c3&c7": (3, 7), "c4": (4,), "c5only": (5,)}
    verbatim = [
        query.key[2] in {SPOKEN[owner] for owner in holders[query.group]} for query in fixture.queries
    ]
    assert 0.1 < np.mean(verbatim) < 0.35


def test_a_fixtures_base_answers_in_its_own_words_and_its_shape_is_as_specified(world):
    assert world.model.config == shape(len(world.fixture.words))
    assert shape(187).parameters() == 516_352
    assert {len(answer) for answer in world.truth.answers} == {5}
    last = world.states[max(world.states)][1]
    prompts = [query.prompt for query in world.fixture.queries[:6]]
    assert greedy_answers(world.model, last, prompts) == world.truth.answers[:6]
    assert sum(tensor.numel() for tensor in (*last.a.values(), *last.b.values())) == 36_864


def test_the_plan_trains_what_shapley_weighs_most_with_most_seeds():
    jobs = truth_jobs(8)
    assert [sum(seed == one for _, seed in jobs) for one in SEEDS] == [256, 80, 10, 256]
    assert {one.bit_count() for one in planned(8, TRUTH_SEEDS[1])} == {0, 4, 7, 8}
    assert len(set(jobs)) == len(jobs)


def test_committed_files_are_small_and_say_where_they_were_made(world):
    assert all(path.stat().st_size <= BYTES_MAX for path in data_folder().rglob("*") if path.is_file())
    facts = json.loads((data_folder() / f"{world.fixture.name}_truth.json").read_text())
    assert facts["adapters"] == len(truth_jobs(8))
    assert {"processor", "torch", "python", "threads"} <= facts["platform"].keys()


def test_a_coalition_retrained_here_has_the_value_of_the_table(world):
    """Contributor 4 alone: ten documents, sixteen steps. Other platforms round otherwise."""
    texts = [Text(one.tokens) for one in world.fixture.documents]
    owners = [one.owner for one in world.fixture.documents]
    game = Game(world.model, texts, owners, world.queries, Recipe())
    found = game.outputs([(0, 101), (1 << 4, 101)], Cache())
    assert np.abs(found[0] - world.truth.values[0, 0]).max() < 1e-2
    assert np.abs(found[1] - world.truth.values[0, 1 << 4]).mean() < 0.1


SWITCHES = {
    "plain": {},
    "biases": {"family": "qwen2", "qkv_bias": True},
    "normed": {"family": "qwen3", "qk_norm": True},
    "window": {"family": "mistral", "sliding_window": 5},
    "untied": {"tied": False},
}


@pytest.mark.parametrize("switch", SWITCHES)
def test_the_differentiable_decoder_computes_what_the_serving_one_does(switch):
    model = random_model(replace(CONFIG, **SWITCHES[switch]), 5, max_length=32)
    tokens = torch.randint(0, model.config.vocab_size, (3, 11))
    logits = torch.nn.functional.linear(hidden_states(model, tokens[None])[0], model.head)
    assert torch.allclose(logits, model.all_logits(tokens), atol=1e-4)


def test_groups_have_adapters_of_their_own():
    model = small_model()
    generator = torch.Generator().manual_seed(2)
    adapters = []
    for seed in range(3):
        one = fresh_adapter(model, RECIPE, seed)
        drawn = {place: torch.randn(b.shape, generator=generator) * 0.1 for place, b in one.b.items()}
        adapters.append(GroupedLora(one.a, drawn, one.scale))
    tokens = torch.randint(0, CONFIG.vocab_size, (3, 2, 9), generator=generator)
    together = hidden_states(model, tokens, stacked(adapters))
    for group, one in enumerate(adapters):
        assert torch.allclose(together[group], hidden_states(model, tokens[group][None], one)[0], atol=1e-5)
        assert np.array_equal(flattened(unflattened(flattened(one), one)), flattened(one))
        assert torch.equal(stacked(adapters).row(group).b[0, "q_proj"], one.b[0, "q_proj"])


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_an_adapter_is_what_peft_would_make_of_the_same_tensors(tmp_path):
    """The delta of a grouped adapter on a transformers model with peft: same logits."""
    transformers = pytest.importorskip("transformers")
    peft = pytest.importorskip("peft")
    from reference_node.adapters import Adapter, save_adapter
    from reference_node.weights import save_model

    model, recipe = small_model(), RECIPE
    one = fresh_adapter(model, recipe, 4)
    b = {
        place: torch.randn(t.shape, generator=torch.Generator().manual_seed(9)) * 0.1
        for place, t in one.b.items()
    }
    lora = GroupedLora(one.a, b, one.scale)
    save_model(model, tmp_path / "base")
    flat = [{place: t[0] for place, t in store.items()} for store in (lora.a, lora.b)]
    save_adapter(Adapter("", recipe.rank, recipe.alpha, recipe.targets, *flat), tmp_path / "adapter")
    base = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base").eval()
    wrapped = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    tokens = torch.randint(0, CONFIG.vocab_size, (2, 9))
    with torch.no_grad():
        expected = wrapped(input_ids=tokens).logits
    ours = torch.nn.functional.linear(hidden_states(model, tokens[None], lora)[0], model.head)
    assert torch.allclose(ours, expected, atol=1e-4)


def test_padding_and_context_do_not_count():
    model = small_model()
    texts = [Text((1, 5, 6, 7)), Text((1, 5, 6, 7, 8, 9), start=4)]
    batch = padded(texts)
    together = log_likelihoods(model, batch.take(torch.arange(2)[None]))[0]
    for i, text in enumerate(texts):
        states = hidden_states(model, torch.tensor(text.tokens)[None, None])[0, 0]
        rows = torch.log_softmax(torch.nn.functional.linear(states, model.head), -1)
        expected = sum(rows[p - 1, text.tokens[p]] for p in range(text.start, len(text.tokens)))
        assert float(together[i]) == pytest.approx(float(expected), abs=1e-4)
    with pytest.raises(ValueError, match="start 4 with 4 tokens; allowed 1 to below"):
        Text((1, 2, 3, 4), start=4)


def test_training_side_by_side_is_training_alone():
    model, corpus = small_model(), padded([Text(one.tokens) for one in small_documents()])
    rows, seeds = [[0, 1, 2, 3, 4], [3, 4, 5, 6, 7]], [1, 2]
    together = train_adapters(model, corpus, rows, seeds, RECIPE)
    for group in range(2):
        alone = train_adapters(model, corpus, [rows[group]], [seeds[group]], RECIPE)
        assert np.abs(flattened(together.row(group)) - flattened(alone)).max() < 1e-4
    assert RECIPE.steps(5) == 6
    with pytest.raises(ValueError, match=r"groups of \[1, 2\] documents"):
        train_adapters(model, corpus, [[0], [1, 2]], [1, 2], RECIPE)


def test_a_killed_run_goes_on_where_it_was(tmp_path, monkeypatch):
    documents = small_documents()
    owners = [("ana", "ben", "cid", "dan").index(one.owner) for one in documents]
    game = Game(small_model(), [Text(one.tokens) for one in documents], owners, small_queries(), RECIPE)
    jobs = [(coalition, 1) for coalition in range(16)]
    trained = []
    real = coalitions.train_adapters

    def counted(model, corpus, rows, seeds, recipe):
        trained.append(len(rows))
        return real(model, corpus, rows, seeds, recipe)

    def killed(done, all_):
        if done > 8:
            raise KeyboardInterrupt

    monkeypatch.setattr(coalitions, "train_adapters", counted)
    with pytest.raises(KeyboardInterrupt):
        game.outputs(jobs, Cache(tmp_path), killed)
    before = sum(trained)
    resumed = game.outputs(jobs, Cache(tmp_path))
    assert sum(trained) == len(jobs)
    assert before < len(jobs)
    assert np.array_equal(resumed, game.outputs(jobs, Cache()))
