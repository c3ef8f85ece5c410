"""Kernels, graphs and engine on an accelerator: what the interpreter cannot show."""
# ruff: noqa: E402 (imports of torch follow importorskip)

from __future__ import annotations

import os
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="needs the node extra (torch)")
from reference_node import kernels
from reference_node.bench.accelerator_checks import graph_error
from reference_node.kernels import check, reference
from reference_node.kernels.check import AttendCase, LoraCase
from reference_node.kernels.lora_rows import RowTuning

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.skipif(INTERPRETED, reason="Triton's interpreter is on; kernels would not run on the device"),
]

DTYPES = (torch.float32, torch.bfloat16)
# Asked only where there is a device: the call raises where there is none, and this file must still be read there.
CAPABILITY = torch.cuda.get_device_capability() if torch.cuda.is_available() else (0, 0)
LORA = {
    "ranks mixed": LoraCase(4, 12, 96, (64,), 64, (8, 16, 64, 1, 33, 17), "distinct"),
    "rows without": LoraCase(6, 16, 64, (48,), 16, (16,) * 4, "mixed"),
    "one adapter": LoraCase(8, 16, 64, (48,), 16, (16,) * 4, "one"),
    "widths off the blocks": LoraCase(10, 7, 1025, (1027, 3), 16, (16, 9), "mixed"),
    "ensembles": LoraCase(13, 10, 64, (48, 40), 16, (16, 8, 4), "mixed", uses=3),
    "8B width": LoraCase(14, 32, 4096, (4096, 1024, 1024), 16, (16,) * 32, "distinct"),
    "8B width down": LoraCase(15, 32, 14_336, (4096,), 16, (16,) * 32, "distinct"),
}
ATTEND = {
    "8B shape": AttendCase(1, (512, 1, 33, 700), 32, 8, 128),
    "window": AttendCase(2, (512, 1, 33, 700), 32, 8, 128, window=100),
    "many rows": AttendCase(3, (40,) * 130, 8, 4, 64),
    "wide heads": AttendCase(4, (90, 17), 4, 2, 256),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("tiled", [False, True], ids=["rows", "tiles"])
@pytest.mark.parametrize("name", LORA)
def test_lora_equals_the_reference(name: str, tiled: bool, dtype: torch.dtype) -> None:
    case = replace(LORA[name], dtype=dtype)
    assert check.lora_error(case, "cuda", tiled=tiled) < check.LIMITS[dtype]


def test_offsets_beyond_32_bits() -> None:
    """2,200 slots x 64 x 16,384 are 2.3e9 elements; the last slot's offset does not fit an int32."""
    options = {"device": "cuda", "dtype": torch.bfloat16}
    a = torch.empty((2200, 1, 64, 16_384), **options)
    a[-1] = torch.randn((1, 64, 16_384), **options) / 128
    b = [torch.randn((2200, 16, 64), **options)]
    x, y = torch.randn((3, 16_384), **options), torch.randn((3, 16), **options)
    slots = torch.tensor([[2199], [-1], [2199]], dtype=torch.int32, device="cuda")
    ranks = torch.full((2200,), 64, dtype=torch.int32, device="cuda")
    weights, want = torch.ones((3, 1), device="cuda"), y.float().clone()
    tiles = kernels.make_tiles(slots.cpu().numpy(), x.device)
    tiled = y.clone()
    reference.lora_add(x, want, a, b, slots, weights, ranks)
    kernels.lora_add(x, y, a, b, slots, weights, ranks)
    kernels.lora_add(x, tiled, a, b, slots, weights, ranks, tiles=tiles)
    limit = check.LIMITS[torch.bfloat16]
    assert max(check.relative_error(y, want), check.relative_error(tiled, want)) < limit


@pytest.mark.parametrize("seed", range(300, 316))
def test_random_lora_equals_the_reference(seed: int) -> None:
    case = check.random_lora_case(seed, torch.bfloat16)
    assert check.lora_error(case, "cuda", tiled=seed % 2 == 1) < check.LIMITS[case.dtype]


@pytest.mark.skipif(CAPABILITY[0] < 9, reason="needs compute capability 9.0")
@pytest.mark.parametrize("name", ["ranks mixed", "ensembles", "8B width"])
def test_overlapping_launches_change_nothing(name: str) -> None:
    case = replace(LORA[name], dtype=torch.bfloat16)
    for seed in range(20):
        error = check.lora_error(replace(case, seed=seed), "cuda", tuning=RowTuning(overlap=True))
        assert error < check.LIMITS[case.dtype]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ATTEND)
def test_attention_equals_the_reference(name: str, dtype: torch.dtype) -> None:
    assert check.attend_error(replace(ATTEND[name], dtype=dtype), "cuda") < check.LIMITS[dtype]


@pytest.mark.parametrize("name", ["add_rms", "rope_store", "silu_mul"])
@pytest.mark.parametrize("seed", range(6))
def test_fused_operation_equals_torch(name: str, seed: int) -> None:
    assert check.fused_error(name, seed, torch.bfloat16, "cuda") < check.LIMITS[torch.bfloat16]


def test_recorded_steps_equal_direct_ones() -> None:
    assert graph_error("cuda") < check.LIMITS[torch.bfloat16]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("seed", range(6))
def test_linear_of_few_rows_equals_torch(seed: int, dtype: torch.dtype) -> None:
    assert check.linear_error(seed, dtype, "cuda") < check.LIMITS[dtype]
