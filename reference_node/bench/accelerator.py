"""One script for one accelerator: are the kernels right, how fast is the node, and its profile.

`python -m reference_node.bench.accelerator --out DIR` needs torch, triton, numpy and safetensors. It runs its sections
one after another, each in a process of its own with a time limit, so that a crash or a hang in one costs no other; each
result is on disk as soon as it is known. Exit codes: 0 done, 1 a section failed or a figure missed its bar, 2 no such
device.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from models.errors import InputError
from reference_node import kernels
from reference_node.bench import accelerator_rig as rigs
from reference_node.bench.accelerator_checks import kernel_errors

SUMMARY = "summary.json"


@dataclass(frozen=True, slots=True)
class Job:
    """What a section is given: the folder it writes to, device, plan."""

    out: Path
    device: str
    preset: str

    @property
    def plan(self) -> rigs.RigPlan:
        """Return the plan of the preset."""
        return rigs.PLANS[self.preset]

    def write(self, name: str, document: Any) -> None:
        """Put a document into the folder, whole or not at all."""
        self.out.mkdir(parents=True, exist_ok=True)
        draft = self.out / f".{name}.part"
        draft.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        draft.replace(self.out / f"{name}.json")

    def known(self) -> dict[str, str]:
        """Return how sections ended so far, those of earlier runs into the same folder included."""
        path = self.out / SUMMARY
        return json.loads(path.read_text(encoding="utf-8"))["sections"] if path.exists() else {}

    def ceilings(self) -> dict[str, float]:
        """Return the ceilings that were measured before, measuring them now if they were not."""
        path = self.out / "ceilings.json"
        if not path.exists():
            run_ceilings(self)
        return json.loads(path.read_text(encoding="utf-8"))


def run_ceilings(job: Job) -> bool:
    """Measure copy bandwidth and matrix FLOP/s."""
    job.write("ceilings", rigs.measure_ceilings(job.plan, job.device))
    return True


def run_kernels(job: Job) -> bool:
    """Compare every kernel with its torch reference, then time cuts of the decode kernels."""
    errors = kernel_errors(job.device)
    bad = [row for row in errors if not row["ok"]]
    document = {"cases": len(errors), "failed": bad, "triton": kernels.find_triton(), "errors": errors}
    job.write("kernels", document)
    say(f"kernels: {len(errors) - len(bad)} of {len(errors)} cases agree with the reference")
    if job.device == "cuda" and not bad:
        from reference_node.bench import accelerator_tuning as tuning

        tuning.time_linear(job.plan, lambda rows: job.write("tuning_linear", rows))
        tuning.time_lora(job.plan, lambda rows: job.write("tuning_lora", rows))
    return not bad


def run_figures(job: Job) -> bool:
    """Measure decode against the roofline, and with adapters against the base."""
    plan = job.plan
    use_best_tuning(job)
    ceilings, found = job.ceilings(), []
    rig = rigs.Rig(plan, job.device, slots=plan.resident, rows=max(plan.batches), filled=True)
    seconds = rig.graphs.warm()
    graphs = {"recorded": rig.graphs.recording, "sizes": rig.graphs.sizes, "seconds": round(seconds, 2)}

    def keep(rows: list[dict[str, Any]]) -> None:
        found.extend(rows)
        job.write("figures", {"device": describe(job.device), "graphs": graphs, "figures": found})
        say("\n".join(line_of(row) for row in rows))

    for batch in plan.batches:
        keep([rigs.roofline_figure(rig, batch, ceilings)])
    keep(rigs.lora_figures(rig, 32, ceilings))
    return all(row["ok"] is not False for row in found)


def run_swap(job: Job) -> bool:
    """Measure loads from host memory while rows decode."""
    plan = job.plan
    use_best_tuning(job)
    rig = rigs.Rig(plan, job.device, slots=plan.swap_adapters // 2 + 2, rows=32, filled=False)
    rig.graphs.warm()
    found = rigs.swap_figures(rig, 32)
    job.write("swap", {"figures": found})
    say("\n".join(line_of(row) for row in found))
    return all(row["ok"] is not False for row in found)


def run_profile(job: Job) -> bool:
    """Measure the node's throughput profile with the general bench."""
    from reference_node.bench.measure import PLANS
    from reference_node.bench.run import measure_profile
    from reference_node.profile_file import write_profile

    command = f"python -m reference_node.bench.accelerator --preset {job.preset} --device {job.device}"
    profile = measure_profile(PLANS[job.preset], job.preset, job.device, command, say)
    name = profile_name(profile.device.name, job.preset, profile.model.dtype)
    write_profile(replace(profile, id=name), job.out / f"{name}.json")
    say(f"profile: {job.out / name}.json; reference_node/profiles is its place")
    return True


def profile_name(device: str, preset: str, dtype: str) -> str:
    """Return how a profile is called: device, model, number format.

    Examples
    --------
    >>> profile_name("NVIDIA H200", "8b", "bfloat16")
    'h200-llama8b-bf16'
    """
    words = [word for word in re.findall("[a-z0-9]+", device.lower()) if word != "nvidia"]
    return "-".join([*words, f"llama{preset}", {"bfloat16": "bf16", "float32": "fp32"}[dtype]])


# Section and the seconds it may take at most.
SECTIONS: dict[str, tuple[Callable[[Job], bool], int]] = {
    "ceilings": (run_ceilings, 60),
    "kernels": (run_kernels, 180),
    "figures": (run_figures, 200),
    "swap": (run_swap, 120),
    "profile": (run_profile, 560),
}
LIMIT_S = sum(seconds for _, seconds in SECTIONS.values())


def use_best_tuning(job: Job) -> None:
    """Let the decode kernels be cut as the kernels section found best, where it ran."""
    if job.device != "cuda":
        return
    from reference_node.kernels import few_rows, lora_rows

    found = fastest(job.out / "tuning_lora.json")
    if found is not None:
        lora_rows.choose(lora_rows.RowTuning(**found))
    found = fastest(job.out / "tuning_linear.json")
    if found is not None:
        few_rows.choose(few_rows.LinearTuning(**found))


def fastest(path: Path) -> dict[str, Any] | None:
    """Return the fastest candidate of a file that agrees with the others, None where there is none."""
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    best = min((row for row in rows if row["ok"]), key=lambda row: row["us_per_layer"], default=None)
    if best is None:
        return None
    say(f"{path.stem}: {best['us_per_layer']} us per layer with {best['tuning'] or 'the library'}")
    return best["tuning"]


def describe(device: str) -> dict[str, Any]:
    """Return what the figures were measured on."""
    name = torch.cuda.get_device_name(0) if device == "cuda" else platform.machine()
    return {
        "device": name,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "triton": kernels.find_triton(),
    }


def line_of(row: dict[str, Any]) -> str:
    """Return a figure as one line."""
    verdict = {True: "ok", False: "MISSED", None: "-"}[row["ok"]]
    bar = "-" if row["bar"] is None else f"{row['bar']:g}"
    return f"{row['id']:<28}{row['value']:>10.4f}  bar {bar:<6} {verdict}"


def say(text: str) -> None:
    """Tell the user what happens, on standard error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def run_all(job: Job, names: Sequence[str], limit_s: float = LIMIT_S) -> int:
    """Run sections in processes of their own and return the exit code."""
    began, results = time.perf_counter(), {}
    for name in names:
        left = limit_s - (time.perf_counter() - began)
        allowed = min(left, SECTIONS[name][1])
        say(f"[{time.perf_counter() - began:6.1f} s] {name}")
        results[name] = run_alone(job, name, allowed) if allowed > 5 else "no time left"
        seconds = time.perf_counter() - began
        job.write(SUMMARY.removesuffix(".json"), {"sections": job.known() | results, "seconds": seconds})
    say("\n".join(f"{name:<10}{result}" for name, result in results.items()))
    return 0 if set(results.values()) == {"ok"} else 1


def run_alone(job: Job, name: str, seconds: float) -> str:
    """Run one section in a process of its own and say how it ended."""
    command = [sys.executable, "-m", "reference_node.bench.accelerator", "--section", name]
    command += ["--out", str(job.out), "--device", job.device, "--preset", job.preset]
    try:
        code = subprocess.run(command, timeout=seconds, check=False).returncode
    except subprocess.TimeoutExpired:
        return f"stopped after {seconds:.0f} s"
    return {0: "ok", 1: "failed or missed a bar"}.get(code, f"ended with code {code}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, run, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m reference_node.bench.accelerator", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--preset", default="8b", choices=sorted(rigs.PLANS))
    parser.add_argument(
        "--only", help="sections, separated by commas; all when left out, without the profile on a CPU"
    )
    parser.add_argument(
        "--limit-s", type=float, default=LIMIT_S, help=f"seconds of the whole run (default {LIMIT_S})"
    )
    parser.add_argument("--section", choices=sorted(SECTIONS), help="run one section in this process")
    options = parser.parse_args(arguments)
    every = [name for name in SECTIONS if options.device == "cuda" or name != "profile"]
    names = every if options.only is None else options.only.split(",")
    try:
        check_options(options.device, options.out, names)
    except InputError as error:
        say(str(error))
        return 2
    job = Job(options.out, options.device, options.preset)
    if options.section is None:
        return run_all(job, names, options.limit_s)
    if options.device == "cpu":
        torch.set_num_threads(1)
    return 0 if SECTIONS[options.section][0](job) else 1


def check_options(device: str, out: Path, names: Sequence[str]) -> None:
    """Refuse what cannot be run.

    Raises
    ------
    InputError
        When the device is missing, the folder cannot be one, or a section is unknown.
    """
    wrong = [
        f"section {name!r} is unknown; allowed {', '.join(SECTIONS)}"
        for name in names
        if name not in SECTIONS
    ]
    if device == "cuda" and not torch.cuda.is_available():
        wrong.append("device cuda: torch sees no CUDA device here; allowed here --device cpu --preset tiny")
    if out.is_file() or any(parent.is_file() for parent in out.parents):
        wrong.append(f"{out}: cannot be a folder")
    elif not os.access(next(p for p in (out, *out.absolute().parents) if p.exists()), os.W_OK):
        wrong.append(f"{out}: cannot be written")
    if wrong:
        raise InputError(wrong)


if __name__ == "__main__":
    sys.exit(main())
