"""`olsim serving`: serving policies compared in the economy.

Rule decided here: every policy lives the same scenario with the same draws; the table is printed, a report is written
where a folder is named. Bad input leaves nothing behind.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.errors import InputError

if TYPE_CHECKING:
    from sim.policies.compare import Comparison
    from sim.policies.report import Facts

RUNS, DAYS = 20, 365
"""Size of a comparison unless told otherwise: intervals that mean something, a year."""
WIDE = 168
"""Columns of the table where the output is no terminal."""
FILES = ("serving.html", "serving.md", "serving.json")


def serving(
    scenario: Annotated[Path, typer.Argument(help="Scenario file.")],
    runs: Annotated[int, typer.Option(min=1, help="Paired runs under each policy.")] = RUNS,
    agents: Annotated[int | None, typer.Option(min=1, help="Agents simulated in each run.")] = None,
    days: Annotated[int, typer.Option(min=1, help="Last day; the scenario's where that is earlier.")] = DAYS,
    policies: Annotated[
        str, typer.Option(help="Comma-separated: lru, unload_always, resident, dedicated.")
    ] = "lru,unload_always,resident,dedicated",
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Override a value of the file.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for serving.html, serving.md and serving.json.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; the machine's cores when left out.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Compare serving policies with the same luck: latency, cost, machines, operators' profit."""
    from sim.commands.run import default_workers
    from sim.policies.compare import compare, read_policies
    from sim.policies.report import Facts
    from sim.policies.report import as_json as plain
    from sim.preview.arms import Size
    from sim.scenario import load

    if out is not None and out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file; expected a folder")
    names, world = read_policies(policies), load(scenario, set_ or [])
    size = Size(runs, agents, min(days, world.days), workers or default_workers())

    def tell(policy: str) -> None:
        typer.echo(f"{policy}: {size.runs} runs, days 0 to {size.days} ...", err=True)

    found = compare(world, names, size, tell=tell)
    facts = Facts.of(found)
    command = command_line(scenario, size.runs, agents, size.days, names, set_ or [])
    if out is not None:
        write(found, facts, command, out)
    if as_json:
        sys.stdout.write(json.dumps(plain(found, facts, command), allow_nan=False) + "\n")
    else:
        show(found, facts)


def command_line(
    scenario: Path, runs: int, agents: int | None, days: int, policies: tuple[str, ...], set_: list[str]
) -> str:
    """Return the command that gives the same numbers.

    Examples
    --------
    >>> command_line(Path("a.yaml"), 4, None, 90, ("lru", "dedicated"), [])
    'olsim serving a.yaml --runs 4 --days 90 --policies lru,dedicated'
    """
    name = scenario.name if scenario.is_absolute() else scenario.as_posix()
    words = ["olsim", "serving", name, "--runs", str(runs)]
    words += ["--agents", str(agents)] if agents is not None else []
    words += ["--days", str(days), "--policies", ",".join(policies)]
    for text in set_:
        words += ["--set", text]
    return shlex.join(words)


def write(found: Comparison, facts: Facts, command: str, out: Path) -> None:
    """Write the report in all its forms."""
    from sim.policies.report import as_json, blocks, title
    from sim.report import html, markdown

    parts = blocks(found, facts, command)
    data = json.dumps(as_json(found, facts, command), indent=1, allow_nan=False)
    texts = (html.render(title(found), parts), markdown.render(title(found), parts), f"{data}\n")
    out.mkdir(parents=True, exist_ok=True)
    for name, text in zip(FILES, texts, strict=True):
        temporary = out / f".{name}.part"
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(out / name)
    typer.echo(f"wrote {', '.join(str(out / name) for name in FILES)}", err=True)


def show(found: Comparison, facts: Facts) -> None:
    """Print the table, the verdict and the warnings."""
    from rich.console import Console

    from sim.policies.report import screen_tables, verdict, warnings

    console = Console(width=None if sys.stdout.isatty() else WIDE)
    for table in screen_tables(found, facts):
        console.print(table)
    console.print(verdict(found), highlight=False)
    for text in warnings(found, facts):
        console.print(f"Warning: {text}", style="yellow", highlight=False)
