"""The decoder computes what transformers computes, on every way that keys and values take."""
# ruff: noqa: E402 (imports of torch follow importorskip)

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the node extra (torch)")

from reference_node import kernels
from reference_node.attention import choose_decode, gathered_decode
from reference_node.config import ModelConfig
from reference_node.engine import Engine, EngineConfig
from reference_node.kv import PagedKV
from reference_node.model import random_model
from reference_node.pool import AdapterPool
from reference_node.runner import Runner
from reference_node.weights import load_model
from tests.node.conftest import FAMILIES
from tests.node.engine_world import SMALL, ask, prompt, small_pool

pytestmark = [pytest.mark.node, pytest.mark.filterwarnings("ignore::FutureWarning")]


def close(found, expected):
    """Return whether logits agree within rounding: 1e-5 of the largest."""
    return torch.allclose(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request, families):
    """A decoder of each family and its transformers original."""
    checkpoint = families[request.param]
    return load_model(checkpoint.folder, max_length=128)[0], checkpoint.reference


def test_logits_of_every_position_equal_transformers(pair):
    model, reference = pair
    tokens = torch.tensor([prompt(seed, 40, 512) for seed in range(3)])
    with torch.no_grad():
        assert close(model.all_logits(tokens), reference(tokens).logits)


@pytest.mark.parametrize("dense", [True, False], ids=["dense", "paged"])
def test_logits_of_chunks_and_decode_rows_equal_transformers(pair, dense):
    """Serve prompts of different length in chunks, and compare each row's logits with a full forward."""
    model, reference = pair
    pool = AdapterPool(model.config, slots=1, rank_max=4, slabs=not dense)
    config = EngineConfig(batch_max=3, length_max=128, step_tokens=13, block_size=4)
    engine = Engine(model, pool, config)
    engine.runner = Runner(model, pool, config, dense=dense)
    run, seen = engine.runner.run, []

    def recording(decode, chunks):
        logits = run(decode, chunks)
        done = [entry for entry, count in chunks if count == entry.remaining]
        seen.extend(
            (tuple(entry.tokens), row) for entry, row in zip([*decode, *done], logits.clone(), strict=True)
        )
        return logits

    engine.runner.run = recording
    engine.run([ask(f"r{n}", prompt(n, n, 512), 6) for n in (1, 5, 30)])
    assert len(seen) == 18
    for tokens, row in seen:
        with torch.no_grad():
            assert close(row, reference(torch.tensor([tokens])).logits[0, -1])


@pytest.mark.parametrize("attend", [gathered_decode, kernels.paged_decode])
def test_a_padding_row_in_the_scratch_block_changes_no_other(attend):
    model = random_model(SMALL, 0, max_length=32)
    kv = PagedKV(SMALL, 4, 4, model.embed)
    for store in (kv.k, kv.v):
        store[:, 1:].normal_(generator=torch.Generator().manual_seed(2))

    def step(padding):
        def column(values, fill, dtype):
            return torch.tensor([*values, *[fill] * padding], dtype=dtype)

        tables = torch.tensor([[1, 2], [3, 4], *[[0, 0]] * padding], dtype=torch.int32)
        logits = model.decode(
            column([5, 6], 0, torch.int64),
            column([4, 2], 0, torch.int64),
            tables,
            column([5, 3], 1, torch.int32),
            column([2 * 4, 3 * 4 + 2], 0, torch.int64),
            kv,
            attend=attend,
        )
        return logits[:2]

    assert close(step(3), step(0))


def test_half_precision_stays_near_single():
    tokens = torch.tensor([prompt(1, 20)])
    single, half = (random_model(SMALL, 0, dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    wanted, found = single.all_logits(tokens), half.all_logits(tokens)
    assert found.dtype == torch.float32
    assert float((found - wanted).norm() / wanted.norm()) < 0.05


def test_adapters_of_all_positions_at_once_equal_the_served_ones():
    from reference_node.lora import LoraPlan

    pool, hashes = small_pool()
    model, tokens = random_model(SMALL, 0, max_length=64), prompt(4, 12)
    engine = Engine(model, pool, EngineConfig(batch_max=1, length_max=64))
    said = engine.run([ask("r", tokens, 8, hashes[0])])["r"].tokens
    whole = torch.tensor([[*tokens, *said]])
    slot = pool.acquire(hashes[0])
    found = model.all_logits(whole, LoraPlan(pool, [((slot, 1.0),)], [whole.shape[1]]))
    assert found[0, 11:-1].argmax(dim=-1).tolist() == said


@pytest.mark.parametrize(
    "change",
    [{}, {"family": "qwen2", "qkv_bias": True}, {"family": "qwen3", "qk_norm": True, "tied": True}],
    ids=str,
)
def test_random_model_is_seeded_and_counts_its_parameters(change):
    shape = {"vocab_size": 64, "hidden_size": 32, "layers": 2, "heads": 2, "kv_heads": 1, "head_dim": 16}
    small = ModelConfig(intermediate_size=48, **shape | change)
    one, two, other = (random_model(small, seed, max_length=16) for seed in (5, 5, 6))
    assert torch.equal(one.layers[1].down, two.layers[1].down)
    assert not torch.equal(one.head, other.head)
    held = [one.embed, one.norm, *([] if small.tied else [one.head])] + [
        part for layer in one.layers for name in layer.__slots__ if (part := getattr(layer, name)) is not None
    ]
    assert sum(t.numel() for t in held) == small.parameters()
    assert ModelConfig().parameters() == 5_048_576


def test_decode_attention_is_chosen_by_trying(monkeypatch):
    like = torch.zeros(1)
    assert choose_decode(SMALL, 4, like) == ("gathered_sdpa", gathered_decode)  # torch's own refuses a CPU
    monkeypatch.setattr(kernels, "runs_triton", lambda tensor: True)
    monkeypatch.setattr(kernels, "paged_decode", lambda q, *rest: gathered_decode(q, *rest))
    assert choose_decode(SMALL, 4, like)[0] == "triton_paged"
    monkeypatch.setattr(kernels, "paged_decode", lambda q, *rest: gathered_decode(q, *rest) * 1.1)
    assert choose_decode(SMALL, 4, like)[0] == "gathered_sdpa"  # runs, but computes something else
