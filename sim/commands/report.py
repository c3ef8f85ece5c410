"""`olsim report`: write a run's report again.

Rule decided here: a report is made from the run directory alone, for any reference date inside the run.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from models.errors import InputError
from sim.commands.run import tell_result


def report(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    as_of: Annotated[str | None, typer.Option(help="Reference date of the headline, YYYY-MM-DD.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Write report.html and report.md of a run directory and print its headline."""
    from sim.report.document import write_report
    from sim.results import load_run

    done = load_run(run)
    page, _, head = write_report(done, read_date(as_of))
    tell_result(done, head, page, as_json)


def read_date(text: str | None) -> date | None:
    """Return an ISO date, or None.

    Raises
    ------
    InputError
        If the text is no date.
    """
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(f"'{text}' is not a date; expected YYYY-MM-DD") from None
