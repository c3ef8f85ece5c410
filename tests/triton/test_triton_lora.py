"""LoRA kernels under Triton's interpreter against the plain torch reference."""
# ruff: noqa: E402 (imports of the kernels follow the skips)

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the node extra (torch)")
if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("kernels need Triton's interpreter: run `make test-triton`", allow_module_level=True)

from reference_node import kernels
from reference_node.kernels import check
from reference_node.kernels.check import LoraCase
from reference_node.kernels.lora_rows import RowTuning

DTYPES = (torch.float32, torch.bfloat16)
CASES = {
    "rank 8": LoraCase(1, 8, 64, (48,), 8, (8,) * 8, "distinct"),
    "rank 16": LoraCase(2, 8, 64, (48,), 16, (16,) * 8, "distinct"),
    "rank 64": LoraCase(3, 8, 64, (48,), 64, (64,) * 8, "distinct"),
    "ranks mixed": LoraCase(4, 12, 96, (64,), 64, (8, 16, 64, 1, 33, 17), "distinct"),
    "rank of the pool no power of two": LoraCase(5, 6, 40, (33,), 24, (24, 5, 20), "distinct"),
    "rows without": LoraCase(6, 16, 64, (48,), 16, (16,) * 4, "mixed"),
    "no row with": LoraCase(7, 5, 64, (48,), 16, (16,) * 4, "none"),
    "one adapter": LoraCase(8, 16, 64, (48,), 16, (16,) * 4, "one"),
    "all distinct": LoraCase(9, 32, 64, (48,), 16, (16,) * 32, "distinct"),
    "widths off the blocks": LoraCase(10, 7, 1025, (1027, 3), 16, (16, 9), "mixed"),
    "three parts": LoraCase(11, 9, 130, (130, 33, 33), 16, (16, 8, 4), "mixed"),
    "several slices of the input": LoraCase(12, 3, 2500, (70,), 16, (16, 8), "distinct"),
    "ensembles": LoraCase(13, 10, 64, (48, 40), 16, (16, 8, 4), "mixed", uses=3),
    "one token": LoraCase(14, 1, 64, (48,), 16, (16,), "one"),
    "more tokens than a tile": LoraCase(15, 75, 64, (48,), 16, (16, 4), "mixed"),
}


def limit(dtype: torch.dtype) -> float:
    """Return the error allowed: the interpreter truncates to bfloat16 where a card rounds, twice the error."""
    return check.LIMITS[dtype] * (2 if dtype == torch.bfloat16 else 1)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("tiled", [False, True], ids=["rows", "tiles"])
@pytest.mark.parametrize("name", CASES)
def test_named_case_equals_the_reference(name: str, tiled: bool, dtype: torch.dtype) -> None:
    assert check.lora_error(replace(CASES[name], dtype=dtype), "cpu", tiled=tiled) < limit(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("seed", range(100, 116))
def test_random_case_equals_the_reference(seed: int, dtype: torch.dtype) -> None:
    case = check.random_lora_case(seed, dtype)
    assert check.lora_error(case, "cpu", tiled=seed % 2 == 1) < limit(dtype)


@pytest.mark.parametrize("tuning", [RowTuning(256, 128, 4), RowTuning(64, 2048, 8)], ids=str)
@pytest.mark.parametrize("name", ["ranks mixed", "widths off the blocks", "ensembles"])
def test_cuts_do_not_change_the_result(name: str, tuning: RowTuning) -> None:
    assert check.lora_error(CASES[name], "cpu", tuning=tuning) < limit(torch.float32)


@pytest.mark.parametrize("tiled", [False, True], ids=["rows", "tiles"])
def test_broken_adapter_harms_its_own_rows_alone(tiled: bool) -> None:
    case = LoraCase(21, 12, 64, (48,), 16, (16, 16), "distinct")
    clean, broken = check.lora_inputs(case, "cpu"), check.lora_inputs(case, "cpu")
    broken.a[1].fill_(float("nan"))
    for i in (clean, broken):
        tiles = kernels.make_tiles(i.slots.numpy(), i.x.device) if tiled else None
        kernels.lora_add(i.x, i.y, i.a, i.b, i.slots, i.weights, i.ranks, tiles=tiles)
    hit = broken.slots[:, 0] == 1
    assert bool(hit.any())
    assert bool(broken.y[hit].isnan().all())
    assert torch.equal(broken.y[~hit], clean.y[~hit])


def test_row_does_not_depend_on_its_neighbours() -> None:
    i = check.lora_inputs(LoraCase(22, 6, 700, (48,), 16, (16,) * 6, "distinct"), "cpu")
    alone = i.y[4:5].clone()
    kernels.lora_add(
        i.x[4:5], alone, i.a, i.b, i.slots[4:5].contiguous(), i.weights[4:5].contiguous(), i.ranks
    )
    kernels.lora_add(i.x, i.y, i.a, i.b, i.slots, i.weights, i.ranks)
    assert torch.equal(i.y[4:5], alone)


def test_views_of_wider_tensors_are_written_in_place() -> None:
    i = check.lora_inputs(LoraCase(23, 6, 64, (48,), 16, (16,) * 3, "distinct"), "cpu")
    wide_x, wide_y = torch.zeros(6, 80), torch.zeros(6, 60)
    wide_x[:, :64], wide_y[:, :48] = i.x, i.y
    kernels.lora_add(wide_x[:, :64], wide_y[:, :48], i.a, i.b, i.slots, i.weights, i.ranks)
    kernels.lora_add(i.x, i.y, i.a, i.b, i.slots, i.weights, i.ranks)
    assert torch.equal(wide_y[:, :48], i.y)
    assert not bool(wide_y[:, 48:].any())


@pytest.mark.parametrize("seed", range(20))
def test_tiles_hold_every_used_token_once(seed: int) -> None:
    draw = np.random.default_rng(seed)
    slots = draw.integers(-1, 5, (int(draw.integers(1, 200)), 2)).astype(np.int32)
    found = []
    for tiles in kernels.make_tiles(slots, torch.device("cpu")):
        for slot, rows in zip(tiles.slots.tolist(), tiles.rows.tolist(), strict=True):
            found += [(row, tiles.use, slot) for row in rows if row >= 0]
    want = [(row, use, int(slots[row, use])) for row, use in zip(*np.nonzero(slots >= 0), strict=True)]
    assert sorted(found) == sorted(want)


def test_plan_prefers_rows_for_distinct_adapters_and_tiles_for_prompts() -> None:
    device = torch.device("cpu")
    assert kernels.plan_tiles(np.arange(32, dtype=np.int32)[:, None], device) is None
    assert kernels.plan_tiles(np.full((4, 1), -1, dtype=np.int32), device) is None
    prompt = kernels.plan_tiles(np.zeros((100, 1), dtype=np.int32), device)
    assert prompt is not None
    assert prompt[0].rows.shape == (4, kernels.TILE)
