"""The kernels compile for compute capability 9.0, fit its memory and load 16 bytes at a time; no card is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("kernels need an environment of their own: run `make test-triton`", allow_module_level=True)

SHARED_MAX = 227 * 1024  # bytes of shared memory per block, compute capability 9.0


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Compile everything in a process without the interpreter and an empty cache."""
    here = Path(__file__).resolve()
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"} | {
        "TRITON_CACHE_DIR": str(tmp_path_factory.mktemp("cache")),
        "PYTHONPATH": str(here.parents[2]),
    }
    command = [sys.executable, str(here.with_name("compile_sm90.py"))]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_kernel_fits_the_card(compiled: list[dict[str, Any]]) -> None:
    names = {"shrink", "expand", "shrink_tiles", "expand_tiles", "attend_cut", "merge"}
    assert names | {"linear_rows", "add_rms_row", "rope_store_head", "silu_mul_block"} == {
        row["kernel"] for row in compiled
    }
    assert all(row["shared"] <= SHARED_MAX for row in compiled), compiled


def test_decode_kernels_spill_nothing_and_load_16_bytes(compiled: list[dict[str, Any]]) -> None:
    rows = [row for row in compiled if row["kernel"] in {"shrink", "expand", "attend_cut", "linear_rows"}]
    assert len(rows) > 6
    assert all(row["widest_load"] == 16 for row in rows), rows
    assert all(row["spilled"] == 0 for row in rows), rows


def test_overlapping_kernels_use_dependent_launch(compiled: list[dict[str, Any]]) -> None:
    found = {(row["kernel"], row["pdl"]) for row in compiled if row["kernel"] in {"shrink", "expand"}}
    assert found == {("shrink", False), ("shrink", True), ("expand", False), ("expand", True)}
