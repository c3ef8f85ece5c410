"""`olsim run`: from a scenario file to a run directory with its report and the headline on the screen.

Rule decided here: nothing is left behind by bad input; the command ends with the headline table and the
report's path; a broken check leaves with exit code 1.
"""

from __future__ import annotations

import importlib.util
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.errors import InputError
from sim.chain.backends.nodes import FORM, SCHEME, parse_nodes
from sim.experiment.executors import check_backend

if TYPE_CHECKING:
    from sim.chain.backends.nodes import Nodes
    from sim.report.headline import Headline
    from sim.results import Run


def run(
    scenario: Annotated[Path, typer.Argument(help="Scenario file.")],
    runs: Annotated[int | None, typer.Option(help="Number of runs instead of the scenario's.")] = None,
    agents: Annotated[
        int | None, typer.Option(help="Simulated agents: resolution, not the economy's size.")
    ] = None,
    days: Annotated[int | None, typer.Option(help="Last day; rows are 0 .. days.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="path=value, by the file's own rules.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run directory; default runs/<scenario>-<hash>.")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes or threads of this machine; default one per core.")
    ] = None,
    backend: Annotated[
        str,
        typer.Option(
            metavar="auto|loky|threading|dask://HOST:PORT",
            help="Compute in processes, in threads, or on the workers of a dask cluster.",
        ),
    ] = "auto",
    block: Annotated[
        int | None,
        typer.Option(
            help="Most runs computed together; default by agents, days and memory. Changes no number."
        ),
    ] = None,
    chain: Annotated[
        str,
        typer.Option(
            metavar="on|off|rpc://HOST:PORT[,HOST:PORT]",
            help="Execute the witness run: on chains in its process, or L2 (and L1) at development nodes.",
        ),
    ] = "on",
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue or extend an existing run directory.")
    ] = False,
    until_ci: Annotated[
        list[str] | None,
        typer.Option(
            "--until-ci",
            metavar="METRIC=WIDTH[%][@DAY]",
            help="Add runs until the mean's 95 % interval is within ± WIDTH; repeatable.",
        ),
    ] = None,
    max_runs: Annotated[int, typer.Option(help="Runs after which --until-ci gives up.")] = 10_000,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Run a scenario: agents, serving, votes and contracts, many times, with a report."""
    from sim.engine import build_economy
    from sim.experiment.execute import Order, run_experiment
    from sim.experiment.failures import CheckFailed, WorkerLost
    from sim.experiment.screen import bar
    from sim.experiment.until import parse_target, run_until
    from sim.report.document import write_report
    from sim.results import load_run
    from sim.scenario import load
    from sim.witness_deployment import deployment_spec

    nodes = check_options(workers, chain)
    check_split(backend, block)
    economy = build_economy(load(scenario, overrides(set_ or [], runs, days)), agents=agents)
    if chain != "off":
        deployment_spec(economy)  # what the contracts cannot follow is refused before a directory is made
    targets = [parse_target(text, economy.days) for text in until_ci or []]
    order = Order(
        economy=economy, out=out, workers=workers or default_workers(), chain=chain != "off", resume=resume,
        command=command_line(scenario, runs, agents, days, set_ or [], chain != "off"), nodes=nodes,
        backend=backend, block=block,
    )  # fmt: skip
    try:
        with bar(quiet=as_json) as tell:
            if targets:
                directory, looks = run_until(
                    order, targets, max_runs, tell,
                    command=lambda count: command_line(scenario, count, agents, days, set_ or [], chain != "off"),
                    on_look=lambda shown: typer.echo(shown.text, err=True),
                )  # fmt: skip
            else:
                directory, looks = run_experiment(order, tell), []
    except (CheckFailed, WorkerLost) as failure:
        typer.echo(f"check failed: {failure}" if isinstance(failure, CheckFailed) else str(failure), err=True)
        raise typer.Exit(1) from None
    done = load_run(directory)
    page, _, head = write_report(done)
    tell_result(done, head, page, as_json)
    if not done.manifest.reconciled or not all(shown.met for shown in looks):
        raise typer.Exit(1)


def check_options(workers: int | None, chain: str) -> Nodes | None:
    """Refuse options that cannot work before anything is read, and return the nodes that the chains are at.

    Raises
    ------
    InputError
        If there are no workers, the chain is neither on nor off nor at nodes, or no EVM is installed.
    """
    if workers is not None and workers < 1:
        raise InputError(f"--workers {workers} is out of range; allowed 1 or more")
    if chain == "off":
        return None
    if chain != "on" and not chain.startswith(SCHEME):
        raise InputError(f"--chain {chain}: expected on, off, {FORM}")
    if importlib.util.find_spec("eth") is None:
        raise InputError(
            f"--chain {chain} needs the package py-evm: `make setup` installs it, or use --chain off"
        )
    return None if chain == "on" else parse_nodes(chain)


def check_split(backend: str, block: int | None) -> None:
    """Refuse a division of the work that cannot be meant, before anything is read.

    Raises
    ------
    InputError
        If units would hold no run, or the backend is none that there is.
    """
    if block is not None and block < 1:
        raise InputError(f"--block {block} is out of range; allowed 1 or more")
    check_backend(backend)


def overrides(given: list[str], runs: int | None, days: int | None) -> list[str]:
    """Return ``path=value`` texts with the options that are scenario values."""
    found = list(given)
    if runs is not None:
        found.append(f"runs.count={runs}")
    if days is not None:
        found.append(f"days={days}")
    return found


def default_workers() -> int:
    """Return how many cores this process may use."""
    from joblib import cpu_count

    return int(cpu_count())


def command_line(
    scenario: Path, runs: int | None, agents: int | None, days: int | None, set_: list[str], chain: bool
) -> str:
    """Return the command that gives the same numbers: options that change no number are left out.

    Examples
    --------
    >>> command_line(Path("a.yaml"), 2, None, None, ["fees.burn=1 %"], False)
    "olsim run a.yaml --runs 2 --set 'fees.burn=1 %' --chain off"
    """
    words = ["olsim", "run", scenario.as_posix() if not scenario.is_absolute() else scenario.name]
    for name, value in (("--runs", runs), ("--agents", agents), ("--days", days)):
        words += [name, str(value)] if value is not None else []
    for text in set_:
        words += ["--set", text]
    return shlex.join(words + ([] if chain else ["--chain", "off"]))


def tell_result(done: Run, head: Headline, page: Path, as_json: bool) -> None:
    """Print the headline and where the report is."""
    if as_json:
        sys.stdout.write(json.dumps(result_object(done, head, page)) + "\n")
        return
    from rich.console import Console

    from sim.report.screen import WIDE, headline_table
    from sim.report.sections import footer_text, row_notes
    from sim.report.verdict import verdict, warnings

    console = Console(width=None if sys.stdout.isatty() else WIDE)
    console.print(headline_table(head, console.width))
    console.print(verdict(head), highlight=False)
    for text in warnings(done.manifest):
        console.print(f"Warning: {text}", style="yellow", highlight=False)
    console.print(row_notes(head), highlight=False)
    console.print(footer_text(head.footer), highlight=False)
    console.print(f"Report: {page}", highlight=False, soft_wrap=True)


def result_object(done: Run, head: Headline, page: Path) -> dict[str, Any]:
    """Return the object that ``--json`` prints."""
    from sim.report.headline import headline_object

    manifest = done.manifest.model_dump(mode="json", by_alias=True)
    keep = (
        "name", "status", "seed", "runs", "agents", "days", "scenario_sha256", "world_sha256", "code_version",
        "conservation_residual_gwei", "chain", "profile", "timing",
    )  # fmt: skip
    return {
        "run": str(done.directory),
        "report": str(page),
        "headline": headline_object(head),
        **{key: manifest[key] for key in keep},
    }
