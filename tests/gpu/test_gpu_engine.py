"""The engine on an accelerator: recorded steps, mixed batches and a CPU all choose the same tokens."""
# ruff: noqa: E402 (imports of torch follow importorskip)

from __future__ import annotations

import os

import pytest

torch = pytest.importorskip("torch", reason="needs the node extra (torch)")
from dataclasses import replace

from reference_node.adapters import random_adapter
from reference_node.config import ModelConfig
from reference_node.engine import Engine, EngineConfig
from reference_node.model import Llama, random_model
from reference_node.pool import AdapterPool
from reference_node.request import AdapterUse, Request

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.skipif(INTERPRETED, reason="Triton's interpreter is on; kernels would not run on the device"),
]

SMALL = ModelConfig(
    vocab_size=256, hidden_size=64, layers=2, heads=4, kv_heads=2, head_dim=16, intermediate_size=96
)
RANKS = (4, 8, 16, 8)
LIMITS = EngineConfig(batch_max=8, length_max=96, block_size=16, step_tokens=32)


def on_device(model: Llama, device: str) -> Llama:
    """Return a copy of a model on another device: both then hold the same numbers."""
    layers = [
        replace(
            layer,
            **{
                name: getattr(layer, name).to(device)
                for name in ("qkv", "o", "gate_up", "down", "norm_attention", "norm_mlp")
            },
        )
        for layer in model.layers
    ]
    parts = (part.to(device) for part in (model.embed, model.norm, model.head))
    embed, norm, head = parts
    return Llama(model.config, embed, layers, norm, head, max_length=128)


def make_engine(device: str) -> tuple[Engine, list[str]]:
    """Return an engine in float32, so that no two logits tie by rounding, and its adapters."""
    pool = AdapterPool(SMALL, slots=4, rank_max=16, device=device, dtype=torch.float32)
    names = [pool.add(random_adapter(SMALL, rank, i, gain=20.0)) for i, rank in enumerate(RANKS)]
    model = on_device(random_model(SMALL, 0, max_length=128), device)
    return Engine(model, pool, LIMITS, base_sha256="base"), names


def requests(names: list[str]) -> list[Request]:
    """Return requests of all kinds: base, each adapter, an ensemble; prompts longer than a chunk too."""
    uses = [(), *(((AdapterUse(name)),) for name in names)]
    uses.append((AdapterUse(names[0], 0.5), AdapterUse(names[2], 1.5)))
    return [
        Request(f"r{i}", tuple((7 * i + 3 * j) % 256 for j in range(5 + 11 * i)), 12, tuple(use))
        for i, use in enumerate(uses)
    ]


def tokens_of(engine: Engine, wanted: list[Request]) -> dict[str, list[int]]:
    done = engine.run(wanted)
    assert all(completion.finish == "length" for completion in done.values())
    return {key: completion.tokens for key, completion in done.items()}


def test_recorded_steps_give_the_tokens_of_direct_ones() -> None:
    recorded, names = make_engine("cuda")
    direct, _ = make_engine("cuda")
    assert recorded.runner.graphs is not None
    assert recorded.runner.graphs.recording
    direct.runner.graphs.recording = False
    assert tokens_of(recorded, requests(names)) == tokens_of(direct, requests(names))
    assert recorded.runner.graphs.recording


def test_mixed_batch_gives_the_tokens_of_each_request_alone() -> None:
    engine, names = make_engine("cuda")
    together = tokens_of(engine, requests(names))
    engine.reset_prefix_cache()
    for request in requests(names):
        assert tokens_of(engine, [request])[request.id] == together[request.id]


def test_accelerator_gives_the_tokens_of_a_cpu() -> None:
    (there, names), (here, _) = make_engine("cuda"), make_engine("cpu")
    assert tokens_of(there, requests(names)) == tokens_of(here, requests(names))


def test_slot_is_read_anew_after_another_adapter_moved_in() -> None:
    """More adapters than slots: a recorded step keeps its slot numbers while their contents change."""
    engine, _ = make_engine("cuda")
    names = [engine.pool.add(random_adapter(SMALL, 8, 100 + i, gain=20.0)) for i in range(9)]
    prompt = (1, 2, 3)
    first = [tokens_of(engine, [Request("a", prompt, 8, (AdapterUse(n),))])["a"] for n in names]
    again = [tokens_of(engine, [Request("b", prompt, 8, (AdapterUse(n),))])["b"] for n in names]
    assert first == again
    assert len({tuple(tokens) for tokens in first}) > 1
