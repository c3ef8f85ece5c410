"""`olsim sweep`: the same runs at many points of a scenario, and which inputs matter.

Rule decided here: what the command line says of a sweep takes the place of what the file says, part by part.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.errors import InputError
from sim.experiment.executors import check_backend

if TYPE_CHECKING:
    from sim.scenario.sweeping import Sweep

SHOWN_POINTS = 20


def sweep(
    scenario: Annotated[Path, typer.Argument(help="Scenario file.")],
    over: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH=A,B,C | PATH=LOW..HIGH[:STEPS] | PATH=prior",
            help="Vary a value; repeatable. Takes the place of sweep.over.",
        ),
    ] = None,
    mode: Annotated[
        str | None, typer.Option(metavar="grid|zip|tornado|latin|sobol|morris", help="The design.")
    ] = None,
    points: Annotated[
        int | None, typer.Option(help="latin: points; sobol: base sample; morris: trajectories.")
    ] = None,
    metric: Annotated[list[str] | None, typer.Option(help="Observable to keep; repeatable.")] = None,
    at: Annotated[
        list[str] | None, typer.Option(help="Time after the start, such as 90 d; repeatable.")
    ] = None,
    runs: Annotated[int | None, typer.Option(help="Runs at every point, with the same luck at all.")] = None,
    agents: Annotated[int | None, typer.Option(help="Simulated agents: resolution, not size.")] = None,
    days: Annotated[int | None, typer.Option(help="Last day.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="path=value, before anything is varied.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Sweep directory; default runs/sweep-<scenario>-<hash>.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes or threads; default one per core.")] = None,
    backend: Annotated[
        str, typer.Option(metavar="auto|loky|threading|dask://HOST:PORT", help="Where points are computed.")
    ] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Continue or extend an existing sweep.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Run a scenario at many points: grid, zip, tornado, latin, sobol or morris, with indices and figures."""
    from sim.commands.run import default_workers, overrides
    from sim.engine import build_economy
    from sim.experiment.failures import CheckFailed, WorkerLost
    from sim.experiment.screen import bar
    from sim.report.sweep import write_page
    from sim.scenario import load
    from sim.sweeps.execute import Order, run_sweep
    from sim.sweeps.plan import make_plan

    check_backend(backend)
    if workers is not None and workers < 1:
        raise InputError(f"--workers {workers} is out of range; allowed 1 or more")
    given = overrides(set_ or [], runs, days)
    said = load(scenario, given)
    plan = make_plan(scenario, given, merged(said.sweep, over or [], mode, points, metric or [], at or []))
    options = [
        *(("--over", text) for text in over or []), ("--mode", mode), ("--points", points),
        *(("--metric", text) for text in metric or []), *(("--at", text) for text in at or []), ("--runs", runs),
        ("--agents", agents), ("--days", days), *(("--set", text) for text in set_ or []),
    ]  # fmt: skip
    order = Order(
        plan=plan, economy=build_economy(plan.scenario, agents=agents), agents=agents, out=out,
        workers=workers or default_workers(), resume=resume, command=command_line(scenario, options), backend=backend,
    )  # fmt: skip
    try:
        with bar(quiet=as_json) as tell:
            directory = run_sweep(order, tell)
    except (CheckFailed, WorkerLost) as failure:
        typer.echo(f"check failed: {failure}" if isinstance(failure, CheckFailed) else str(failure), err=True)
        raise typer.Exit(1) from None
    page = write_page(directory)
    _tell(directory, page, as_json)


def command_line(scenario: Path, options: list[tuple[str, Any]]) -> str:
    """Return the command that gives the same numbers.

    Examples
    --------
    >>> command_line(Path("a.yaml"), [("--mode", "grid"), ("--points", None), ("--over", "fees.burn=0 %,1 %")])
    "olsim sweep a.yaml --mode grid --over 'fees.burn=0 %,1 %'"
    """
    words = ["olsim", "sweep", scenario.as_posix() if not scenario.is_absolute() else scenario.name]
    for name, value in options:
        words += [name, str(value)] if value is not None else []
    return shlex.join(words)


def merged(
    said: Sweep | None,
    over: list[str],
    mode: str | None,
    points: int | None,
    metrics: list[str],
    at: list[str],
) -> Sweep | None:
    """Return the sweep that file and command line say together; None where neither says what is varied.

    Raises
    ------
    InputError
        If the parts do not go together.
    """
    from sim.scenario.sweeping import plain, read_sweep

    told: dict[str, Any] = {} if said is None else plain(said)
    if over:
        told["over"] = dict(map(read_over, over))
    if mode is not None:
        told["mode"] = mode
    if points is not None:
        told["points"] = points
    if metrics:
        told["metrics"] = metrics
    if at:
        told["at"] = at
    if "over" not in told:
        return None
    found: Sweep = read_sweep(told)
    return found


def read_over(text: str) -> tuple[str, Any]:
    """Return path and values of one ``--over``, in the form of the file.

    Raises
    ------
    InputError
        If it is no ``path=values``.

    Examples
    --------
    >>> read_over("governance.quorum=4 %,6 %")
    ('governance.quorum', ['4 %', '6 %'])
    >>> read_over("market.depth_2pct=40_000 USD..160_000 USD:5")
    ('market.depth_2pct', {'from': '40_000 USD', 'to': '160_000 USD', 'steps': 5})
    """
    path, equals, values = text.partition("=")
    path, values = path.strip(), values.strip()
    if not equals or not path or not values:
        raise InputError(f"--over {text}: expected path=a,b,c or path=low..high[:steps] or path=prior")
    if values == "prior":
        return path, "prior"
    if ".." not in values:
        return path, [value.strip() for value in values.split(",")]
    low, _, high = values.partition("..")
    high, colon, steps = high.partition(":")
    if colon and not steps.isdecimal():
        raise InputError(f"--over {text}: '{steps}' is no whole number of steps")
    span: dict[str, Any] = {"from": low.strip(), "to": high.strip()}
    return path, span | ({"steps": int(steps)} if colon else {})


def _tell(directory: Path, page: Path, as_json: bool) -> None:
    from sim.report.sweep import read_sweep_directory, summary_object, summary_text

    found = read_sweep_directory(directory)
    if as_json:
        sys.stdout.write(json.dumps(summary_object(found, page), allow_nan=False) + "\n")
        return
    typer.echo(summary_text(found, SHOWN_POINTS))
    typer.echo(f"Page: {page}")
