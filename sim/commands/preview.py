"""`olsim preview`: what a proposal would do, before voting."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from models.errors import InputError


def preview(
    baseline: Annotated[Path, typer.Argument(help="Scenario file of the world as it is.")],
    proposal: Annotated[Path, typer.Argument(help="File with a proposal that extends it.")],
    runs: Annotated[
        int | None, typer.Option(min=1, help="Paired runs; the scenario's when left out.")
    ] = None,
    agents: Annotated[int | None, typer.Option(min=1, help="Agents simulated in each run.")] = None,
    days: Annotated[
        int | None, typer.Option(min=1, help="Last day; the longest horizon's when left out.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Override a value of both files.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for preview.json and preview.md.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; the machine's cores when left out.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Run baseline and proposal with the same luck: verdict, differences with intervals, checks."""
    from sim.preview.arms import Arm, Size, load_pair, simulate
    from sim.preview.markdown import render
    from sim.preview.preview import last_day
    from sim.preview.preview import preview as compute

    if out is not None and out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file; expected a folder")
    _, overlay = load_pair(baseline, proposal, overrides or [])
    count = overlay.runs.count if runs is None else runs
    size = Size(int(count), agents, last_day(overlay, days), workers or os.cpu_count() or 1)
    arms = iter(("baseline arm", "proposal arm", "votes"))

    def live(scenario: Any, wanted: Size) -> Arm:
        typer.echo(f"{next(arms)}: {wanted.runs} runs, days 0 to {wanted.days} ...", err=True)
        return simulate(scenario, wanted)

    result = compute(overlay, size, live)
    text = json.dumps(result.as_json(), indent=2, allow_nan=False)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "preview.json").write_text(f"{text}\n", encoding="utf-8")
        (out / "preview.md").write_text(render(result), encoding="utf-8")
        typer.echo(f"wrote {out / 'preview.json'} and {out / 'preview.md'}", err=True)
    typer.echo(text if as_json else render(result))
    if any(check["status"] == "failed" for check in result.chain["checks"]):
        raise typer.Exit(1)
