"""A whole decode step through interpreted kernels equals the plain forward pass over the same text."""
# ruff: noqa: E402 (imports of the kernels follow the skips)

from __future__ import annotations

import os
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="needs the node extra (torch)")
if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("kernels need Triton's interpreter: run `make test-triton`", allow_module_level=True)

from reference_node import kernels
from reference_node.config import GROUPS, ModelConfig
from reference_node.kv import PagedKV
from reference_node.model import random_model

SMALL = ModelConfig(
    vocab_size=64, hidden_size=40, layers=1, heads=4, kv_heads=1, head_dim=12, intermediate_size=56
)
FAMILIES = {
    "llama": SMALL,
    "mistral": replace(SMALL, family="mistral", sliding_window=2),
    "qwen2": replace(SMALL, family="qwen2", qkv_bias=True),
    "qwen3": replace(SMALL, family="qwen3", qk_norm=True),
}
TEXT = [3, 41, 7]


class Adapters:
    """One adapter per row through `lora_add`, for the kernels and, by tiles, for the plain pass."""

    def __init__(self, config: ModelConfig, slots: list[int], *, tiled: bool) -> None:
        random = torch.Generator().manual_seed(5)
        shapes = config.projections()
        self.slots = torch.tensor(slots, dtype=torch.int32)[:, None].contiguous()
        self.weights, self.ranks = torch.ones(len(slots), 1), torch.tensor([4, 8], dtype=torch.int32)
        self.tiles = kernels.make_tiles(self.slots.numpy(), torch.device("cpu")) if tiled else None
        self.tables = {
            (layer, group): (
                0.3 * torch.randn((2, len(names), 8, shapes[names[0]][1]), generator=random),
                [0.3 * torch.randn((2, shapes[name][0], 8), generator=random) for name in names],
            )
            for layer in range(config.layers)
            for group, names in GROUPS.items()
        }

    def add(self, layer: int, group: str, x: torch.Tensor, y: torch.Tensor) -> None:
        a, b = self.tables[layer, group]
        kernels.lora_add(x, y, a, b, self.slots, self.weights, self.ranks, tiles=self.tiles)


@pytest.mark.parametrize("adapted", [False, True], ids=["base", "adapters"])
@pytest.mark.parametrize("family", FAMILIES)
def test_decode_equals_the_forward_pass(family: str, adapted: bool) -> None:
    config = FAMILIES[family]
    model = random_model(config, 0, max_length=16)
    kv, slots = PagedKV(config, 8, 2, model.embed), [1, -1]
    tables = torch.tensor([[5, 1], [2, 3]], dtype=torch.int32)
    steps = []
    for position, token in enumerate(TEXT):
        mapping = tables[:, position // 2].long() * 2 + position % 2
        places = torch.full((2,), position)
        lora = Adapters(config, slots, tiled=False) if adapted else None
        lengths = torch.full((2,), position + 1, dtype=torch.int32)
        call = (torch.tensor([token, token]), places, tables, lengths, mapping, kv)
        steps.append(model.decode(*call, lora))
    for row, slot in enumerate(slots):
        delta = Adapters(config, [slot] * len(TEXT), tiled=True) if adapted else None
        want = model.all_logits(torch.tensor([TEXT]), delta)[0]
        got = torch.stack([step[row] for step in steps])
        torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-4)
