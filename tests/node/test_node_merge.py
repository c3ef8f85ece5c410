"""The merged path: equal to the unmerged one, leaves no trace in the base, and is taken when it pays."""
# ruff: noqa: E402 (imports of torch follow importorskip)

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the node extra (torch)")

from reference_node.adapters import TARGETS, random_adapter
from reference_node.config import ModelConfig
from reference_node.lora import LoraPlan
from reference_node.merge import MergePath, merged_bytes, merged_view
from reference_node.model import Llama, random_model
from reference_node.pool import AdapterPool
from reference_node.request import AdapterUse
from reference_node.weights import named_tensors

pytestmark = pytest.mark.node

SHAPE = {"vocab_size": 64, "hidden_size": 32, "layers": 2, "heads": 4, "kv_heads": 2, "head_dim": 8}
CONFIGS = {
    "llama": ModelConfig(**SHAPE, intermediate_size=48),
    "qwen2": ModelConfig(**SHAPE, intermediate_size=48, family="qwen2", qkv_bias=True, tied=True),
    "qwen3": ModelConfig(**SHAPE, intermediate_size=48, family="qwen3", qk_norm=True),
}


def world(family: str = "llama", *, slabs: bool = False) -> tuple[Llama, AdapterPool, list[str]]:
    config = CONFIGS[family]
    pool = AdapterPool(config, slots=3, rank_max=20, slabs=slabs)
    kinds = [(20, TARGETS), (4, ("q_proj", "v_proj")), (8, TARGETS)]
    adapters = [random_adapter(config, rank, i, targets=t, gain=20.0) for i, (rank, t) in enumerate(kinds)]
    return random_model(config, 0, max_length=64), pool, [pool.add(adapter) for adapter in adapters]


def greedy(model: Llama, plan_of: object, length: int = 12) -> list[int]:
    tokens = [3, 14, 15]
    for _ in range(length):
        logits = model.all_logits(torch.tensor([tokens]), plan_of(len(tokens)))
        tokens.append(int(logits[0, -1].argmax()))
    return tokens


@pytest.mark.parametrize("family", list(CONFIGS))
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("weight", [1.0, -0.5])
@pytest.mark.parametrize("slabs", [False, True])
def test_merged_equals_unmerged_and_the_base_keeps_every_bit(family, which, weight, slabs):
    model, pool, names = world(family, slabs=slabs)
    before = {name: tensor.clone() for name, tensor in named_tensors(model).items()}
    slot = pool.acquire(names[which])
    view = merged_view(model, pool.store, slot, weight)
    tokens = torch.randint(0, 64, (2, 20), generator=torch.Generator().manual_seed(1))
    expected = model.all_logits(tokens, LoraPlan(pool, [[(slot, weight)]] * 2, [20, 20]))
    found = view.all_logits(tokens)
    assert torch.allclose(found, expected, rtol=0, atol=3e-5 * float(expected.abs().max()))
    assert not torch.allclose(found, model.all_logits(tokens), atol=1e-2)
    unmerged = greedy(model, lambda n: LoraPlan(pool, [[(slot, weight)]], [n]))
    assert greedy(view, lambda n: None) == unmerged
    assert all(torch.equal(tensor, before[name]) for name, tensor in named_tensors(model).items())


def test_a_merged_decoder_owns_what_its_adapter_changes_and_nothing_else():
    model, pool, names = world()
    slot = pool.acquire(names[1])
    view = merged_view(model, pool.store, slot)
    ours, base = (
        {name: tensor.data_ptr() for name, tensor in named_tensors(m).items()} for m in (view, model)
    )
    own = {name.split(".")[-2] for name in ours if ours[name] != base[name]}
    assert own == {"q_proj", "k_proj", "v_proj"}
    owned = sum(layer.qkv.numel() * 4 for layer in view.layers)
    assert merged_bytes(model.config, pool.store.groups[slot], 4) == owned


def test_half_precision_is_rounded_once():
    config = CONFIGS["llama"]
    model = random_model(config, 0, max_length=16, dtype=torch.bfloat16)
    pool = AdapterPool(config, slots=1, rank_max=8, dtype=torch.bfloat16)
    slot = pool.acquire(pool.add(random_adapter(config, 8, 0)))
    view = merged_view(model, pool.store, slot)
    wide = model.layers[0].down.float()
    pool.store.add_dense(slot, 0, "down", 1.0, wide)
    assert torch.equal(view.layers[0].down, wide.bfloat16())


def path_of(
    *, bytes_max: int = 1 << 30, after: int = 2
) -> tuple[MergePath, AdapterPool, list[AdapterUse], Llama]:
    model, pool, names = world()
    for name in names:
        pool.acquire(name)
    path = MergePath(model, pool, bytes_max=bytes_max, after_steps=after)
    return path, pool, [AdapterUse(name) for name in names], model


def test_an_adapter_is_merged_after_it_was_alone_for_long_enough():
    path, _, (hot, other, _), _ = path_of()
    assert [path.choose([[hot]] * 3) is not None for _ in range(4)] == [False, False, True, True]
    assert path.merges == 1
    # A step with anything else goes back to the base at once; the merged weights wait for their adapter.
    assert path.choose([[hot], [other]]) is None
    assert path.choose([[hot], []]) is None
    assert path.choose([[hot, other]]) is None
    assert path.choose([]) is None
    assert path.choose([[hot]]) is not None
    assert path.merges == 1


def test_alternating_adapters_and_weights_never_pay_for_a_merge():
    path, _, (one, two, _), _ = path_of()
    for _ in range(10):
        assert path.choose([[one]]) is None
        assert path.choose([[two]]) is None
    half = AdapterUse(one.sha256, 0.5)
    assert [path.choose([[use]]) for use in (one, half, one, half)] == [None] * 4
    assert (path.merges, path.nbytes) == (0, 0)


def test_one_merged_set_at_most_within_its_bytes():
    path, pool, (one, two, _), model = path_of(after=0)
    first = path.choose([[one]])
    size = path.nbytes
    assert size == merged_bytes(model.config, pool.store.groups[pool.resident()[one.sha256]], 4)
    second = path.choose([[two]])
    assert second is not first
    assert 0 < path.nbytes < size
    path.release()
    assert path.nbytes == 0
    small = MergePath(model, pool, bytes_max=size - 1, after_steps=0)
    assert small.choose([[one]]) is None
    assert small.choose([[two]]) is not None


def test_merged_weights_of_a_deleted_adapter_go_with_its_last_request():
    path, pool, (hot, other, _), _ = path_of(after=0)
    assert path.choose([[hot]]) is not None
    pool.forget(hot.sha256)
    assert path.choose([[hot]]) is not None
    pool.release(hot.sha256)
    assert path.choose([[other], []]) is None
    assert path.nbytes == 0
