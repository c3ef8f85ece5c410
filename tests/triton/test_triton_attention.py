"""Paged decode attention and the fused operations under Triton's interpreter against plain torch."""
# ruff: noqa: E402 (imports of the kernels follow the skips)

from __future__ import annotations

import os
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="needs the node extra (torch)")
if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("kernels need Triton's interpreter: run `make test-triton`", allow_module_level=True)

from reference_node import kernels
from reference_node.kernels import check
from reference_node.kernels.attention import CUTS_MAX, cuts_of
from reference_node.kernels.check import AttendCase

DTYPES = (torch.float32, torch.bfloat16)
CASES = {
    "ragged lengths": AttendCase(1, (5, 40, 17, 1, 64), 4, 4, 32),
    "one key head for four": AttendCase(2, (33, 7), 8, 2, 32),
    "one key head for eight": AttendCase(3, (33, 70), 8, 1, 32),
    "more query heads than lanes": AttendCase(4, (9,), 24, 1, 16),
    "window": AttendCase(5, (70, 3, 20), 4, 2, 32, window=20),
    "window of one": AttendCase(6, (70, 3), 4, 2, 32, window=1),
    "blocks of 8": AttendCase(7, (70, 3), 4, 2, 32, block_size=8),
    "block size no power of two": AttendCase(8, (70, 3), 4, 2, 32, block_size=12),
    "head size no power of two": AttendCase(9, (31, 3), 4, 2, 80),
    "one-token contexts": AttendCase(10, (1, 1, 1), 4, 2, 32),
    "row of padding": AttendCase(11, (0, 9), 4, 2, 32),
    "one cut": AttendCase(12, (70,) * 65, 8, 4, 16),
}


def limit(dtype: torch.dtype) -> float:
    """Return the error allowed: the interpreter truncates to bfloat16 where a card rounds, twice the error."""
    return check.LIMITS[dtype] * (2 if dtype == torch.bfloat16 else 1)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_named_case_equals_the_reference(name: str, dtype: torch.dtype) -> None:
    assert check.attend_error(replace(CASES[name], dtype=dtype), "cpu") < limit(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("seed", range(200, 208))
def test_random_case_equals_the_reference(seed: int, dtype: torch.dtype) -> None:
    assert check.attend_error(check.random_attend_case(seed, dtype, longest=100), "cpu") < limit(dtype)


def test_row_of_padding_gives_zeros() -> None:
    q, k, v, tables, lengths = check.attend_inputs(CASES["row of padding"], "cpu")
    assert not bool(kernels.paged_decode(q, k, v, tables, lengths, 0.2)[0].any())


@pytest.mark.parametrize(("rows", "kv_heads", "cuts"), [(1, 8, CUTS_MAX), (8, 8, 8), (32, 8, 2), (128, 8, 1)])
def test_cuts_fill_the_card_and_no_more(rows: int, kv_heads: int, cuts: int) -> None:
    assert cuts_of(rows, kv_heads) == cuts


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["add_rms", "rope_store", "silu_mul"])
@pytest.mark.parametrize("seed", range(6))
def test_fused_operation_equals_torch(name: str, seed: int, dtype: torch.dtype) -> None:
    assert check.fused_error(name, seed, dtype, "cpu") < limit(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("seed", range(6))
def test_linear_of_few_rows_equals_torch(seed: int, dtype: torch.dtype) -> None:
    assert check.linear_error(seed, dtype, "cpu") < limit(dtype)
