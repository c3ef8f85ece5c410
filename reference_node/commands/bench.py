"""`olsim node bench` and `olsim bench node`: measure this machine, any server, or the node against its peers.

Decided here: exit codes (0 done, 1 a figure under its bar, 2 bad input), and that standard output carries the result
alone: one JSON object with `--json`, a table without.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from models.errors import InputError
from reference_node.commands import need_packages

Key = Annotated[str | None, typer.Option(envvar="OLSIM_NODE_KEY", help="API key of the server (--endpoint).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def measure(
    out: Annotated[Path | None, typer.Option(help="Write the throughput profile here.")] = None,
    preset: Annotated[str, typer.Option(help="Model shape: tiny or 8b.")] = "tiny",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    endpoint: Annotated[
        str | None, typer.Option(help="Measure the OpenAI-compatible server at this URL instead.")
    ] = None,
    model: Annotated[str, typer.Option(help="Name of the server's base model (--endpoint).")] = "base",
    adapter: Annotated[
        list[str] | None, typer.Option(help="Name of an adapter there, once per adapter (--endpoint).")
    ] = None,
    rank: Annotated[int, typer.Option(min=1, help="LoRA rank of those adapters (--endpoint).")] = 16,
    key: Key = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer rounds and settings (--endpoint).")] = False,
    figures: Annotated[bool, typer.Option("--figures", help="Measure the public ratios instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure this machine (or a server) and write a throughput profile, or with --figures the ratios against peers."""
    if figures:
        bench(as_json)
        return
    if out is None:
        raise InputError(
            "olsim node bench: --out FILE is missing; say where the profile goes, or ask for --figures"
        )
    if endpoint is None and (adapter or quick):
        raise InputError(
            "olsim node bench: --adapter and --quick measure a server; say which with --endpoint URL"
        )
    need_packages("torch", *(["httpx2"] if endpoint else []))
    from reference_node.bench.run import check_target, measure_profile, stderr_progress
    from reference_node.profile_file import write_profile

    check_target(out)
    progress = stderr_progress(time.perf_counter())
    if endpoint is not None:
        measured = _measure_server(endpoint, model, tuple(adapter or ()), rank, key, quick, progress)
    else:
        from reference_node.bench.measure import PLANS

        if preset not in PLANS:
            raise InputError(f"preset {preset!r} is unknown; allowed {', '.join(PLANS)}")
        command = f"olsim node bench --preset {preset} --device {device}"
        measured = measure_profile(PLANS[preset], preset, device, command, progress)
    profile = write_profile(measured, out)
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
    need_packages("torch")
    from reference_node.bench.figures import node_figures
    from reference_node.bench.run import stderr_progress

    document = node_figures(stderr_progress(time.perf_counter()))
    sys.stdout.write(json.dumps(document) + "\n" if as_json else _table(document))
    if any(figure["ok"] is False for figure in document["figures"]):
        raise typer.Exit(1)


def _measure_server(
    url: str, model: str, adapters: tuple[str, ...], rank: int, key: str | None, quick: bool, progress: Any
) -> Any:
    from reference_node.bench.endpoint import EndpointPlan, measure_endpoint

    less: dict[str, Any] = {}
    if quick:
        less = {"batches": (1, 4), "contexts": (16, 48), "output_tokens": 16, "repeats": 3, "requests": 24}
    plan = EndpointPlan(url=url, model=model, key=key, adapters=adapters, rank=rank, **less)
    named = "".join(f" --adapter {name}" for name in adapters)
    command = f"olsim node bench --endpoint {url} --model {model}{named} --rank {rank}" + " --quick" * quick
    return measure_endpoint(plan, command, progress)


def _table(document: dict[str, Any]) -> str:
    rows = [f"{'figure':<26}{'value':>10}{'bar':>8}  ok"]
    for figure in document["figures"]:
        value = "missing" if figure["value"] is None else f"{figure['value']:.2f}"
        bar = "-" if figure["bar"] is None else f"{figure['bar']:.1f}"
        verdict = {None: figure["detail"].get("install", ""), True: "yes", False: "NO"}[figure["ok"]]
        rows.append(f"{figure['id']:<26}{value:>10}{bar:>8}  {verdict}")
    return "\n".join(rows) + "\n"
