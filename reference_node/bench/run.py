"""The node's bench: measure this machine and write its throughput profile.

`python -m reference_node.bench --out FILE` needs torch, numpy and safetensors alone, so that it runs on a
bare accelerator image as well as on a laptop. On a CPU it uses one thread, because two threads on a shared
machine can invert a comparison; on CUDA it uses bf16.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch

import reference_node
from models.errors import InputError
from models.serving import fit_step_time
from reference_node.bench.describe import (
    describe_device,
    describe_lora,
    describe_model,
    describe_software,
    revision,
)
from reference_node.bench.load import Load, Run, burst_rate, median_row, serve, serving_row
from reference_node.bench.measure import (
    PLANS,
    BenchPlan,
    Progress,
    Rig,
    make_adapters,
    measure_ceilings,
)
from reference_node.bench.sweeps import DecodeSweep, MixedSweep, PrefillSweep, measure_adapter_load
from reference_node.model import random_model
from reference_node.pool import HOST_BYTES, AdapterPool
from reference_node.profile import (
    SCHEMA_VERSION,
    DecodeRow,
    Energy,
    Fit,
    Price,
    Profile,
    Provenance,
    ServingRow,
)
from reference_node.profile_file import write_profile

SEED = 2025


def stderr_progress(started: float) -> Progress:
    """Return a progress printer that says the elapsed seconds and the current part on standard error."""

    def say(text: str) -> None:
        sys.stderr.write(f"[{time.perf_counter() - started:6.1f} s] {text}\n")
        sys.stderr.flush()

    return say


def check_target(path: Path) -> None:
    """Refuse a profile path that cannot become a file, before minutes are spent on measuring.

    Raises
    ------
    InputError
        When the path is a folder, or below a file.
    """
    if path.is_dir() or any(parent.is_file() for parent in path.parents):
        raise InputError(f"{path}: cannot be written; name a file")


def check_memory(needed: int, free: int) -> None:
    """Refuse a plan that a device cannot hold, before minutes are spent on filling it.

    Parameters
    ----------
    needed, free
        Bytes of weights, slots, keys and values; bytes of the device. A tenth stays for graphs and workspaces.

    Raises
    ------
    InputError
        When they do not fit.
    """
    if needed > 0.9 * free:
        held, room = needed / 1e9, 0.9 * free / 1e9
        raise InputError(f"this preset holds {held:.1f} GB on the device at once; allowed here {room:.1f} GB")


def build_rig(plan: BenchPlan, device_name: str, progress: Progress) -> Rig:
    """Put model, pool and adapters on the device and measure its ceilings.

    Raises
    ------
    InputError
        When the device does not exist here.
    """
    if device_name not in ("cpu", "cuda") or (device_name == "cuda" and not torch.cuda.is_available()):
        raise InputError(
            f"device {device_name!r} is not available; allowed cpu"
            + (", cuda" if torch.cuda.is_available() else "")
        )
    device = torch.device(device_name)
    dtype = torch.bfloat16 if device_name == "cuda" else torch.float32
    if device_name == "cpu":
        torch.set_num_threads(1)
    else:
        check_memory(plan.device_bytes(dtype.itemsize), torch.cuda.mem_get_info()[0])
    progress(f"device ceilings, {plan.config.parameters() / 1e6:,.1f} M random parameters on {device_name}")
    bandwidth, flops = measure_ceilings(device, dtype)
    model = random_model(plan.config, SEED, device=device_name, dtype=dtype, max_length=plan.length_max)
    adapters = make_adapters(plan, dtype)
    held = sum(adapter.nbytes() for same in adapters.values() for adapter in same)
    pool = AdapterPool(
        plan.config,
        slots=plan.slots,
        rank_max=max(plan.ranks),
        host_bytes=max(HOST_BYTES, 2 * held),
        device=device,
        dtype=dtype,
    )
    return Rig(plan, model, pool, adapters, bandwidth, flops)


def measure_profile(
    plan: BenchPlan, name: str, device_name: str, command: str, progress: Progress
) -> Profile:
    """Run every part of the bench and return the (unsealed) profile.

    Parameters
    ----------
    plan, name
        What is swept, and the model's name in the profile.
    device_name
        `cpu` or `cuda`.
    command
        How the bench was started, for the record.
    progress
        Told what runs now.
    """
    rig = build_rig(plan, device_name, progress)
    wall, processor = time.perf_counter(), time.thread_time()
    with tempfile.TemporaryDirectory() as scratch:
        loads = measure_adapter_load(rig, Path(scratch), progress)
    sweeps = DecodeSweep(rig), PrefillSweep(rig), MixedSweep(rig)
    serving = _run_rounds(rig, sweeps, progress)
    decode, prefill, mixed = (sweep.rows() for sweep in sweeps)
    share = min(1.0, (time.thread_time() - processor) / (time.perf_counter() - wall))
    return Profile(
        schema=SCHEMA_VERSION,
        id=f"{device_name}-{name}",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        node_version=reference_node.__version__,
        git_rev=revision(),
        device=describe_device(rig),
        software=describe_software(rig),
        model=describe_model(rig, name, SEED),
        lora=describe_lora(rig),
        decode=decode,
        prefill=prefill,
        mixed=mixed,
        adapter_load=loads,
        serving=serving,
        energy=Energy(None, "none"),
        price=Price(0.0, "assumed"),
        fit=fit_decode(decode, sweeps[2].regroup_ms()),
        provenance=Provenance(True, rig.plan.repeats, round(share, 4), command, ""),
    )


def fit_decode(rows: Sequence[DecodeRow], regroup_ms: float = 0.0) -> Fit:
    """Fit the step-time line to the decode rows; serving rows take no part. `regroup_ms` is measured apart."""
    fitted = fit_step_time(
        [row.batch for row in rows],
        [row.distinct_adapters for row in rows],
        [row.rank for row in rows],
        [row.context for row in rows],
        [row.step_ms_p50 for row in rows],
    )
    return Fit(**dataclasses.asdict(fitted), regroup_ms=regroup_ms)


def _run_rounds(
    rig: Rig, sweeps: tuple[DecodeSweep, PrefillSweep, MixedSweep], progress: Progress
) -> list[ServingRow]:
    """Run all rounds: sweeps, then serving at 0.4, 0.7 and 1.3 of capacity; the last two loads are held out.

    A burst has its start and end, so 0.7 of its rate is about 0.77 of what the engine keeps up. Nearer to 1 a latency
    says more about the machine's mood than about the engine: its 99th percentile moves ten times as far as a step.

    The first round, which is dropped, probes the capacity in place of serving.
    """
    loads: list[Load] = []
    runs: list[list[Run]] = []
    for number in range(rig.plan.repeats + 1):
        progress(f"round {number + 1} of {rig.plan.repeats + 1}: decode, prefill and mixed sweeps")
        for sweep in sweeps:
            sweep.round()
        if not loads:
            capacity = burst_rate(rig, progress)
            shares = ((0.4, 1.0, False), (0.7, 0.8, True), (1.3, 1.0, True))
            loads = [
                Load(share * capacity, zipf, held, 11 + i) for i, (share, zipf, held) in enumerate(shares)
            ]
        else:
            runs.append([serve(rig, load, progress) for load in loads])
    return [
        median_row([serving_row(rig, load, run) for run in repeats])
        for load, repeats in zip(loads, zip(*runs, strict=True), strict=True)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, measure, write the profile, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m reference_node.bench", description="Measure this machine as a LoRA serving node."
    )
    parser.add_argument("--out", type=Path, required=True, help="profile to write (JSON)")
    parser.add_argument("--preset", choices=sorted(PLANS), default="tiny", help="model shape (default: tiny)")
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu"
    )
    options = parser.parse_args(arguments)
    progress = stderr_progress(time.perf_counter())
    command = f"python -m reference_node.bench --preset {options.preset} --device {options.device}"
    try:
        check_target(options.out)
        profile = write_profile(
            measure_profile(PLANS[options.preset], options.preset, options.device, command, progress),
            options.out,
        )
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    progress(f"wrote {options.out}: fit r2 {profile.fit.r2:.4f}, largest error {profile.fit.max_rel_err:.1%}")
    return 0
