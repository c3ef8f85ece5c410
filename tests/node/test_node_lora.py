"""Which adapter served which row: mixed batches equal single ones and peft; bad uploads are refused."""
# ruff: noqa: E402 (imports of torch follow importorskip)

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="needs the node extra (torch)")

from safetensors.torch import load_file, save_file

from models.errors import InputError
from reference_node.adapters import CONFIG_FILE, WEIGHTS_FILE, random_adapter, read_adapter, save_adapter
from reference_node.config import ModelConfig
from reference_node.engine import Engine, Request
from reference_node.lora import AdapterPool, LoraPlan, PoolFullError
from reference_node.model import KVCache, random_model
from reference_node.weights import load_model

pytestmark = [pytest.mark.node, pytest.mark.filterwarnings("ignore::FutureWarning")]

SMALL = ModelConfig(
    vocab_size=256, hidden_size=64, layers=2, heads=4, kv_heads=2, head_dim=16, intermediate_size=96
)
NEW_TOKENS = 12


def small_engine(
    *, slots: int = 4, batch: int = 8, policy: str = "lru", adapters: int = 6
) -> tuple[Engine, list[str]]:
    pool = AdapterPool(SMALL, slots=slots, rank_max=16, policy=policy)
    hashes = [pool.add(random_adapter(SMALL, (4, 8, 16)[i % 3], i, gain=20.0)) for i in range(adapters)]
    return Engine(random_model(SMALL, 0, max_length=128), pool, batch_max=batch, length_max=128), hashes


def prompt(seed: int, length: int) -> tuple[int, ...]:
    return tuple(torch.randint(0, 256, (length,), generator=torch.Generator().manual_seed(seed)).tolist())


def test_mixed_batch_equals_each_request_alone_and_peft(oracle):
    from peft import PeftModel

    model, _ = load_model(oracle.folder, max_length=128)
    pool = AdapterPool(model.config, slots=3, rank_max=16)
    names = [None, *(pool.register(folder) for folder in oracle.adapters)]
    requests = [Request(f"r{i}", prompt(i, 6 + 3 * i), NEW_TOKENS, names[i % 4]) for i in range(8)]
    mixed = Engine(model, pool, batch_max=8, length_max=128).run(requests)
    alone = Engine(model, pool, batch_max=1, length_max=128).run(requests)
    for request in requests:
        assert mixed[request.id].tokens == alone[request.id].tokens
        assert mixed[request.id].adapter_sha256 == request.adapter_sha256
    wrapped = PeftModel.from_pretrained(oracle.reference, oracle.adapters[0], adapter_name="a0")
    for i, folder in enumerate(oracle.adapters[1:], start=1):
        wrapped.load_adapter(folder, adapter_name=f"a{i}")
    changed = 0
    for request in requests:
        which = names.index(request.adapter_sha256)
        ids = torch.tensor([request.prompt])
        settings = {
            "max_new_tokens": NEW_TOKENS,
            "do_sample": False,
            "eos_token_id": None,
            "attention_mask": torch.ones_like(ids),
        }
        with wrapped.disable_adapter():
            base = wrapped.generate(input_ids=ids, **settings)
        if which:
            wrapped.set_adapter(f"a{which - 1}")
        expected = wrapped.generate(input_ids=ids, **settings) if which else base
        changed += int(not torch.equal(expected, base))
        assert mixed[request.id].tokens == expected[0, ids.shape[1] :].tolist()
    wrapped.unload()
    assert changed == 6  # every adapter says something else than the base, so equality above is not empty


@pytest.mark.parametrize("gather", [True, False])
def test_logits_of_a_mixed_decode_equal_peft_within_rounding(oracle, gather):
    from peft import PeftModel

    model, _ = load_model(oracle.folder, max_length=64)
    pool = AdapterPool(model.config, slots=3, rank_max=16)
    slots = [pool.acquire(pool.register(folder)) for folder in oracle.adapters]
    rows = [slots[2], -1, slots[0], slots[1], slots[0], -1]
    tokens = torch.randint(0, 512, (6, 9), generator=torch.Generator().manual_seed(9))
    cache = KVCache(model.config, 6, 16, model.embed)
    model.prefill(
        tokens[:, :8], cache, 0, LoraPlan(pool, [slot for slot in rows for _ in range(8)], gather=gather)
    )
    found = model.decode(tokens[:, 8], torch.full((6,), 8), cache, 9, LoraPlan(pool, rows, gather=gather))
    wrapped = PeftModel.from_pretrained(oracle.reference, oracle.adapters[0], adapter_name="0")
    for i in (1, 2):
        wrapped.load_adapter(oracle.adapters[i], adapter_name=str(i))
    with torch.no_grad():
        for row, slot in enumerate(rows):
            if slot < 0:
                with wrapped.disable_adapter():
                    expected = wrapped(tokens[row : row + 1]).logits[0, -1]
            else:
                wrapped.set_adapter(str(slots.index(slot)))
                expected = wrapped(tokens[row : row + 1]).logits[0, -1]
            assert torch.allclose(found[row], expected, rtol=0, atol=2e-5 * float(expected.abs().max()))
    wrapped.unload()


@pytest.mark.parametrize("gather", [True, False])
def test_rows_without_adapter_are_bit_identical_to_the_base(gather):
    engine, hashes = small_engine()
    model, pool = engine.model, engine.pool
    slots = [pool.acquire(sha) for sha in hashes[:3]]
    rows = [-1, slots[0], -1, slots[1], slots[2], -1]
    tokens, positions = torch.arange(6), torch.zeros(6, dtype=torch.int64)
    base = model.decode(tokens, positions, KVCache(SMALL, 6, 8, model.embed), 1)
    mixed = model.decode(
        tokens, positions, KVCache(SMALL, 6, 8, model.embed), 1, LoraPlan(pool, rows, gather=gather)
    )
    same = torch.tensor([slot < 0 for slot in rows])
    assert torch.equal(mixed[same], base[same])
    assert not torch.isclose(mixed[~same], base[~same]).all(dim=1).any()


def test_a_nan_adapter_changes_no_neighbour_and_no_successor_in_its_row():
    engine, hashes = small_engine(batch=2)
    clean = engine.run(
        [Request("n", prompt(1, 5), 20, hashes[0]), Request("later", prompt(3, 5), 20, hashes[2])]
    )
    poison = random_adapter(SMALL, 4, 99)
    poison = replace(
        poison, sha256="0" * 64, a={key: tensor * float("nan") for key, tensor in poison.a.items()}
    )
    bad = engine.pool.add(poison)
    requests = [
        Request("n", prompt(1, 5), 20, hashes[0]),
        Request("bad", prompt(2, 9), 4, bad),
        Request("later", prompt(3, 5), 20, hashes[2]),
    ]
    mixed = engine.run(requests)
    assert mixed["n"].tokens == clean["n"].tokens
    assert mixed["later"].tokens == clean["later"].tokens
    assert torch.isfinite(engine.cache.v).all()


def test_continuous_batching_with_more_adapters_than_slots_serves_every_request_as_alone():
    engine, hashes = small_engine(slots=3, batch=4)
    requests = [
        Request(f"r{i}", prompt(i, 3 + i % 5), 1 + (7 * i) % 11, hashes[i % 6] if i % 4 else None)
        for i in range(24)
    ]
    mixed = engine.run(requests)
    single, _ = small_engine(slots=1, batch=1)
    alone = single.run(requests)
    assert {key: c.tokens for key, c in mixed.items()} == {key: c.tokens for key, c in alone.items()}
    assert all(
        len(c.tokens) == c.request.max_new_tokens and c.adapter_sha256 == c.request.adapter_sha256
        for c in mixed.values()
    )
    assert engine.pool.counters["eviction"] > 0


def test_a_slot_in_flight_is_never_reused():
    engine, hashes = small_engine(slots=2)
    pool = engine.pool
    first = pool.acquire(hashes[0])
    pool.acquire(hashes[1])
    with pytest.raises(PoolFullError, match="all 2 adapter slots"):
        pool.acquire(hashes[2])
    pool.release(hashes[1])
    assert pool.acquire(hashes[2]) != first
    assert pool.acquire(hashes[0]) == first
    pool.release(hashes[0])
    pool.release(hashes[2])
    with pytest.raises(PoolFullError):
        pool.acquire(hashes[3]), pool.acquire(hashes[4])


def test_cache_policies_count_hits_and_loads():
    for policy, hits in (("lru", 3), ("unload_always", 0), ("resident", 3)):
        engine, hashes = small_engine(slots=2, batch=1, policy=policy)
        engine.run([Request(f"r{i}", (1, 2), 2, hashes[0]) for i in range(4)])
        assert (engine.pool.counters["hit"], engine.pool.counters["host_load"]) == (hits, 4 - hits), policy


def test_stop_tokens_end_a_completion():
    engine, _ = small_engine()
    free = engine.run([Request("a", prompt(1, 4), 10)])["a"].tokens
    stopped = engine.run([Request("a", prompt(1, 4), 10, stop_tokens=frozenset({free[2]}))])["a"].tokens
    assert stopped == free[: free.index(free[2]) + 1]


def test_bad_requests_are_refused_by_name():
    engine, _ = small_engine()
    with pytest.raises(InputError, match="unknown adapter ffff"):
        engine.submit(Request("x", (1,), 1, "ffff"))
    with pytest.raises(
        InputError,
        match=r"prompt of 1 tokens must hold ids from 0 to 255(.|\n)*allowed one new token or more",
    ):
        engine.submit(Request("x", (256,), 0))
    assert not engine.waiting


def test_an_adapter_folder_changed_on_disk_fails_its_request_and_no_other(tmp_path):
    engine, hashes = small_engine(slots=1)
    save_adapter(random_adapter(SMALL, 4, 50), tmp_path / "a")
    engine.pool.host_slots = 1
    sha = engine.pool.register(tmp_path / "a")
    save_adapter(random_adapter(SMALL, 4, 51), tmp_path / "b")
    engine.pool.register(tmp_path / "b")  # pushes the first out of the host tier
    save_adapter(random_adapter(SMALL, 4, 52), tmp_path / "a")
    done = engine.run([Request("gone", (1, 2), 3, sha), Request("fine", (1, 2), 3, hashes[0])])
    assert "content is now" in done["gone"].error
    assert done["gone"].tokens == []
    assert len(done["fine"].tokens) == 3


def test_round_trip_keeps_the_content_hash_and_repacking_does_not_change_it(tmp_path):
    made = random_adapter(SMALL, 8, 1)
    save_adapter(made, tmp_path / "one")
    assert read_adapter(tmp_path / "one", SMALL).sha256 == made.sha256
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    save_file(
        load_file(tmp_path / "one" / WEIGHTS_FILE),
        tmp_path / "two" / WEIGHTS_FILE,
        metadata={"note": "repacked"},
    )
    assert read_adapter(tmp_path / "two", SMALL).sha256 == made.sha256
    assert random_adapter(SMALL, 8, 1, alpha=9.0).sha256 != made.sha256


CONFIG_FAULTS = [
    ({"r": 200_000}, "r: 200000 is out of range; allowed 1 to 256"),
    ({"r": True}, "r: True is out of range"),
    ({"lora_alpha": 1e308}, "lora_alpha: 1e[+]308 is out of range"),
    ({"target_modules": "(([a-z0-9_.])+)+!"}, "target_modules: .* is not a list of q_proj"),
    ({"target_modules": ["embed_tokens"]}, "target_modules: .* is not a list of q_proj"),
    ({"use_dora": True}, "use_dora: True is not supported; it must be off"),
    ({"modules_to_save": ["lm_head"]}, "modules_to_save: .* must be off"),
    ({"rank_pattern": {"q_proj": 4}}, "rank_pattern: .* must be off"),
    ({"bias": "all"}, "bias: 'all' is not supported"),
    ({"peft_type": "IA3"}, "peft_type: 'IA3' is not supported"),
    ({"surprise": 1}, "surprise: unknown setting"),
    ({"r": 16}, r"lora_A.weight is F32 \(8, 64\), expected \(16, 64\)"),
]


@pytest.mark.parametrize(
    ("change", "message"), CONFIG_FAULTS, ids=[next(iter(change)) for change, _ in CONFIG_FAULTS]
)
def test_adapter_settings_that_would_be_served_wrongly_are_refused(tmp_path, change, message):
    save_adapter(random_adapter(SMALL, 8, 1), tmp_path)
    raw = json.loads((tmp_path / CONFIG_FILE).read_text())
    (tmp_path / CONFIG_FILE).write_text(json.dumps(raw | change))
    with pytest.raises(InputError, match=message):
        read_adapter(tmp_path, SMALL)


def _drop(tensors: dict) -> dict:
    return dict(list(tensors.items())[1:])


def _extra(tensors: dict) -> dict:
    return tensors | {"lm_head.lora_A.weight": torch.zeros(8, 64)}


def _nan(tensors: dict) -> dict:
    name = next(iter(tensors))
    return tensors | {name: tensors[name].index_fill(0, torch.tensor([0]), float("nan"))}


def _integers(tensors: dict) -> dict:
    return {name: tensor.to(torch.int32) for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_drop, "is missing"),
        (_extra, "lm_head.lora_A.weight is not expected"),
        (_nan, "holds NaN"),
        (_integers, "is I32"),
    ],
)
def test_adapter_tensors_are_checked_exactly(tmp_path, spoil, message):
    save_adapter(random_adapter(SMALL, 8, 1), tmp_path)
    save_file(spoil(load_file(tmp_path / WEIGHTS_FILE)), tmp_path / WEIGHTS_FILE)
    with pytest.raises(InputError, match=message):
        read_adapter(tmp_path, SMALL)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "header of 0 bytes"),
        ((1 << 60).to_bytes(8, "little") + b"{}", "header of 1152921504606846976 bytes"),
        ((2).to_bytes(8, "little") + b"[]", "unreadable safetensors header"),
        ((9).to_bytes(8, "little") + b'{"a": 1}}', "unreadable safetensors header"),
        (b"x" * 30_000_000, "an adapter of this rank holds at most"),
    ],
)
def test_malformed_archives_are_refused_before_any_tensor_is_made(tmp_path, data, message):
    save_adapter(random_adapter(SMALL, 8, 1), tmp_path)
    (tmp_path / WEIGHTS_FILE).write_bytes(data)
    with pytest.raises(InputError, match=message):
        read_adapter(tmp_path, SMALL)


def test_a_pickle_only_folder_is_never_opened(tmp_path):
    save_adapter(random_adapter(SMALL, 8, 1), tmp_path)
    torch.save(load_file(tmp_path / WEIGHTS_FILE), tmp_path / "adapter_model.bin")
    (tmp_path / WEIGHTS_FILE).unlink()
    with pytest.raises(InputError, match="only safetensors are accepted"):
        read_adapter(tmp_path, SMALL)
