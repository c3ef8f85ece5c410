"""The accelerator's profile: its plan fits the card, its name says what was measured, and one command makes it."""
# ruff: noqa: E402 (imports of torch follow importorskip)

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the node extra (torch)")

from models.errors import InputError
from reference_node.bench import accelerator
from reference_node.bench.load import Load, schedule, serve
from reference_node.bench.measure import PLANS, STEP_TOKENS, BenchPlan
from reference_node.bench.run import build_rig, check_memory
from reference_node.bench.sweeps import DecodeSweep, MixedSweep, PrefillSweep
from reference_node.config import ModelConfig
from reference_node.engine import Engine
from reference_node.profile_file import read_profile
from reference_node.weights import named_tensors
from sim.serving.traffic import replayed_requests
from tests.node.test_node_profile import MINUTE, MINUTE_PLAN

pytestmark = pytest.mark.node

ROOT = Path(__file__).parents[2]
H200_BYTES = 141_000_000_000
PLAN = BenchPlan(config=ModelConfig(**MINUTE), **MINUTE_PLAN)


def test_bytes_of_a_plan_are_those_of_all_that_its_bench_allocates(monkeypatch):
    rig = build_rig(PLAN, "cpu", lambda text: None)
    stores = []
    make = Engine.__init__

    def noting(engine, *arguments, **options):
        make(engine, *arguments, **options)
        stores.append(2 * engine.runner.kv.k.nbytes)

    monkeypatch.setattr(Engine, "__init__", noting)
    DecodeSweep(rig), PrefillSweep(rig), MixedSweep(rig)
    serve(rig, Load(1e4, 1.0, False, 1), lambda text: None)
    weights = sum(tensor.nbytes for tensor in named_tensors(rig.model).values())
    slots = PLAN.slots * rig.pool.nbytes_per_adapter(max(PLAN.ranks))
    assert PLAN.device_bytes(4) == weights + slots + sum(stores)


def test_8b_plan_fits_an_h200_and_covers_what_it_serves():
    plan = PLANS["8b"]
    check_memory(plan.device_bytes(2), H200_BYTES)
    shortest, longest = plan.contexts
    assert shortest <= plan.input_tokens < plan.input_tokens + plan.output_tokens <= longest
    # two lengths beside the largest batch and two within a step: fewer, and no slope per prompt token can be fitted
    assert len(plan.joining_tokens(max(plan.batches) - 1)) >= 2
    assert len([tokens for tokens in plan.prefill_tokens if tokens <= STEP_TOKENS]) >= 2
    assert (plan.repeats, plan.adapters > plan.slots) == (5, True)


def test_simulator_replays_the_arrivals_and_adapters_that_the_bench_serves():
    rig = build_rig(PLAN, "cpu", lambda text: None)
    served = schedule(rig, Load(37.5, 0.8, True, 12), 200)
    replayed = replayed_requests(
        200, 37.5, adapters=PLAN.adapters, zipf=0.8, input_tokens=PLAN.input_tokens,
        output_tokens=PLAN.output_tokens, seed=12,
    )  # fmt: skip
    names = [adapter.sha256 for adapter in rig.adapters[max(PLAN.ranks)]]
    assert replayed.arrival_s.tolist() == [at for at, _ in served]
    assert [names[adapter] for adapter in replayed.adapter] == [r.adapters[0].sha256 for _, r in served]
    assert replayed.input_tokens.tolist() == [len(request.prompt) for _, request in served]
    assert replayed.output_tokens.tolist() == [request.max_new_tokens for _, request in served]


def test_plan_beyond_a_device_is_refused_with_both_sizes():
    with pytest.raises(InputError, match=r"77.2 GB on the device at once; allowed here 72.0 GB"):
        check_memory(PLANS["8b"].device_bytes(2), 80_000_000_000)


@pytest.mark.parametrize(
    ("device", "preset", "dtype", "name"),
    [
        ("NVIDIA H200", "8b", "bfloat16", "h200-llama8b-bf16"),
        ("NVIDIA H100 80GB HBM3", "8b", "bfloat16", "h100-80gb-hbm3-llama8b-bf16"),
        ("AMD EPYC", "tiny", "float32", "amd-epyc-llamatiny-fp32"),
    ],
)
def test_profile_is_called_by_device_model_and_format(device, preset, dtype, name):
    assert accelerator.profile_name(device, preset, dtype) == name


def test_profile_section_writes_a_sealed_profile_under_its_name(tmp_path, monkeypatch):
    monkeypatch.setitem(PLANS, "tiny", PLAN)
    command = ["--out", str(tmp_path), "--device", "cpu", "--preset", "tiny", "--section", "profile"]
    assert accelerator.main(command) == 0
    (path,) = tmp_path.glob("*.json")
    profile = read_profile(path)
    assert path.stem == profile.id == accelerator.profile_name(profile.device.name, "tiny", "float32")
    assert sum(row.holdout for row in profile.serving) == 2


def test_run_in_two_calls_leaves_one_summary(tmp_path, monkeypatch):
    monkeypatch.setattr(accelerator, "run_alone", lambda job, name, seconds: f"{seconds:.0f} s")
    job = accelerator.Job(tmp_path, "cpu", "tiny")
    accelerator.run_all(job, ["kernels", "swap"], 100.0)
    accelerator.run_all(job, ["profile"])
    accelerator.run_all(job, ["swap"], 3.0)
    found = json.loads((tmp_path / "summary.json").read_text())["sections"]
    assert found == {"kernels": "100 s", "profile": "560 s", "swap": "no time left"}


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize("sees", [True, False], ids=["a device", "no device"])
def test_one_command_runs_the_first_python_that_sees_a_device(tmp_path, sees):
    """A Python that answers for a device is taken as it is: nothing is installed on a machine without a network."""
    fake = tmp_path / "python"
    fake.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exit {0 if sees else 1}\necho "$@"\n')
    fake.chmod(0o755)
    command = ["make", "--no-print-directory", "bench-accelerator", f"ACCELERATOR_PYTHON={fake}"]
    done = subprocess.run(
        [*command, "BIN=/nowhere"], cwd=ROOT, capture_output=True, text=True, check=False,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    if sees:
        assert done.stdout.split() == ["-m", "reference_node.bench.accelerator", "--out", "runs/accelerator"]
    else:
        assert done.returncode == 2
        assert "ACCELERATOR_PYTHON=" in done.stderr
