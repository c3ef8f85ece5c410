"""`olsim validate`: read a scenario, a proposal or a token file and say everything that is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sim.scenario import Scenario, TokenFile

SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Override a value; repeatable.")
]


def validate(
    scenario: Annotated[Path, typer.Argument(help="Scenario, proposal or token file.")],
    set_: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Check a scenario file: exit 0 when it is right, 2 with every mistake as file:line:column."""
    from sim.scenario import Scenario, load_any

    read = load_any(scenario, set_ or [])
    facts = _world(read) if isinstance(read, Scenario) else _calendar(read)
    if as_json:
        typer.echo(json.dumps({"file": str(scenario), **facts}))
        return
    for note in facts["notes"]:
        typer.echo(f"note: {note}", err=True)
    counts = ", ".join(f"{count} {name}" for name, count in facts["classes"].items() if count)
    shown = f"{facts['parameters']} parameters ({counts})"
    typer.echo(f"{scenario}: {facts['kind']} '{facts['name']}' is right: {shown}")


def _world(scenario: Scenario) -> dict[str, Any]:
    kind = "scenario" if scenario.proposal is None else "proposal"
    facts = _evidence(scenario, list(scenario.notes))
    return {"kind": kind, "name": scenario.name, "sha256": scenario.sha256(exclude_runs=False), **facts}


def _calendar(read: TokenFile) -> dict[str, Any]:
    from sim.schedules import schedules_of

    schedules_of(read.token, read.start)
    return {"kind": "token", "name": read.name, **_evidence(read.token, list(read.notes))}


def _evidence(section: Any, notes: list[str]) -> dict[str, Any]:
    from models.parameters import CLASSES
    from sim.scenario.schema import collect_parameters

    classes = [parameter.evidence for _, parameter in collect_parameters(section)]
    return {
        "parameters": len(classes),
        "classes": {name: classes.count(name) for name in CLASSES},
        "notes": notes,
    }
