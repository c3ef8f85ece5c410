"""What a request gets does not depend on its company, and is what transformers and peft compute."""
# ruff: noqa: E402 (imports of torch follow importorskip)

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the node extra (torch)")

from models.errors import InputError
from reference_node.engine import Engine, EngineConfig, QueueFullError
from reference_node.pool import AdapterPool
from reference_node.rehearsal import rehearsal
from reference_node.request import AdapterUse, Request, Sampling
from reference_node.weights import load_model
from tests.node.conftest import FAMILIES
from tests.node.engine_world import (
    LENGTH,
    ask,
    assert_empty,
    medley,
    prompt,
    small_engine,
    tokens_of,
)

pytestmark = [pytest.mark.node, pytest.mark.filterwarnings("ignore::FutureWarning")]

NEW = 12


def generate(model, tokens, new):
    ids = torch.tensor([tokens])
    settings = {"max_new_tokens": new, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    with torch.no_grad():
        found = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **settings)
    return found[0, ids.shape[1] :].tolist()


@pytest.mark.parametrize("name", FAMILIES)
def test_greedy_tokens_of_every_family_equal_generate(families, name):
    model, _ = load_model(families[name].folder, max_length=LENGTH)
    pool = AdapterPool(model.config, slots=1, rank_max=4)
    # Prompts shorter and longer than the windows of 9 and 11, than a block, and than the step's tokens.
    prompts = {f"p{n}": prompt(n, n, 512) for n in (1, 7, 16, 45)}
    engine = Engine(model, pool, EngineConfig(batch_max=3, length_max=LENGTH, step_tokens=20))
    done = engine.run([Request(key, tokens, NEW) for key, tokens in prompts.items()])
    for key, tokens in prompts.items():
        assert done[key].tokens == generate(families[name].reference, tokens, NEW)


def test_mixed_batch_equals_each_request_alone_and_peft(oracle):
    from peft import PeftModel

    model, _ = load_model(oracle.folder, max_length=LENGTH)
    pool = AdapterPool(model.config, slots=3, rank_max=16)
    names = ["", *(pool.register(folder) for folder in oracle.adapters)]
    requests = [ask(f"r{i}", prompt(i, 6 + 3 * i, 512), NEW, *filter(None, [names[i % 4]])) for i in range(8)]
    mixed = Engine(model, pool, EngineConfig(batch_max=8, length_max=LENGTH)).run(requests)
    alone = Engine(model, pool, EngineConfig(batch_max=1, length_max=LENGTH)).run(requests)
    assert tokens_of(mixed) == tokens_of(alone)
    wrapped = PeftModel.from_pretrained(oracle.reference, oracle.adapters[0], adapter_name="a0")
    for i, folder in enumerate(oracle.adapters[1:], start=1):
        wrapped.load_adapter(folder, adapter_name=f"a{i}")
    changed = 0
    for i, request in enumerate(requests):
        with wrapped.disable_adapter():
            base = generate(wrapped, request.prompt, NEW)
        if i % 4:
            wrapped.set_adapter(f"a{i % 4 - 1}")
        expected = generate(wrapped, request.prompt, NEW) if i % 4 else base
        changed += expected != base
        assert mixed[request.id].tokens == expected
    wrapped.unload()
    assert changed == 6  # every adapter says something else than the base, so equality above is not empty


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"step_tokens": 8},
        {"prefix_cache": False},
        {"distinct_adapters_max": 2},
        {"batch_max": 24, "block_size": 4},
        {"slots": 2, "batch_max": 4},
        {"merge_bytes": 1 << 30, "batch_max": 2},
    ],
    ids=str,
)
def test_tokens_depend_on_no_limit_of_the_engine(limits):
    engine, hashes = small_engine(**limits)
    alone, _ = small_engine(batch_max=1)
    requests = medley(hashes)
    done = engine.run(requests)
    assert tokens_of(done) == tokens_of(alone.run(requests))
    assert all(c.finish == "length" and len(c.tokens) == c.request.max_new_tokens for c in done.values())
    assert all(len(c.token_times_s) == len(c.tokens) for c in done.values())
    assert_empty(engine)


def test_rows_read_by_block_tables_as_on_an_accelerator_give_the_same_tokens():
    engine, hashes = small_engine()
    paged, _ = small_engine(paged=True, step_tokens=24)
    assert paged.attention_name == "gathered_sdpa"
    requests = medley(hashes)
    assert tokens_of(paged.run(requests)) == tokens_of(engine.run(requests))
    assert_empty(paged)


def test_rows_without_adapter_are_bit_identical_to_the_base_only_engine():
    def record(with_adapters):
        engine, hashes = small_engine(batch_max=6)
        run, rows = engine.runner.run, {f"r{i}": [] for i in range(0, 6, 2)}

        def recording(decode, chunks):
            logits = run(decode, chunks)
            entries = [*decode, *(entry for entry, _ in chunks)]
            for entry, row in zip(entries, logits, strict=True):
                rows.get(entry.completion.request.id, []).append(row.clone())
            return logits

        engine.runner.run = recording
        adapters = [[], [hashes[0]], [], [hashes[1]], [], [hashes[2], hashes[3]]]
        engine.run([ask(f"r{i}", prompt(i, 9), 20, *adapters[i] * with_adapters) for i in range(6)])
        return rows

    base, mixed = record(with_adapters=False), record(with_adapters=True)
    for name, steps in base.items():
        assert len(steps) == 20
        assert all(torch.equal(one, other) for one, other in zip(steps, mixed[name], strict=True))


def test_weighted_adapters_are_an_ensemble_and_weight_zero_is_the_base():
    engine, (one, two, *_) = small_engine()
    tokens = prompt(3, 10)
    done = engine.run(
        [
            ask("base", tokens, 16),
            ask("zero", tokens, 16, AdapterUse(one, 0.0)),
            ask("one", tokens, 16, one),
            ask("both", tokens, 16, AdapterUse(one, 0.7), AdapterUse(two, 0.6)),
            ask("turned", tokens, 16, AdapterUse(two, 0.6), AdapterUse(one, 0.7)),
        ]
    )
    said = tokens_of(done)
    assert said["zero"] == said["base"]
    assert said["both"] == said["turned"]
    assert len({tuple(said[name]) for name in ("base", "one", "both")}) == 3


def test_stop_tokens_end_a_completion_and_are_part_of_it():
    engine, _ = small_engine()
    free = engine.run([ask("a", prompt(1, 4), 10)])["a"].tokens
    done = engine.run([Request("a", prompt(1, 4), 10, stop_tokens=frozenset({free[2]}))])["a"]
    assert done.tokens == free[: free.index(free[2]) + 1]
    assert done.finish == "stop"


FAULTS = [
    ({"prompt": ()}, "prompt of 0 tokens must hold ids from 0 to 255"),
    ({"prompt": (256,)}, "prompt of 1 tokens must hold ids from 0 to 255"),
    ({"prompt": (-1,)}, "ids from 0 to 255"),
    ({"max_new_tokens": 0}, "allowed one new token or more, 128 in all"),
    ({"max_new_tokens": 128}, r"prompt \+ max_new_tokens = 129"),
    ({"adapters": (AdapterUse("f" * 64),)}, "unknown adapter ffffffffffff"),
    ({"sampling": Sampling(temperature=-1.0)}, "temperature -1.0: allowed 0 and above"),
    ({"sampling": Sampling(temperature=float("nan"))}, "temperature nan"),
    ({"sampling": Sampling(top_p=0.0)}, "top_p 0.0: allowed above 0 and at most 1"),
    ({"sampling": Sampling(seed=1 << 63)}, "seed 9223372036854775808: allowed 64-bit integers"),
]


@pytest.mark.parametrize(("change", "message"), FAULTS, ids=[str(change) for change, _ in FAULTS])
def test_malformed_requests_are_refused_with_value_and_range(change, message):
    engine, _ = small_engine()
    with pytest.raises(InputError, match=f"request x: (.|\n)*{message}"):
        engine.submit(Request(**{"id": "x", "prompt": (1,), "max_new_tokens": 1} | change))
    assert engine.idle


def test_malformed_ensembles_ids_in_flight_and_full_queues_are_refused():
    engine, hashes = small_engine(distinct_adapters_max=2, queue_max=2)
    for adapters, message in (
        ((hashes[0], hashes[0]), "the same adapter twice"),
        ((AdapterUse(hashes[0], float("inf")),), "weight inf of adapter"),
        (hashes[:3], "3 adapters; allowed 0 to 2"),
    ):
        with pytest.raises(InputError, match=message):
            engine.submit(ask("x", (1,), 1, *adapters))
    engine.submit(ask("x", (1,), 1))
    with pytest.raises(InputError, match="a request of this id is in flight"):
        engine.submit(ask("x", (1,), 1))
    engine.submit(ask("y", (1,), 1))
    with pytest.raises(QueueFullError, match="2 waiting"):
        engine.submit(ask("z", (1,), 1))
    assert [completion.request.id for completion in engine.waiting] == ["x", "y"]


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"batch_max": 0}, "engine.batch_max: 0; allowed integers from 1"),
        ({"length_max": 1}, "engine.length_max: 1; allowed 2 and above"),
        ({"length_max": 129}, "engine.length_max: 129; this model allows 2 to 128"),
        ({"step_tokens": 7}, "engine.step_tokens: 7; allowed batch_max = 8 and above"),
        ({"kv_blocks": 0, "block_size": True}, "kv_blocks: 0(.|\n)*block_size: True"),
        ({"merge_bytes": -1}, "engine.merge_bytes: -1; allowed integers from 0"),
    ],
)
def test_limits_that_make_no_engine_are_refused(limits, message):
    with pytest.raises(InputError, match=message):
        small_engine(**limits)


def test_figures_add_up():
    engine, hashes = small_engine(batch_max=4)
    requests = medley(hashes)
    done = engine.run(requests)
    stats = engine.stats()
    assert stats.generated_tokens == sum(len(c.tokens) for c in done.values())
    assert stats.prompt_tokens + stats.prefix_hit_tokens == sum(len(r.prompt) for r in requests)
    assert stats.prefix_query_tokens == sum(len(r.prompt) for r in requests)
    assert stats.steps > 0
    assert (stats.kv_blocks, stats.preemptions) == (4 * LENGTH // 16, 0)
    engine.reset_prefix_cache()
    assert engine.stats().kv_blocks_cached == 0


def test_a_rehearsal_changes_nothing_and_runs_the_adapters_it_is_given():
    engine, hashes = small_engine(batch_max=3, block_size=4)
    requests = [ask(f"r{i}", prompt(i, 7), 12, hashes[i]) for i in range(3)]
    expected = tokens_of(engine.run(requests))
    engine.reset_prefix_cache()
    running = [engine.submit(request) for request in requests]
    while any(len(completion.tokens) < 3 for completion in running):
        engine.step()
    for _ in range(3):
        before = [len(completion.tokens) for completion in running]
        with rehearsal(engine) as once:
            now = once()
            assert once() == now
        with rehearsal(engine, [()] * 3, sample=False) as once:
            base = once().argmax(dim=-1).tolist()
        with rehearsal(engine, [(AdapterUse(hashes[3]),)] * 3) as once:
            other = once()
            assert engine.pool.in_flight(hashes[3]) == 3
        assert [len(completion.tokens) for completion in running] == before
        assert len({tuple(now), tuple(base), tuple(other)}) == 3
        engine.step()
        assert [completion.tokens[-1] for completion in running] == now
    while not engine.idle:
        engine.step()
    assert {completion.request.id: completion.tokens for completion in running} == expected
    assert_empty(engine)
    with pytest.raises(InputError, match="every running row must decode"), rehearsal(engine):
        pass
