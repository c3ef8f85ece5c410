"""Commands of the node: `olsim node bench`, `olsim node adapters`, and the bench `olsim bench node`.

Decided here: exit codes (0 done, 1 a figure under its bar, 2 bad input), and that standard output carries
the result alone: one JSON object with `--json`, a table without.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from models.errors import InputError

app = typer.Typer(
    help="The reference LoRA serving node: measure it, make and check adapters.",
    no_args_is_help=True,
    add_completion=False,
)
adapters_app = typer.Typer(help="Make seeded adapters, check and name adapter folders.", no_args_is_help=True)
app.add_typer(adapters_app, name="adapters")

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Preset = Annotated[str, typer.Option(help="Model shape: tiny or 8b.")]


@app.command("bench")
def measure(
    out: Annotated[Path | None, typer.Option(help="Write the throughput profile here.")] = None,
    preset: Preset = "tiny",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    figures: Annotated[bool, typer.Option("--figures", help="Measure the public ratios instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure this machine and write a throughput profile, or with --figures the ratios against peers."""
    if figures:
        bench(as_json)
        return
    if out is None:
        raise InputError(
            "olsim node bench: --out FILE is missing; say where the profile goes, or ask for --figures"
        )
    _import_torch()
    from reference_node.bench.measure import PLANS
    from reference_node.bench.run import check_target, measure_profile, stderr_progress
    from reference_node.profile import write_profile

    if preset not in PLANS:
        raise InputError(f"preset {preset!r} is unknown; allowed {', '.join(PLANS)}")
    check_target(out)
    command = f"olsim node bench --preset {preset} --device {device}"
    progress = stderr_progress(time.perf_counter())
    profile = write_profile(measure_profile(PLANS[preset], preset, device, command, progress), out)
    summary = {
        "profile": str(out),
        "id": profile.id,
        "sha256": profile.provenance.sha256,
        "r2": profile.fit.r2,
    }
    sys.stdout.write(
        json.dumps(summary) + "\n" if as_json else f"{out}: {profile.id}, fit r2 {profile.fit.r2:.4f}\n"
    )


def bench(as_json: AsJson = False) -> None:
    """Node against peft and transformers on the same weights, in one interleaved run."""
    _import_torch()
    from reference_node.bench.figures import node_figures
    from reference_node.bench.run import stderr_progress

    document = node_figures(stderr_progress(time.perf_counter()))
    sys.stdout.write(json.dumps(document) + "\n" if as_json else _table(document))
    if any(figure["ok"] is False for figure in document["figures"]):
        raise typer.Exit(1)


@adapters_app.command("make")
def make(
    folder: Annotated[Path, typer.Argument(help="Folder to write.")],
    rank: Annotated[int, typer.Option(min=1, max=256)] = 16,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    preset: Preset = "tiny",
) -> None:
    """Write a seeded random adapter in peft's format and print its content hash."""
    _import_torch()
    from reference_node.adapters import random_adapter, save_adapter

    adapter = random_adapter(_shape(preset), rank, seed)
    save_adapter(adapter, folder)
    sys.stdout.write(f"{adapter.sha256}\n")


@adapters_app.command("check")
def check(
    folder: Annotated[
        Path, typer.Argument(help="Adapter folder: adapter_config.json and adapter_model.safetensors.")
    ],
    preset: Preset = "tiny",
    as_json: AsJson = False,
) -> None:
    """Say whether the node would serve an adapter, and under which content hash."""
    _import_torch()
    from reference_node.adapters import read_adapter

    found = read_adapter(folder, _shape(preset))
    facts = {
        "sha256": found.sha256,
        "rank": found.rank,
        "alpha": found.alpha,
        "targets": list(found.targets),
        "bytes": found.nbytes(),
    }
    lines = "".join(f"{key}: {value}\n" for key, value in facts.items())
    sys.stdout.write(json.dumps(facts) + "\n" if as_json else lines)


def _import_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise InputError("the node needs torch: pip install 'olsim[node]'") from error


def _shape(preset: str) -> Any:
    from reference_node.config import PRESETS

    if preset not in PRESETS:
        raise InputError(f"preset {preset!r} is unknown; allowed {', '.join(PRESETS)}")
    return PRESETS[preset]


def _table(document: dict[str, Any]) -> str:
    rows = [f"{'figure':<26}{'value':>10}{'bar':>8}  ok"]
    for figure in document["figures"]:
        value = "missing" if figure["value"] is None else f"{figure['value']:.2f}"
        bar = "-" if figure["bar"] is None else f"{figure['bar']:.1f}"
        verdict = {None: figure["detail"].get("install", ""), True: "yes", False: "NO"}[figure["ok"]]
        rows.append(f"{figure['id']:<26}{value:>10}{bar:>8}  {verdict}")
    return "\n".join(rows) + "\n"
