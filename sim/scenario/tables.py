"""Unlock calendars that come as a CSV table.

Rule decided here: a table has the header ``date,amount``, rising dates and exact amounts, and unlocks
exactly what the bucket holds after its part at the start.
"""

from __future__ import annotations

import csv
from datetime import date
from typing import TYPE_CHECKING

from models.parameters import Place
from models.units import format_amount, parse_amount
from sim.scenario.forms import Mistake
from sim.scenario.kinds import read_day

if TYPE_CHECKING:
    from sim.scenario.buckets import Bucket

Rows = tuple[tuple[date, int], ...]


def read_table(bucket: Bucket, symbol: str, decimals: int, below: str) -> tuple[Rows, list[Mistake]]:
    """Read the table of `bucket`.

    Parameters
    ----------
    bucket
        A bucket whose ``table`` is set and whose allocation is known.
    symbol, decimals
        The token's symbol and ledger decimals.
    below
        Path of the bucket inside the token section.

    Returns
    -------
    tuple
        Dates with ledger units, and what is wrong with the file.
    """
    assert bucket.table is not None
    file = str(bucket.table)
    with bucket.table.open(newline="", encoding="utf-8") as stream:
        lines = list(csv.reader(stream))
    if not lines or [cell.strip() for cell in lines[0]] != ["date", "amount"]:
        return (), [Mistake("expected the header 'date,amount'", Place(file, 1, 1), f"{below}.table")]
    rows: list[tuple[date, int]] = []
    mistakes: list[Mistake] = []
    for number, cells in enumerate(lines[1:], start=2):
        if not cells:
            continue
        try:
            rows.append(_row(cells, rows[-1][0] if rows else date.min, symbol, decimals))
        except ValueError as error:
            mistakes.append(Mistake(str(error), Place(file, number, 1), f"{below}.table"))
    if not mistakes:
        mistakes += _total(bucket, rows, symbol, decimals, below)
    return tuple(rows), mistakes


def _row(cells: list[str], previous: date, symbol: str, decimals: int) -> tuple[date, int]:
    if len(cells) != 2:
        raise ValueError(f"expected 2 columns, not {len(cells)}")
    day = read_day(cells[0].strip())
    if day <= previous:
        raise ValueError(f"{day} comes after {previous}; dates must rise")
    text = cells[1].strip()
    amount = parse_amount(text if text.endswith(symbol) else f"{text} {symbol}", symbol, decimals)
    if amount <= 0:
        raise ValueError(f"'{text}' is not above 0; leave out days on which nothing unlocks")
    return day, amount


def _total(
    bucket: Bucket, rows: list[tuple[date, int]], symbol: str, decimals: int, below: str
) -> list[Mistake]:
    total = sum(amount for _, amount in rows)
    expected = bucket.allocation - bucket.tge_amount
    if total == expected:
        return []
    shown = [format_amount(value, symbol, decimals) for value in (total, expected)]
    message = f"unlocks {shown[0]}, but {shown[1]} are left after the part at the start"
    return [Mistake(message, below=f"{below}.table")]
