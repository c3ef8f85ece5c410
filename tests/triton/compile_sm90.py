"""Compile every kernel for compute capability 9.0 at the 8B shape, without a card: Triton brings its own assembler.

Run as a script, because the interpreter must be off; prints one JSON line per kernel: name, shared memory, width of the
global loads, registers, spills. A stand-in for the driver names the target, and launches stop after compiling.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROWS, PARTS, WIDTH = 32, (4096, 1024, 1024), 4096


def main() -> None:
    """Compile what one decode step and one prompt of the 8B shape launch."""
    import torch
    from triton.backends.compiler import GPUTarget
    from triton.runtime import driver, jit

    stand_in = {
        "get_current_target": lambda: GPUTarget("cuda", 90, 32),
        "get_current_device": lambda: 0,
        "get_current_stream": lambda device: 0,
        "get_active_torch_device": lambda: torch.device("cpu"),
    }
    driver.set_active(SimpleNamespace(**stand_in))
    launch = jit.JITFunction.run

    def compile_alone(self: Any, *args: Any, warmup: bool, **options: Any) -> None:
        kernel = launch(self, *args, warmup=True, **options)
        print(json.dumps(describe(self.__name__, kernel)), flush=True)

    jit.JITFunction.run = compile_alone
    launch_all(torch)


def describe(name: str, kernel: Any) -> dict[str, Any]:
    """Return what the assembler made of a kernel."""
    import triton

    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        command = [str(tool), "--dump-resource-usage", file.name]
        usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", usage)
    assert found is not None, usage
    loads = re.findall(r"ld\.global(?:\.L\S+)?(\.v\d)?\.b(\d+)", kernel.asm["ptx"])
    widest = max((int(vector[2:] or 1) * int(bits) // 8 for vector, bits in loads), default=0)
    copies = [int(size, 16) for size in re.findall(r"cp\.async\.c[ag]\S* .*?, 0x(\w+)", kernel.asm["ptx"])]
    return {
        "kernel": name,
        "shared": kernel.metadata.shared,
        "registers": int(found[1]),
        "spilled": int(found[2]),
        "widest_load": max([widest, *copies]),
        "pdl": "griddepcontrol" in kernel.asm["ptx"],
    }


def launch_all(torch: Any) -> None:
    """Call every launcher once; nothing runs."""
    import numpy as np

    from reference_node.kernels import attention, few_rows, fused, lora_rows, lora_tiles, plan

    def half(*shape: int) -> Any:
        return torch.empty(shape, dtype=torch.bfloat16)

    def whole(*shape: int) -> Any:
        return torch.empty(shape, dtype=torch.int32)

    for parts, rank, uses in ((PARTS, 16, 1), ((4096,), 64, 1), (PARTS, 16, 3)):
        a, b = half(2, len(parts), rank, WIDTH), [half(2, out, rank) for out in parts]
        x, y, weights = half(ROWS, WIDTH), half(ROWS, sum(parts)), torch.empty(ROWS, uses)
        for overlap in (False, True):
            tuning = lora_rows.RowTuning(overlap=overlap)
            lora_rows.add_rows(x, y, a, b, whole(ROWS, uses), weights, whole(2), tuning)
        tiles = plan.make_tiles(np.zeros((ROWS, uses), np.int32), torch.device("cpu"))
        lora_tiles.add_tiles(x, y, a, b, weights, whole(2), tiles)
    for rows, size, dtype in ((1, 128, torch.bfloat16), (128, 128, torch.bfloat16), (8, 256, torch.float32)):
        store = torch.empty((9, 16, 8, size), dtype=dtype)
        q = torch.empty((rows, 32, size), dtype=dtype)
        attention.attend(q, store, store, whole(rows, 40), whole(rows), 0.1, None)
    few_rows.linear(half(1, WIDTH), half(6144, WIDTH), None, few_rows.LinearTuning())
    fused.add_rms(half(ROWS, WIDTH), half(ROWS, WIDTH), half(WIDTH), 1e-5)
    fused.silu_mul(half(ROWS, 28_672))
    store, table, places = half(9, 16, 8, 128), torch.empty(600, 128), torch.empty(ROWS, dtype=torch.int64)
    fused.rope_store(half(ROWS, 6144), table, table, places, store, store, places)


if __name__ == "__main__":
    sys.exit(main())
