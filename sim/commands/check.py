"""`olsim check`: run the formula tests and say every difference with its file and line."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from sim.check import Result, collect, run_case

DEFAULT_FOLDER = Path(__file__).resolve().parents[2] / "tests" / "formulas"
"""The checkout's own formula tests."""


def check(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Files *.formula.yaml or folders; the checkout's tests/formulas when left out."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Run formula tests: exit 0 when all pass, 1 when one fails, 2 when a file is wrong."""
    cases = collect(paths or [DEFAULT_FOLDER])
    begun = time.perf_counter()
    results = [run_case(case) for case in cases]
    seconds = time.perf_counter() - begun
    failed = [result for result in results if not result.ok]
    if as_json:
        typer.echo(json.dumps(_summary(results, failed, seconds)))
    else:
        for result in failed:
            typer.echo("\n".join(f"{problem}  ({result.case.name})" for problem in result.problems))
        files = len({result.case.file for result in results})
        typer.echo(
            f"{len(results) - len(failed)} of {len(results)} cases in {files} files pass ({seconds:.2f} s)"
        )
    if failed:
        raise typer.Exit(1)


def _summary(results: list[Result], failed: list[Result], seconds: float) -> dict[str, object]:
    return {
        "cases": len(results),
        "passed": len(results) - len(failed),
        "failed": len(failed),
        "seconds": round(seconds, 3),
        "failures": [
            {
                "file": str(result.case.file),
                "line": result.case.line,
                "name": result.case.name,
                "problems": list(result.problems),
            }
            for result in failed
        ],
    }
