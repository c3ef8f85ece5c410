"""What a bench writes about its machine, software, model and adapters into a profile."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import torch

from reference_node.adapters import TARGETS
from reference_node.bench.measure import Rig
from reference_node.pool import HOST_BYTES
from reference_node.profile import BaseModel, Device, Lora, Software
from reference_node.weights import recipe_sha256


def describe_device(rig: Rig) -> Device:
    """Return what served: its kind, name, memory and ceilings."""
    cuda = rig.model.device.type == "cuda"
    memory = (
        torch.cuda.get_device_properties(0).total_memory
        if cuda
        else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    )
    return Device(
        kind="cuda" if cuda else "cpu",
        name=torch.cuda.get_device_name(0) if cuda else cpu_name(),
        count=1,
        memory_bytes=int(memory),
        driver=f"CUDA {torch.version.cuda}" if cuda else None,
        measured_bw_Bps=round(rig.bandwidth, 0),
        measured_flops=round(rig.flops, 0),
    )


def describe_software(rig: Rig) -> Software:
    """Return the versions, and what an engine chose at start-up."""
    engine = rig.engine(1)
    try:
        from triton import __version__ as triton_version
    except ImportError:
        triton_version = None
    return Software(
        python=platform.python_version(),
        torch=torch.__version__,
        triton=triton_version,
        attention_impl=engine.attention_name,
        cuda_graphs=engine.runner.graphs is not None and engine.runner.graphs.recording,
        threads=torch.get_num_threads(),
        clock="processor" if rig.model.device.type == "cpu" else "wall",
    )


def describe_model(rig: Rig, name: str, seed: int) -> BaseModel:
    """Return the base model, whose random weights follow from `seed`."""
    config, size = rig.plan.config, rig.model.embed.element_size()
    return BaseModel(
        arch=f"llama-{name}",
        params=config.parameters(),
        streamed_bytes=config.streamed_parameters() * size,
        kv_bytes_per_token=2 * config.layers * config.kv_heads * config.head_dim * size,
        dtype=str(rig.model.dtype).removeprefix("torch."),
        weights_sha256=recipe_sha256(config, seed, rig.model.device.type, rig.model.dtype),
        random_weights=True,
    )


def describe_lora(rig: Rig) -> Lora:
    """Return the adapters of the serving runs and the room for them."""
    rank = rig.plan.ranks[-1]
    size = rig.pool.nbytes_per_adapter(rank)
    return Lora(rank, list(TARGETS), size, rig.plan.slots, HOST_BYTES // size)


def cpu_name() -> str:
    """Return the processor's model name, or its architecture where the system does not say."""
    info = Path("/proc/cpuinfo")
    names = (
        [
            line.split(":", 1)[1].strip()
            for line in info.read_text().splitlines()
            if line.startswith("model name")
        ]
        if info.exists()
        else []
    )
    return names[0] if names else platform.machine()


def revision() -> str:
    """Return the short hash of the checkout's commit, or "unknown" outside one."""
    here = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"], cwd=here, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()
