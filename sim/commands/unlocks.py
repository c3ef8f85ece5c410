"""`olsim unlocks`: a newcomer's first question, answered without agents and without a chain."""

from __future__ import annotations

import json
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from sim.unlocks import Unlocks


WIDTH_OF_A_FILE = 160
"""Columns where output is no terminal and there is nothing to fit into."""
MILLIONS_FROM = 10**7
"""Caps from here on show their calendar in millions of tokens."""

FileArgument = Annotated[Path, typer.Argument(help="A scenario, or a file with start and token alone.")]
AtOption = Annotated[
    str | None, typer.Option("--at", help="YYYY-MM-DD; the calendar's first day if left out.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object, amounts in ledger units.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="The calendar as CSV, amounts in ledger units.")]


def unlocks(
    file: FileArgument, at: AtOption = None, to_json: JsonOption = False, to_csv: CsvOption = False
) -> None:
    """Show the unlock calendar of a token: locked, unlocked, the next unlock and every month.

    Without --at the date is the first day of the file's calendar, because no command reads today's date.
    """
    from sim.scenario import load_token
    from sim.unlocks import as_csv, as_json, unlocks_of

    if to_json and to_csv:
        raise InputError("give --json or --csv, not both")
    answer = unlocks_of(load_token(file), _date(at))
    if to_json:
        typer.echo(json.dumps(as_json(answer, file)))
    elif to_csv:
        typer.echo(as_csv(answer), nl=False)
    else:
        _show(answer, asked=at is not None)


def _date(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"--at '{text}' is not a date; expected YYYY-MM-DD") from error


def _show(answer: Unlocks, asked: bool) -> None:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = WIDTH_OF_A_FILE
    day = f"on {answer.at}" + ("" if asked else ", the first day of the calendar (another: --at YYYY-MM-DD)")
    console.print(f"[bold]{answer.name}[/bold]: {answer.symbol} {day}")
    console.print(_supply(answer))
    console.print(_next_line(answer))
    for note in answer.notes:
        console.print(f"Note: {note}")
    console.print(_calendar(answer))


def _tokens(answer: Unlocks, units: int, per: int = 1) -> str:
    """Write ledger units in tokens, or so many tokens, with two decimals rounded from the exact amount."""
    hundredths = round(Fraction(units * 100, per * 10**answer.decimals))
    return f"{hundredths // 100:,}.{hundredths % 100:02d}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"


def _supply(answer: Unlocks) -> Table:
    from rich.table import Table

    table = Table("", answer.symbol, "of the cap", "what it is", show_edge=False)
    table.columns[1].justify = table.columns[2].justify = "right"
    rows = [
        ("unlocked", answer.unlocked, "released by vesting"),
        ("locked", answer.locked, "allocated, not yet released"),
        (
            "tracker circulating",
            answer.tracker_circulating,
            "unlocked - burned; a calendar knows of nothing burned",
        ),
        ("allocated to nobody", answer.unallocated, "the buckets do not sum to the cap"),
        ("cap", answer.cap, ""),
    ]
    for name, units, meaning in rows:
        if units or name != "allocated to nobody":
            table.add_row(name, _tokens(answer, units), f"{units / answer.cap:.2%}", meaning)
    table.add_row("circulating, float", "-", "-", "depend on who holds what: olsim run")
    return table


def _next_line(answer: Unlocks) -> str:
    following = answer.following
    if following is None:
        return "Next unlock: none, everything is unlocked."
    named = {name.replace("_", " "): share for name, share in following.shares.items()}
    shares = ", ".join(f"{_percent(share)} of {name}" for name, share in named.items())
    buckets = ", ".join(f"{name} {_tokens(answer, units)}" for name, units in following.by_bucket.items())
    amount = f"{_tokens(answer, following.amount)} {answer.symbol}"
    when = f"{following.date}, {following.days_away} days later"
    return f"Next unlock: {amount} on {when}\n  = {shares}\n  = {buckets}"


def _calendar(answer: Unlocks) -> Table:
    from rich.table import Table

    millions = answer.cap >= MILLIONS_FROM * 10**answer.decimals
    per, unit = (10**6, f"millions of {answer.symbol}") if millions else (1, answer.symbol)
    heads = ("month", "until", *answer.allocated, "unlocks", "unlocked")
    table = Table(title=f"Unlocks by month, {unit}", title_justify="left", show_edge=False)
    for i, head in enumerate(heads):
        table.add_column(head, justify="left" if i == 1 else "right", overflow="fold")
    for month in answer.months:
        amounts = [*month.by_bucket.values(), sum(month.by_bucket.values()), month.unlocked]
        cells = [_tokens(answer, units, per) if units else "-" for units in amounts]
        table.add_row(str(month.month), str(month.date), *cells)
    return table
