"""`olsim params`: the parameters of a scenario with value, unit, class, source and place.

Rule decided here: what is found is searched in path, source and class, without regard to case.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sim.scenario.schema import Scenario

BASELINE = Path("scenarios/baseline.yaml")
"""The scenario that is shown when none is named."""

WIDTH_OF_A_FILE = 200
"""Columns where output is no terminal and there is nothing to fit into."""

COLUMNS = ("path", "value", "class", "source", "range", "place")


def params(
    scenario: Annotated[Path, typer.Argument(help="Scenario file.")] = BASELINE,
    search: Annotated[
        str, typer.Option("--search", "-s", help="Show only rows that contain this text.")
    ] = "",
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Override a value; repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """List every parameter of a scenario with its value, class, source and file:line."""
    from sim.scenario import load

    rows = [row for row in table(load(scenario, set_ or [])) if _matches(row, search)]
    if as_json:
        typer.echo(json.dumps({"scenario": str(scenario), "parameters": rows}))
    elif not rows:
        typer.echo(f"no parameter of {scenario} contains '{search}'", err=True)
    else:
        _show(rows)


def table(scenario: Scenario) -> list[dict[str, str]]:
    """Return one row of texts per parameter, in the order of the file's sections.

    Parameters
    ----------
    scenario
        The scenario as loaded.

    Returns
    -------
    list of dict
        Rows with the keys of `COLUMNS`.
    """
    written = dict(_leaves(scenario.resolved(), ""))
    return [
        {
            "path": path,
            "value": _value(written[path]),
            "class": parameter.evidence,
            "source": parameter.source,
            "range": " to ".join(str(bound) for bound in written[path].get("range", ())),
            "place": str(parameter.place),
        }
        for path, parameter in scenario.parameters()
    ]


def _leaves(node: Any, path: str) -> list[tuple[str, dict[str, Any]]]:
    """Return every long form of a resolved scenario with its path."""
    if isinstance(node, dict) and "class" in node and {"value", "at", "prior"} & set(node):
        return [(path, node)]
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [found for key, item in pairs for found in _leaves(item, f"{path}.{key}" if path else str(key))]


def _value(leaf: dict[str, Any]) -> str:
    if "prior" in leaf:
        name, numbers = next(iter(leaf["prior"].items()))
        return f"{name}({', '.join(map(str, numbers))})"
    if "at" in leaf:
        return "; ".join(f"{day}: {_plain(value)}" for day, value in leaf["at"].items())
    return _plain(leaf["value"])


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ":".join(str(part) for part in value.values())
    return str(value)


def _matches(row: dict[str, str], search: str) -> bool:
    text = " ".join(row[key] for key in ("path", "source", "class")).casefold()
    return search.casefold() in text


def _show(rows: list[dict[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH_OF_A_FILE)
    shown = Table(box=None, pad_edge=False)
    for column in COLUMNS:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*(row[column] for column in COLUMNS))
    console.print(shown)
    illustrative = sum(row["class"] == "illustrative" for row in rows)
    console.print(f"shown: {len(rows)}; of these illustrative: {illustrative}")
