"""Screen: the headline as a table for a terminal.

Rule decided here: the same numbers as in the documents, without colour where the output is no terminal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.report.text import interval, number

if TYPE_CHECKING:
    from rich.table import Table

    from sim.report.headline import Headline


WIDE = 132
"""Columns from which both dates stand side by side; a narrower terminal shows the reference date alone."""


def headline_table(head: Headline, width: int = WIDE) -> Table:
    """Return the headline as a rich table, with a rule between its eight rows.

    Parameters
    ----------
    head
        The headline.
    width
        Columns of the terminal.
    """
    from rich.table import Table

    days = (head.as_of, head.last) if width >= WIDE else (head.as_of,)
    table = Table(
        title=f"{head.runs} runs: median, 5 to 95 %, class of the weakest input", title_justify="left"
    )
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("number", overflow="fold")
    table.add_column("unit", no_wrap=True)
    for day in days:
        table.add_column(str(day), justify="right", no_wrap=True)
        table.add_column("5 to 95 %", justify="right", no_wrap=True)
    table.add_column("class", no_wrap=True)
    shown = 0
    for line in head.lines:
        if shown and line.row != shown:
            table.add_section()
        first = "" if line.row == shown else str(line.row)
        shown = line.row
        values = (line.at, line.last)[: len(days)]
        cells = [
            text
            for value in values
            for text in (number(value.p50, line.unit), interval(value.p05, value.p95, line.unit))
        ]
        table.add_row(first, line.label, "" if line.unit == "share" else line.unit, *cells, line.evidence)
    return table
